"""One request to the API: what was asked, checked by its shape, and how the answer is sent."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from edge_sharpzo.station.desk import Desk
from edge_sharpzo.station.errors import AskedError, as_asked_error
from edge_sharpzo.station.misshapen import asked_error
from edge_sharpzo.system.text import is_text

MOST_BODY = 1_000_000  # bytes of JSON
MOST_DRAINED = 500_000_000  # bytes that are read in vain
Shape = TypeVar("Shape")


@dataclass(frozen=True)
class Asked:
    """A request."""

    names: Mapping[str, str]  # what the path holds
    query: Any  # of the endpoint's shape
    body: Any  # likewise
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Endpoint:
    """A method and path of the API, and what does it; shapes are msgspec's Structs."""

    method: str
    path: str
    summary: str
    # In a thread of its own; or on the event loop, where `waits`.
    does: Callable[[Desk, Asked], Any] | None
    answer: Any = None  # a Struct, or the media type of what else is sent
    body: Any = None
    query: Any = None
    waits: Callable[[Desk, Request, Any], Awaitable[Any]] | None = None
    takes_files: str | None = None  # the field of a form
    statuses: tuple[int, ...] = ()  # of errors beside those of every request


def handler(desk: Desk, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """What answers requests to an endpoint."""

    async def handle(request: Request) -> Response:
        try:
            query = _query(request, endpoint.query)
            if endpoint.waits:
                made = await endpoint.waits(desk, request, query)
            else:
                assert endpoint.does
                body = await _body(request, endpoint.body) if endpoint.body else None
                asked = Asked(request.path_params, query, body, request.headers)
                made = await run_in_threadpool(endpoint.does, desk, asked)
            return made if isinstance(made, Response) else json_response(made)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        except Exception as error:  # an answer to anything, without a stack trace
            told = as_asked_error(error)
            if endpoint.takes_files:
                await _drain(request)
            desk.log(f"{request.method} {request.url.path}: {told.status} {told.cause}")
            return told.response()

    return handle


async def _drain(request: Request) -> None:
    """Reads what is still on its way: a browser that is cut off in the middle shows no answer."""
    left, length = MOST_DRAINED, request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > left:
        return
    with suppress(ClientDisconnect, RuntimeError):  # it is read already
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                return


def json_response(made: Any) -> Response:
    """A Struct as JSON."""
    return Response(msgspec.json.encode(made), media_type="application/json")


def _query(request: Request, shape: type[Shape] | None) -> Shape | None:
    if shape is None:
        return None
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    given.pop("token", None)
    if len(given) < len({name for name, _ in pairs} - {"token"}) or len(pairs) > len(dict(pairs)):
        raise AskedError(422, "a parameter is there twice")
    return _as(given, shape)


def _as(given: Any, shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise asked_error(error) from error


async def _body(request: Request, shape: type[Shape]) -> Shape:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    sent = (
        "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
    )
    if not kind and not sent:
        with suppress(msgspec.ValidationError):  # nothing in it is needed
            return msgspec.convert({}, shape)
    if kind != "application/json":
        raise AskedError(415, "send JSON, with Content-Type: application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise AskedError(413, f"send no more than {MOST_BODY:,} bytes of JSON")
    try:
        return msgspec.json.decode(bytes(body), type=shape)
    except msgspec.ValidationError as error:
        raise asked_error(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AskedError(400, f"that is no JSON: {_fault(body) or str(error)[:200]}") from error


def _fault(body: bytearray) -> str | None:
    """What msgspec takes for an end that is missing."""
    with suppress(ValueError, RecursionError):
        if not is_text(json.dumps(json.loads(body), ensure_ascii=False)):
            return "it holds a half of a character, as \\ud800: send it whole"
    return None
