"""Connections that ask for nothing, and a system that has no more to give."""

import errno
import os
import socket
import time

import pytest
from stations import Station

from edge_sharpzo.station import server
from edge_sharpzo.station.errors import TOO_MANY, as_asked_error
from edge_sharpzo.system.errors import UserError, os_errors_told

REFUSED = "GET / HTTP/1.1\r\nHost: evil.example\r\n"
HALVES = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHos",
    "half a second head": f"{REFUSED}\r\nGET /".encode(),
    "a body without an end": f"{REFUSED}Content-Length: 99999\r\n\r\n".encode(),
}


@pytest.mark.parametrize("first", HALVES.values(), ids=HALVES)
def test_who_asks_for_nothing_in_time_is_cut_off(
    first: bytes, steady: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN", 0.6)
    with socket.create_connection(("127.0.0.1", steady.port), timeout=10) as line:
        line.sendall(first)
        began, ended = time.monotonic(), False
        while not ended and time.monotonic() - began < 4:  # uvicorn's own limit is 5 s
            try:
                line.settimeout(0.1)
                ended = line.recv(65536) == b""
            except TimeoutError:
                if first:
                    line.send(b"x")  # slowly
            except ConnectionError:
                ended = True
        assert ended
        assert time.monotonic() - began > 0.3


def test_a_request_that_is_answered_takes_its_time(
    steady: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN", 0.2)
    with steady.client() as client, client.stream("GET", "/api/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
        time.sleep(0.5)
        steady.get("/api/state")
    with steady.client() as client:
        for _ in range(4):
            assert client.get("/api/state").status_code == 200
            time.sleep(0.15)


def test_the_oldest_that_asks_for_nothing_gives_way(
    steady: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 5)
    where = ("127.0.0.1", steady.port)
    lines = [socket.create_connection(where, timeout=5) for _ in range(12)]
    try:
        assert steady.get("/api/state").status_code == 200
        open_still = 0
        for line in lines:
            line.settimeout(0.2)
            try:
                assert line.recv(1) == b""
            except TimeoutError:
                open_still += 1
            except ConnectionError:
                pass
        assert open_still in (4, 5)
    finally:
        for line in lines:
            line.close()


def test_connections_leave_files_for_the_rest() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, soft), hard))
        assert server.most_connections() == min(200, soft) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("code", "status", "cure"),
    [
        (errno.EMFILE, 503, "Try again in a moment"),
        (errno.ENFILE, 503, "Try again in a moment"),
        (errno.EFBIG, 503, "limit on the size of files"),
        (errno.ENOSPC, 507, "make room"),
        (errno.EACCES, 503, "permissions"),
    ],
)
def test_what_the_system_refuses_names_its_cure(code: int, status: int, cure: str) -> None:
    error = OSError(code, os.strerror(code), "/photos/a.jpg")
    asked = as_asked_error(error)
    assert (asked.status, cure in asked.cause) == (status, True), asked.cause
    assert ("permissions" in asked.cause) is (code == errno.EACCES)
    assert as_asked_error(OSError(code, "no")).cause.startswith(("that failed: no. ", "the disk"))
    with pytest.raises(UserError) as told, os_errors_told():
        raise error
    assert as_asked_error(told.value).status == (503 if code in TOO_MANY else 409)
