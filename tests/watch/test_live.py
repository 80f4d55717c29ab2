"""`watch` on cameras and streams: those that are not there, fail, hang, and come back."""

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import Place
from PIL import Image

from edge_sharpzo import UserError
from edge_sharpzo.watching import live
from edge_sharpzo.watching.sources import Frame, frames_of, shown_address
from watch.sights import COLOURS, av, next_frame, nothing_for, refused


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


class Camera:
    """A camera of a test: gives pictures, fails or hangs as it is told to."""

    def __init__(self) -> None:
        self.does = Queue[Any]()
        self.opened = self.asked = 0

    def open(self) -> Iterator[Callable[[], np.ndarray]]:
        self.opened += 1
        while True:
            what = self.does.get()
            if isinstance(what, Exception):
                raise what
            if what is None:
                return
            yield lambda what=what: self._get(what)

    def _get(self, what: int) -> np.ndarray:
        self.asked += 1
        return np.full((2, 2, 3), what, np.uint8)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT", 0.02)
    monkeypatch.setattr(live, "STALLED", 0.3)
    monkeypatch.setattr(live, "SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr(live, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(live, "FAREWELL", 0.02)


def levels(frame: Frame) -> int:
    assert isinstance(frame.picture, np.ndarray)
    return int(frame.picture[0, 0, 0])


@pytest.mark.usefixtures("hasty")
def test_a_camera_gives_its_newest_picture() -> None:
    camera = Camera()
    frames = live.live_frames(camera.open, "camera:0", 0.2, lambda text, _: None)
    camera.does.put(1)
    assert levels(next_frame(frames)) == 1
    for level in range(2, 60):  # while nobody wants them
        camera.does.put(level)
    time.sleep(0.1)
    assert camera.asked == 1  # none of these was decoded
    nothing_for(frames, 0.25)
    camera.does.put(60)
    assert (frame := next_frame(frames)).number == 2
    assert levels(frame) == 60
    frames.close()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("failure", [UserError("gone"), OSError("odd"), None])
def test_a_camera_that_fails_is_opened_again(failure: Exception | None) -> None:
    camera, told = Camera(), list[tuple[str, bool]]()
    frames = live.live_frames(camera.open, "camera:0", 0, lambda *what: told.append(what))
    camera.does.put(1)
    assert next_frame(frames).number == 1
    for _ in range(3):
        camera.does.put(failure)
    nothing_for(frames, 0.5)
    assert camera.opened == 4
    why = "it has ended" if failure is None else str(failure)
    assert told == [(f"camera:0: {why}. It is opened again, and again", True)]
    camera.does.put(2)
    assert next_frame(frames).number == 2
    assert told[1:] == [("camera:0 is back after 1 s", False)] or "is back after" in told[1][0]
    camera.does.put(failure)
    nothing_for(frames, 0.1)
    assert len(told) == 3  # a new trouble is told anew
    frames.close()


@pytest.mark.usefixtures("hasty")
def test_a_camera_that_hangs() -> None:
    camera, told = Camera(), list[str]()
    frames = live.live_frames(camera.open, "camera:0", 0, lambda text, _: told.append(text))
    with pytest.raises(UserError, match="camera:0 gives no picture in"):
        nothing_for(frames, 5)
    camera = Camera()
    frames = live.live_frames(camera.open, "camera:0", 0, lambda text, _: told.append(text))
    camera.does.put(1)
    assert next_frame(frames).number == 1
    nothing_for(frames, 1.0)
    assert len(told) == 1
    assert "it is waited for" in told[0]
    camera.does.put(2)
    assert next_frame(frames).number == 2
    assert "is back" in told[1]
    frames.close()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("failure", [UserError("no camera"), RuntimeError("driver\nmore")])
def test_a_camera_that_is_not_there(failure: Exception) -> None:
    camera = Camera()
    camera.does.put(failure)
    frames = live.live_frames(camera.open, "camera:0", 0, lambda text, _: None)
    with pytest.raises(UserError, match=str(failure).splitlines()[0]):
        next_frame(frames)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EBUSY, "another program uses it"),
        (errno.EACCES, "only members of the group video"),
        (errno.ENODEV, os.strerror(errno.ENODEV)),
    ],
)
def test_what_is_wrong_with_a_camera(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FFmpeg says it; v4l2loopback, a camera in the kernel, is not to be had everywhere."""
    from edge_sharpzo.watching import video as under_test

    def fail(*_: object, **__: object) -> None:
        raise av.error.FFmpegError(number, os.strerror(number), "/dev/video0")

    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(UserError, match=words):
        next(under_test.v4l2(tmp_path))


def test_the_camera_of_a_pi(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for picamera2, which the Pi's own system brings."""
    closed = list[int]()

    class Picamera2:
        left = 3

        def __init__(self, number: int) -> None:
            self.number = number

        @staticmethod
        def global_camera_info() -> list[dict[str, Any]]:
            return [{"Num": 0}]

        def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
            return main

        def configure(self, main: dict[str, Any]) -> None:
            assert main == {"format": "BGR888", "size": (1280, 720)}

        def start(self) -> None:
            pass

        def capture_metadata(self) -> None:
            time.sleep(0.01)

        def capture_array(self, name: str) -> np.ndarray:
            assert name == "main"
            return np.full((720, 1280, 3), COLOURS["blue_things"], np.uint8)

        def close(self) -> None:
            closed.append(self.number)

    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    module.__spec__ = type("Spec", (), {})()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    frames = frames_of("camera", 0, lambda text, _: None)
    frame = next_frame(frames)
    assert frame.source == "camera:0"
    assert isinstance(frame.picture, np.ndarray)
    assert tuple(frame.picture[5, 5]) == COLOURS["blue_things"]
    frames.close()
    for _ in range(100):
        if closed:
            break
        time.sleep(0.02)
    assert closed == [0]
    refused(place, "there is no camera:1: picamera2 sees 1", "--source", "camera:1")


class Mjpeg(ThreadingHTTPServer):
    """A camera of the network: a picture every 20 ms; it can go away."""

    def __init__(self, port: int = 0) -> None:
        self.gone = Event()
        gone = self.gone
        image = BytesIO()
        Image.new("RGB", (64, 48), COLOURS["green_things"]).save(image, "JPEG")

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                head = (
                    f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image.getvalue())}"
                )
                while not gone.wait(0.02):
                    self.wfile.write(head.encode() + b"\r\n\r\n" + image.getvalue() + b"\r\n")

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
