"""The web server: uvicorn with limits, and without handlers of signals of its own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE = 5  # seconds that answers have to end
MOST_HEADERS = 64_000  # bytes
HEAD_WITHIN = 10.0  # seconds in which a connection has to have asked for something
MOST_CONNECTIONS = 256  # or half of the files that the process may open


def most_connections() -> int:
    """How many connections may be open at once."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files < 0 else min(MOST_CONNECTIONS, files // 2)


class Connection(H11Protocol):
    """Ends when nothing is asked on it in time; the oldest of those gives way where there are many.

    Anybody on the network can open connections, before any token is looked at.
    """

    _since = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > most_connections():
            waiting = [each for each in self.connections if isinstance(each, Connection)]
            waiting = [each for each in waiting if each.is_waiting and each is not self]
            last = min(waiting, key=lambda each: each._since, default=self)
            self.connections.discard(last)
            last.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """See uvicorn."""
        self._await_head()
        super().on_response_complete()

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered; the body of one that is refused may still come."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_WITHIN, self._end_waiting)

    def _end_waiting(self) -> None:
        if self.is_waiting:
            self.transport.close()


class Server(uvicorn.Server):
    """Serves until its `should_exit` is set."""

    def __init__(self, app: ASGIApp):
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                h11_max_incomplete_event_size=MOST_HEADERS,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=GRACE,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command line's."""
        yield
