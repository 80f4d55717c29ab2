"""The web server: uvicorn with limits, and without handlers of signals of its own."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE = 5  # seconds that answers have to end
MOST_HEADERS = 64_000  # bytes
HEAD_WITHIN = 10.0  # seconds in which a connection has to have asked for something
TAKEN_WITHIN = 30.0  # seconds in which some of an answer has to be taken
SENT_WITHIN = 30.0  # seconds in which more of a request has to come
LONG = 5.0  # seconds without any more of a request, after which it gives way to others
SEND_BUFFER = 131_072  # bytes of a connection's answers that the system holds
MOST_AHEAD = 16  # requests of a connection that do not wait for an answer; browsers' all do
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
    """Ends when nothing is asked on it in time, a request stops half-way, or no answer is taken.

    Anybody on the network can open connections, before any token is looked at: where there are too
    many, one gives way. Requests that come together are answered one by one, and a few alone.
    """

    _since = 0.0  # when it was opened, the last answer was done, or some of one was taken
    _heard = 0.0  # when something came last
    _unsent = 0  # bytes of answers that were not taken yet, when it was looked at last
    _ahead = 0  # requests that came before the one before was answered
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        # What the system takes is seen in steps of a third of this, and is memory.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._since = self.loop.time()
        self._look_later()
        if len(self.connections) > most_connections():
            last = self._last_of_all()
            self.connections.discard(last)
            last.transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._heard = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """See uvicorn."""
        if not self._unsent:
            self._since = self.loop.time()
        self._ahead += bool(self.conn.trailing_data[0])
        if self._ahead > MOST_AHEAD:
            self.transport.close()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._since, self._unsent = self.loop.time(), self.transport.get_write_buffer_size()
        super().resume_writing()

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered; the body of one that is refused may still come."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _stands_still_for(self) -> float:
        """Seconds for which the rest of a request has been waited for; 0 where none is."""
        cycle = self.cycle
        if self.is_waiting or not cycle.more_body or cycle.waiting_for_100_continue:
            return 0.0
        # What is not read does not come: that is not the sender's fault.
        return 0.0 if self.flow.read_paused else self.loop.time() - self._heard

    def _last_of_all(self) -> "Connection":
        """Who gives way to this new one.

        One that waits, for a request, its rest or its answer to be taken, or has asked for more,
        before one that is at work; of the address with the most connections; for the longest time.
        Where all are at work and none has more than this one's address, this one.
        """
        every = [each for each in self.connections if isinstance(each, Connection)]
        held = Counter(each._host for each in every)

        def rank(each: Connection) -> tuple[bool, int, bool, float]:
            is_new = each is self
            return is_new or not each._may_go, -held[each._host], not is_new, each._since

        return min(every, key=rank)

    @property
    def _may_go(self) -> bool:
        """Whether it is not at work, or asked for more before it was answered: no browser does."""
        unsent = self.transport.get_write_buffer_size()
        waits = self.is_waiting or unsent > 0 or self._stands_still_for >= LONG
        return waits or bool(self.conn.trailing_data[0])

    @property
    def _host(self) -> str:
        return self.client[0] if self.client else ""

    def _look_later(self) -> None:
        every = min(HEAD_WITHIN, TAKEN_WITHIN, SENT_WITHIN) / 10
        self._timer = self.loop.call_later(every, self._look)

    def _look(self) -> None:
        """Ends it where its time is over, also one that is closed and has something to send."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if unsent < self._unsent or (unsent and not self._unsent):
            self._since = now
        self._unsent = unsent
        waited = now - self._since
        self._look_later()
        if unsent and waited >= TAKEN_WITHIN:
            self.transport.abort()
        elif self._stands_still_for >= SENT_WITHIN or (
            not unsent and self.is_waiting and waited >= HEAD_WITHIN
        ):
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
