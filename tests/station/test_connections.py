"""The station's connections: who asks or takes nothing loses them, who is slow or at work not."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from starlette.types import Message, Receive, Scope, Send

from edge_sharpzo.station import server
from edge_sharpzo.station.security import Guard
from edge_sharpzo.station.server import Connection, Server

SIZES = {"/tiny": 200, "/small": 20_000, "/big": 6_000_000, "/worked": 6_000_000}
PART = 50_000  # bytes
WORK = 0.8  # seconds until /worked is answered


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as many bytes as the path is said to have, once it has read what is sent."""
    if scope["path"] == "/worked":
        await asyncio.sleep(WORK)
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    size = SIZES[scope["path"]]
    length = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    for start in range(0, size, PART):
        part, more = bytes(min(PART, size - start)), start + PART < size
        await send({"type": "http.response.body", "body": part, "more_body": more})


class Served:
    """A server of the `app`."""

    def __init__(self, server: Server, port: int, lines: ExitStack):
        self.server, self.port, self._lines = server, port, lines

    def send(self, length: int, part: bytes, path: str = "/tiny") -> socket.socket:
        """A connection on which a request of that length begins."""
        line = self._lines.enter_context(socket.create_connection(("127.0.0.1", self.port)))
        line.settimeout(10)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        line.sendall(head.encode() + part)
        return line

    def ask(self, *paths: str, of: str = "127.0.0.1", more: str = "") -> socket.socket:
        """A connection of the address `of` on which these are asked; it has little room."""
        line = self._lines.enter_context(socket.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        line.settimeout(10)
        line.bind((of, 0))
        line.connect(("127.0.0.1", self.port))
        for path in paths:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        return line

    def clients(self) -> set[tuple[str, int]]:
        """The other ends of the connections."""
        connections = list(self.server.server_state.connections)
        return {each.client for each in connections if isinstance(each, Connection) and each.client}

    def holds(self, line: socket.socket) -> bool:
        return line.getsockname() in self.clients()

    def until(self, lines: list[socket.socket], held: int) -> None:
        """Waits until so many of them are there."""
        ends = time.monotonic() + 10
        while (now := sum(map(self.holds, lines))) != held:
            assert time.monotonic() < ends, now
            time.sleep(0.01)


@pytest.fixture
def served() -> Iterator[Served]:
    with ExitStack() as lines:
        listener = lines.enter_context(socket.create_server(("127.0.0.1", 0)))
        running = Server(app)
        serving = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        serving.start()
        while not running.started:
            time.sleep(0.01)
        try:
            yield Served(running, listener.getsockname()[1], lines)
        finally:
            lines.close()
            running.should_exit = True
            serving.join()


def read(line: socket.socket, pause: float = 0.0) -> int:
    """Takes one answer; returns the bytes of its body."""
    taken = b""
    while b"\r\n\r\n" not in taken:
        part = line.recv(4096)
        assert part, "the connection ended"
        taken += part
    size = int(taken.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    got = len(taken.split(b"\r\n\r\n", 1)[1])
    while got < size:
        part = line.recv(60_000)
        assert part, "the connection ended"
        got += len(part)
        time.sleep(pause)
    return got


@pytest.mark.parametrize(
    ("paths", "more"),
    [
        (["/big"], ""),
        (["/big"], "Connection: close\r\n"),
        (["/small"] * 100, ""),
        (["/worked"], ""),
        ([*["/tiny"] * 5, "/big", *["/small"] * 5], ""),
    ],
    ids=["one", "the last", "many small", "after work", "mixed"],
)
def test_who_takes_nothing_of_an_answer_is_cut_off(
    paths: list[str], more: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TAKEN_WITHIN", 0.5)
    began = time.monotonic()
    line = served.ask(more=more)
    served.until([line], 1)
    threading.Thread(target=_send, args=(line, paths, more), daemon=True).start()
    served.until([line], 0)
    assert 0.4 < time.monotonic() - began < 4.5  # nothing asked ends after 10, uvicorn's idle 5


def _send(line: socket.socket, paths: list[str], more: str) -> None:
    try:
        for path in paths:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
    except OSError:  # it is cut off, which the test waits for
        pass


@pytest.mark.parametrize("path", ["/big", "/worked"])
def test_a_slow_reader_that_goes_on_gets_all_of_it(
    path: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TAKEN_WITHIN", 0.6)
    monkeypatch.setattr(server, "HEAD_WITHIN", 0.6)
    line = served.ask(path)
    began = time.monotonic()
    assert read(line, pause=0.002) == SIZES[path]
    assert time.monotonic() - began > 1.2  # twice the limit


@pytest.mark.parametrize("path", ["/small", "/tiny", "/big"])
def test_who_takes_nothing_gives_way(
    path: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 5)
    unread = [served.ask(*[path] * 10) for _ in range(5)]
    served.until(unread, 5)
    time.sleep(0.3)  # the answers that nobody takes fill what there is for them
    for left in (4, 3, 2):
        assert read(served.ask("/tiny")) == SIZES["/tiny"]
        served.until(unread, left)


def test_who_has_taken_nothing_for_the_longest_gives_way_first(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 4)
    monkeypatch.setattr(server, "HEAD_WITHIN", 1.0)  # it is looked ten times as often
    lines = []
    for _ in range(3):
        lines.append(served.ask("/big"))
        time.sleep(0.3)
    for _ in range(40):  # the first goes on
        lines[0].recv(60_000)
        time.sleep(0.002)
    time.sleep(0.2)
    newcomers = [served.ask("/tiny"), served.ask("/tiny")]
    assert [read(line) for line in newcomers] == [SIZES["/tiny"]] * 2
    served.until(lines, 2)
    assert list(map(served.holds, lines)) == [True, False, True]


def test_those_of_the_address_that_holds_most_give_way(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 6)
    mine = [served.ask() for _ in range(2)]
    served.until(mine, 2)
    try:
        others = [served.ask("/big", of="127.0.0.2") for _ in range(12)]
    except OSError:
        pytest.skip("this system has one address of its own alone")
    served.until(others, 4)
    assert all(map(served.holds, mine))
    newest = served.ask("/tiny")
    assert read(newest) == SIZES["/tiny"]
    assert all(map(served.holds, mine))
    served.until(others, 3)


def test_what_is_at_work_does_not_give_way_to_its_own_address(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 3)
    at_work = [served.ask("/worked") for _ in range(3)]
    served.until(at_work, 3)
    time.sleep(0.1)
    newcomer = served.ask()
    served.until([newcomer], 0)
    assert [read(line) for line in at_work] == [SIZES["/worked"]] * 3


@pytest.mark.parametrize("behind", [["/worked"], ["/tiny"] * 50, ["/big", "/tiny"]])
def test_who_asks_for_more_before_the_answer_gives_way(
    behind: list[str], served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 3)
    eager = [served.ask("/worked", *behind) for _ in range(3)]
    served.until(eager, 3)
    time.sleep(0.1)
    assert read(served.ask("/tiny")) == SIZES["/tiny"]
    served.until(eager, 2)


@pytest.mark.parametrize(("asked", "answered"), [(1, 1), (17, 17), (18, 17), (60, 17)])
def test_a_few_requests_that_come_together_are_answered(
    asked: int, answered: int, served: Served
) -> None:
    line = served.ask()
    line.sendall(b"GET /tiny HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
    got = b""
    with suppress(TimeoutError, ConnectionResetError):  # as it ends with requests unread
        line.settimeout(1)
        while part := line.recv(60_000):
            got += part
    assert got.count(b"HTTP/1.1 200") == answered
    assert served.holds(line) == (asked == answered)


def test_a_request_that_stops_half_way_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SENT_WITHIN", 0.4)
    began = time.monotonic()
    line = served.send(9, b"{")
    assert line.recv(100) == b""
    assert time.monotonic() - began >= 0.3


def test_a_request_that_comes_slowly_lives(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SENT_WITHIN", 1.0)
    line = served.send(16, b"")
    for _ in range(16):
        time.sleep(0.1)
        line.sendall(b"x")
    assert read(line) == SIZES["/tiny"]


def test_a_request_that_is_not_read_yet_lives(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SENT_WITHIN", WORK / 4)
    whole = bytes(300_000)  # more than is taken before it is read
    line = served.send(len(whole), b"", "/worked")
    line.sendall(whole)
    assert read(line) == SIZES["/worked"]


def test_requests_that_stop_half_way_keep_nobody_out(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 5)
    monkeypatch.setattr(server, "LONG", 0.2)
    halves = [served.send(9, b"{") for _ in range(5)]
    served.until(halves, 5)
    time.sleep(0.3)
    assert read(served.ask("/tiny")) == SIZES["/tiny"]
    served.until(halves, 4)


def test_what_the_end_of_the_server_cuts_short_is_told_without_a_trace() -> None:
    """The server cancels what is still going on after its grace."""
    sent: list[Message] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        await asyncio.sleep(60)

    async def take(message: Message) -> None:
        sent.append(message)

    async def cut_short() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
        scope |= {"headers": [(b"host", b"x:80")], "server": ("x", 80)}
        guard = Guard(endless, ["x"], None, pytest.fail)
        task = asyncio.ensure_future(guard(scope, take, take))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(cut_short())
    assert sent[0]["status"] == 503
    assert b"is ending" in sent[1]["body"]
