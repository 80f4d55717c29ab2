"""`watch` on streams of the network: what is shown of an address, and what a server may do."""

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from helpers import Place
from PIL import Image

from edge_sharpzo.watching import live, trouble
from edge_sharpzo.watching.sources import frames_of, shown_address
from watch.sights import COLOURS, av, next_frame, refused, video


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://cam:554/ch1/main.sdp", "rtsp://cam:554/ch1/main.sdp"),
        ("rtsp://joe:secret@cam:554/a?b=1", "rtsp://cam:554/a?..."),
        ("rtsp://j%40e:s@[::1]:5/a", "rtsp://[::1]:5/a"),
        ("http://cam/v.cgi?usr=joe&pwd=secret", "http://cam/v.cgi?..."),
        ("https://cam:8443/?token=secret#top", "https://cam:8443/?..."),
        ("https://cam/live#secret", "https://cam/live"),
        ("rtsp://cam/user=joe_password=secret_channel=1/0.sdp", "rtsp://cam/.../0.sdp"),
        ("rtsp://cam/joe:secret/ch0", "rtsp://cam/.../ch0"),
        ("rtsp://cam/live;pwd=secret", "rtsp://cam/..."),
        ("rtsp://joe:se/cret@cam/a", "...@cam/a"),  # a password that is not escaped
        ("rtsp://joe:secret@[cam", "...@[cam"),
        ("rtsp://joe:secret@cam:door/a?k=secret", "...@cam:door/a?..."),
        ("rtsp:/joe:secret@cam/a", "...@cam/a"),
        ("joe:secret@cam/a?k=secret", "...@cam/a?..."),
        ("photos/of@home", "photos/of@home"),
    ],
)
def test_addresses_are_shown_without_a_password(address: str, shown: str) -> None:
    assert shown_address(address) == shown
    assert "secret" not in shown


class Mjpeg(ThreadingHTTPServer):
    """A camera of the network: a picture every 20 ms; it can go away."""

    def __init__(self, port: int = 0, image: bytes = b"") -> None:
        """`image` is what it sends in a picture's place."""
        self.gone = Event()
        gone = self.gone
        if not image:
            green, file = Image.new("RGB", (64, 48), COLOURS["green_things"]), BytesIO()
            green.save(file, "JPEG")
            image = file.getvalue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}"
                while not gone.wait(0.02):
                    self.wfile.write(head.encode() + b"\r\n\r\n" + image + b"\r\n")

            def log_message(self, *what: object) -> None:
                pass

        super().__init__(("127.0.0.1", port), Handler)
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"HTTP://joe:secret@127.0.0.1:{self.server_port}/cam.mjpg?user=joe&pwd=secret"

    def go(self) -> None:
        self.gone.set()
        self.shutdown()
        self.server_close()


def test_a_stream_that_goes_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr(live, "BEAT", 0.05)
    monkeypatch.setattr(trouble, "HELD", 0.0)
    server, told = Mjpeg(), list[str]()
    port = server.server_port
    frames = frames_of(server.address, 0, lambda text, _: told.append(text))
    for number in (1, 2, 3):
        frame = next_frame(frames)
        assert frame.number == number
        assert frame.source == f"http://127.0.0.1:{port}/cam.mjpg?..."
        assert isinstance(frame.picture, np.ndarray)
        assert np.abs(frame.picture.mean((0, 1)) - COLOURS["green_things"]).max() < 6
    server.go()
    until = time.monotonic() + 10
    while not told and time.monotonic() < until:
        next(frames)
    assert "It is opened again" in told[0]
    assert "secret" not in told[0]
    server = Mjpeg(port)
    while len(told) < 2:
        frame = next_frame(frames)
    assert "is back after" in told[1]
    frames.close()
    server.go()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_stream_that_stalls(scheme: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing."""
    monkeypatch.setattr("edge_sharpzo.watching.video.TIMEOUT", 0.5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"{scheme}://joe:secret@127.0.0.1:{server.getsockname()[1]}/cam"
        began = time.monotonic()
        told = refused(place, "is silent for", "--source", address)
    assert "secret" not in told
    assert time.monotonic() - began < 10


def test_a_stream_of_what_is_no_picture(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STALLED", 0.5)
    junk = np.random.default_rng(0).bytes(3000)
    server = Mjpeg(image=b"\xff\xd8\xff\xe0" + junk + b"\xff\xd9")
    told = refused(place, "it gives no picture for", "--source", server.address)
    assert "secret" not in told
    server.go()


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_what_cannot_be_decoded_is_told_to_whoever_listens(codec: str, tmp_path: Path) -> None:
    """Else a thread that reads it would not see that it is to end."""
    from edge_sharpzo.watching import video as under_test

    more = {"format": "yuvj420p"} if codec == "mjpeg" else {}
    file = video(tmp_path / "clip.avi", ["red_things"], codec=codec, **more)

    class Junk:
        """A container whose packets hold no pictures."""

        def __init__(self, container: Any) -> None:
            self.streams, self._demux = container.streams, container.demux

        def demux(self, stream: Any) -> Iterator[Any]:
            for packet in self._demux(stream):
                junk = av.Packet(bytes(packet.size)) if packet.size else packet
                junk.stream = stream
                yield junk

    with av.open(str(file)) as container:
        sent = sum(1 for _ in container.demux(container.streams.video[0]))
        container.seek(0)
        found = [get() for get in under_test._pictures(Junk(container))]  # type: ignore[arg-type]
    assert found == [None] * sent
