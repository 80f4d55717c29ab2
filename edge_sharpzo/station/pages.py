"""The pages and what they load: templates rendered once, files read from the package alone."""

import os
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).parent
PAGES = {"/": "photos", "/learn": "learn", "/look": "look", "/try": "try", "/take": "take"}
PLAIN = '<!doctype html><html lang="en"><title>{page}</title><h1>{page}</h1>'


@cache
def _rendered(page: str, **given: str) -> str:
    """A page. Everything in it that others wrote comes by the API, so that it never changes."""
    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    try:
        return environment.get_template(f"{page}.html.jinja").render(given)
    except TemplateNotFound:
        return PLAIN.format(page=page)


def token_page(cause: str) -> str:
    """The page that asks for the token; `cause` says what was wrong with one, or is empty."""
    return _rendered("token", cause=cause)


class _Static(StaticFiles):
    """Files of the package, which a browser asks after each time: an update shows at once."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """See starlette."""
        try:
            return super().lookup_path(path)
        except ValueError:  # no file is called so
            return "", None

    def file_response(self, *args: object, **more: object) -> Response:
        """See starlette."""
        answer = super().file_response(*args, **more)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "no-cache"
        return answer


def page_routes() -> list[Route | Mount]:
    """Routes of all pages."""

    def shower(page: str) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:  # noqa: ARG001
            return HTMLResponse(await run_in_threadpool(_rendered, page))

        return show

    routes: list[Route | Mount] = [
        Route(path, shower(page), methods=["GET"]) for path, page in PAGES.items()
    ]
    static = _Static(directory=HERE / "static", check_dir=False)
    return [*routes, Mount("/static", static)]
