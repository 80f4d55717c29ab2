"""The web application: endpoints, pages, and what guards them."""

from collections.abc import Iterable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edge_sharpzo.station.api import ENDPOINTS
from edge_sharpzo.station.calls import handler
from edge_sharpzo.station.desk import Desk
from edge_sharpzo.station.errors import as_asked_error, error_response
from edge_sharpzo.station.openapi import openapi
from edge_sharpzo.station.pages import page_routes
from edge_sharpzo.station.security import Guard
from edge_sharpzo.station.tokens import Tokens

CAUSES = {404: "there is nothing at this address", 405: "this address takes another method"}


def made_app(desk: Desk, names: Iterable[str], tokens: Tokens | None) -> ASGIApp:
    """The application, known by the host `names`; with tokens nobody comes in without."""
    file = msgspec.json.encode(openapi(ENDPOINTS))

    async def described(request: Request) -> Response:  # noqa: ARG001
        return Response(file, media_type="application/json")

    async def refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
        assert isinstance(error, HTTPException)
        cause = CAUSES.get(error.status_code, error.detail)
        return error_response(error.status_code, cause, headers=error.headers)

    async def failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
        return as_asked_error(error).response()  # and starlette raises it again

    endpoints = [Route(each.path, handler(desk, each), methods=[each.method]) for each in ENDPOINTS]
    app = Starlette(
        routes=[*endpoints, Route("/api/openapi.json", described), *page_routes()],
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    return Guard(app, names, tokens, desk.log)
