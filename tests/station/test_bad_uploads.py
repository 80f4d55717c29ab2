"""Uploads that are broken, too much or a trap: each is a plain error, and nothing is kept."""

import errno
import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import png
from stations import MARKED, Station, picture

from edge_sharpzo.station import uploads
from station.asking import GOOD, RED, cause, part


def form(*parts: bytes, boundary: bytes = b"b", end: bool = True) -> bytes:
    made = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return made + (b"--" + boundary + b"--\r\n" if end else b"")


def send(served: Station, body: bytes, kind: str = "multipart/form-data; boundary=b") -> Any:
    with served.client() as client:
        return client.post(
            "/api/photos?class=red_things",
            content=body,
            headers={**MARKED, "Content-Type": kind},
        )


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(part(GOOD)), "multipart/form-data", 415),
        (form(part(GOOD)), "multipart/form-data; boundary=", 415),
        (form(part(GOOD)), f"multipart/form-data; boundary={'x' * 500}", 415),
        (form(part(GOOD)), "application/octet-stream", 415),
        (form(part(GOOD)), "multipart/form-data; boundary=other", 400),
        (b"", "multipart/form-data; boundary=b", 400),
        (b"GIF89a", "multipart/form-data; boundary=b", 400),
        (form(end=True), "multipart/form-data; boundary=b", 422),
        (form(part(GOOD, "other")), "multipart/form-data; boundary=b", 422),
        (form(part(b"x", "photos", "")), "multipart/form-data; boundary=b", 422),
        (form(b"Nonsense: 1\r\n\r\nx"), "multipart/form-data; boundary=b", 422),
        (
            form(b"X: " + b"a" * 20_000 + b"\r\n" + part(GOOD)),
            "multipart/form-data; boundary=b",
            400,
        ),
        (form(part(GOOD), end=False), "multipart/form-data; boundary=b", 400),
        (form(part(GOOD))[:-400], "multipart/form-data; boundary=b", 400),
        (form(*[part(b"x")] * 201), "multipart/form-data; boundary=b", 413),
    ],
)
def test_forms_that_are_none(
    body: bytes, kind: str, status: int, steady: Station, steady_data: Path
) -> None:
    assert cause(send(steady, body, kind), status)
    assert len(list((steady_data / "red_things").iterdir())) == 6
    assert list((steady_data / ".station" / "incoming").iterdir()) == []
    assert steady.get("/api/state").json()["can_undo"] is None


def bomb_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";"


def bomb_png() -> bytes:
    return png(50_000, 50_000, bytes(100_000))


def bomb_jpeg() -> bytes:
    content = bytearray(picture(RED, kind="JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def bomb_webp() -> bytes:
    size = (16_383).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bomb_text() -> bytes:
    """A small PNG whose text unpacks to 200 MB."""
    good = picture(RED)
    packed = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = struct.pack(">I", len(packed)) + b"zTXt" + packed
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + packed))
    return good[:33] + chunk + good[33:]


@pytest.mark.parametrize("bomb", [bomb_gif, bomb_png, bomb_jpeg, bomb_webp])
def test_pictures_that_unpack_to_gigabytes(bomb: Any, served: Station, data: Path) -> None:
    began = time.monotonic()
    answer = send(served, form(part(bomb()), part(GOOD))).json()
    assert time.monotonic() - began < 5
    assert answer["added"] == 1
    (refused,) = answer["refused"]
    assert "pixels" in refused["why"], refused
    assert len(list((data / "red_things").iterdir())) == 7


def test_a_text_that_unpacks_to_much_takes_no_memory(served: Station) -> None:
    from edge_sharpzo.system.memory import resident

    before = resident() or 0
    answer = send(served, form(part(bomb_text()))).json()
    assert answer["added"] + len(answer["refused"]) == 1
    assert (resident() or 0) - before < 150_000_000


@pytest.mark.parametrize(
    "content", [GOOD[:40], GOOD[: len(GOOD) // 2], b"", b"\xff\xd8\xff", b"%PDF-1.7", b"\0" * 5000]
)
def test_pictures_that_are_none(content: bytes, steady: Station, steady_data: Path) -> None:
    answer = send(steady, form(part(content))).json()
    assert answer["added"] == 0
    assert answer["refused"][0]["why"]
    assert len(list((steady_data / "red_things").iterdir())) == 6
    assert cause(steady.send("/api/try", ("x", content), field="photo"), 422)


def test_200_megabytes_are_not_kept(steady: Station, steady_data: Path) -> None:
    head = form(part(b"\xff\xd8\xff"), end=False)[:-2]
    tail = b"\r\n--b--\r\n"
    zeros = bytes(1_000_000)
    largest = 0

    def body() -> Iterator[bytes]:
        nonlocal largest
        yield head
        for _ in range(200):
            yield zeros
            incoming = list((steady_data / ".station" / "incoming").iterdir())
            largest = max([largest, *(path.stat().st_size for path in incoming)])
        yield tail

    with steady.client() as client:
        answer = client.post(
            "/api/photos?class=red_things",
            content=body(),
            headers={**MARKED, "Content-Type": "multipart/form-data; boundary=b"},
        ).json()
    assert answer["refused"][0]["why"] == "more than the 25 MB of a photo"
    assert 0 < largest < 26_000_000
    assert list((steady_data / ".station" / "incoming").iterdir()) == []


@pytest.mark.parametrize("length", [500_000_001, 10**15, 10**30])
def test_a_request_that_is_too_long_is_not_read(length: int, steady: Station) -> None:
    head = (
        f"POST /api/photos?class=red_things HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\n"
        "X-Edge-Sharpzo: 1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", steady.port), timeout=20) as line:
        line.sendall(head.encode() + b"--b\r\n")
        answer = line.recv(4096)
    assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_whole_request_is_counted_while_it_comes(
    steady: Station, steady_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "REQUEST_BYTES", 3_000_000)

    def body() -> Iterator[bytes]:  # chunked: without a length
        yield form(part(b"\xff\xd8\xff"), end=False)
        for _ in range(10):
            yield bytes(1_000_000)

    with steady.client() as client:
        answer = client.post(
            "/api/photos?class=red_things",
            content=body(),
            headers={**MARKED, "Content-Type": "multipart/form-data; boundary=b"},
        )
    assert cause(answer, 413)
    assert list((steady_data / ".station" / "incoming").iterdir()) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_browser_that_closes_in_the_middle(
    share: float, steady: Station, steady_data: Path
) -> None:
    content = form(part(picture(RED, 5)), part(picture(RED, 6)), part(picture(RED, 7)))
    head = (
        f"POST /api/photos?class=red_things HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\n"
        "X-Edge-Sharpzo: 1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    before = list(steady.log)
    with socket.create_connection(("127.0.0.1", steady.port)) as line:
        line.sendall(head.encode() + content[: int(share * len(content))])
        time.sleep(0.2)
    ends = time.monotonic() + 10
    while list((steady_data / ".station" / "incoming").iterdir()) and time.monotonic() < ends:
        time.sleep(0.05)
    assert list((steady_data / ".station" / "incoming").iterdir()) == []
    assert len(list((steady_data / "red_things").iterdir())) == 6
    assert steady.get("/api/state").status_code == 200
    assert steady.log == before  # nobody is to be told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("at", [0, 1])
def test_a_full_disk_while_photos_arrive(
    number: int, at: int, served: Station, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refuse(*what: object) -> None:
        calls.append(what)
        if len(calls) > at:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(uploads.Received, "_write", refuse)
    answer = send(served, form(part(GOOD), part(picture(RED, 8))))
    assert cause(answer, 503 if number == errno.EIO else 507)
    assert list((data / ".station" / "incoming").iterdir()) == []
    assert len(list((data / "red_things").iterdir())) == 6
    monkeypatch.undo()
    assert send(served, form(part(GOOD))).json()["added"] == 1


@pytest.mark.parametrize(
    "query", ["", "?class=no-such", "?class=..", "?class=red_things&background"]
)
def test_uploads_to_nowhere(query: str, steady: Station) -> None:
    answer = steady.send(f"/api/photos{query}", ("a.png", GOOD))
    assert answer.status_code in (404, 422)
    assert cause(answer, answer.status_code)
