"""What every request has to pass before anything else hears of it, and what every answer says.

A browser on this machine runs pages of strangers: they may send requests here, under any name that
leads here. So the name is looked at (`Host`), and what changes something needs a header that no
page of another origin can set.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_sharpzo.station.errors import as_asked_error, error_response
from edge_sharpzo.station.pages import token_page
from edge_sharpzo.station.tokens import Tokens, TooManyError

MARK = "x-edge-sharpzo"  # what changes something carries it
READING = ("GET", "HEAD")
WITHOUT_TOKEN = ("/static/station.css", "/static/icon.svg")  # what the page that asks for it loads
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "accept-ranges": "none",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> set[str]:
    """What a browser may call a server that listens on `host`, in the form of a `Host` header."""
    names = {*LOOPBACK, _bracketed(host).lower()}
    if not is_loopback(host):
        machine = socket.gethostname().lower()
        names |= {machine, f"{machine.split('.')[0]}.local"}
    return names - {"0.0.0.0", "[::]", ""}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Guard:
    """ASGI middleware: the Host header, the token, and where a request may come from."""

    def __init__(
        self,
        app: ASGIApp,
        names: Iterable[str],
        tokens: Tokens | None,
        log: Callable[[str], object],
    ):
        """`names` are hosts by which the server is known, without a port. No tokens: none needed.

        Beside them it is known by the address that a connection came to: that is no name, so that
        nobody can have made it lead here.
        """
        self._app, self._names, self._tokens = app, frozenset(names), tokens
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began = False
        # Nothing here is sent in parts: thousands of them are a load.
        plain = [(name, value) for name, value in scope["headers"] if name != b"range"]
        scope = {**scope, "headers": plain}

        async def with_headers(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, with_headers)
        except asyncio.CancelledError:  # the server has waited for it long enough
            if not began:
                await error_response(503, "the station is ending")(scope, receive, with_headers)
        except Exception as error:  # an answer to anything, and one line in the log
            told = as_asked_error(error)
            self._log(f"{scope['method']} {scope['path']}: {told.cause}")
            if not began:
                await told.response()(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to what may not pass; None where it may."""
        headers, method = Headers(scope=scope), scope["method"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            return error_response(421, "this station is not known by that name (Host header)")
        if self._tokens and (answer := _turned_away(scope, headers, self._tokens)):
            return answer
        origin, is_api = headers.get("origin"), scope["path"].startswith("/api/")
        if method in READING and not is_api:
            return None
        # To read may do something too: it switches the device's camera on.
        if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
            return error_response(400, "the request comes from another page (Origin header)")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return error_response(
                400, "the request comes from another page (Sec-Fetch-Site header)"
            )
        if method in READING:
            return None
        if headers.getlist(MARK) != ["1"]:
            return error_response(400, "what changes something needs the header X-Edge-Sharpzo: 1")
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        address, port = scope.get("server") or ("", None)
        names = {*self._names, _bracketed(address)} if _is_address(address) else self._names
        return host.lower() in {f"{name}:{port}" for name in names} | (
            set(names) if port == 80 else set()
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _turned_away(scope: Scope, headers: Headers, tokens: Tokens) -> Response | None:
    """The answer to who brings no right token, or to who brings it in a link: a cookie for it."""
    if scope["path"] in WITHOUT_TOKEN:
        return None
    query = parse_qs(scope["query_string"].decode("latin-1"))
    (linked, *_) = query.get("token", [None])
    bearer = headers.get("authorization", "")
    token = linked or (bearer[7:] if bearer.lower().startswith("bearer ") else None)
    try:
        host, _ = scope.get("client") or ("", 0)
        known = tokens.admits(token, _cookies(headers, tokens.cookie_name), host)
    except TooManyError:
        return _asked_for_token(scope, headers, 429, "too many wrong tokens came: wait ten minutes")
    if not known:
        return _asked_for_token(scope, headers, 401, "that is not the token" if token else "")
    if linked is None or scope["method"] not in READING:
        return None
    # A page that leads on, and no redirection: a browser that followed a link from elsewhere sends
    # no strict cookie on that.
    to = quote(scope["path"], safe="/") if not scope["path"].startswith("//") else "/"
    page = HTMLResponse(
        f'<!doctype html><meta http-equiv="refresh" content="0;url={to}"><a href="{to}">station</a>'
    )
    page.set_cookie(tokens.cookie_name, tokens.cookie, path="/", httponly=True, samesite="strict")
    return page


def _asked_for_token(scope: Scope, headers: Headers, status: int, cause: str) -> Response:
    """For a browser that comes by a bookmark a page that takes the token; else an error."""
    if scope["method"] in READING and "text/html" in headers.get("accept", ""):
        return HTMLResponse(token_page(cause), status)
    told = cause if status != 401 else "open the link with the token that the terminal shows"
    return error_response(status, told)


def _cookies(headers: Headers, wanted: str) -> list[str]:
    """The values of the cookies of that name, whatever else other programs of this host have set.

    The library's reader takes none where one of them is not as it should be.
    """
    pairs = [pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";")]
    return [value.strip() for name, _, value in pairs if name.strip() == wanted]
