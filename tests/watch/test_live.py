"""`watch` on cameras: those that are not there, fail, hang, and come back."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import Place

from edge_sharpzo import UserError
from edge_sharpzo.watching import live, trouble
from edge_sharpzo.watching.sources import Frame, frames_of
from watch.sights import COLOURS, av, next_frame, nothing_for, refused

BROKEN = -1  # in a picture's place: what cannot be decoded


class Camera:
    """A camera of a test: gives pictures, fails or hangs as it is told to."""

    def __init__(self) -> None:
        self.does = Queue[Any]()
        self.opened = self.asked = 0

    def open(self) -> Iterator[Callable[[], np.ndarray | None]]:
        self.opened += 1
        while True:
            what = self.does.get()
            if isinstance(what, Exception):
                raise what
            if what is None:
                return
            yield lambda what=what: self._get(what)

    def _get(self, what: int) -> np.ndarray | None:
        self.asked += 1
        return None if what == BROKEN else np.full((2, 2, 3), what, np.uint8)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT", 0.02)
    monkeypatch.setattr(live, "STALLED", 0.3)
    monkeypatch.setattr(live, "SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr(live, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(live, "FAREWELL", 0.02)
    monkeypatch.setattr(trouble, "HELD", 0.0)


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
    with pytest.raises(
        UserError, match=r"camera:0: it gives no picture for .* give another `source`"
    ):
        nothing_for(frames, 5)
    camera = Camera()
    frames = live.live_frames(camera.open, "camera:0", 0, lambda text, _: told.append(text))
    camera.does.put(1)
    assert next_frame(frames).number == 1
    nothing_for(frames, 1.0)
    assert len(told) == 1
    assert "It is waited for" in told[0]
    camera.does.put(2)
    assert next_frame(frames).number == 2
    assert "is back" in told[1]
    frames.close()


@contextmanager
def sending(camera: Camera, *what: int) -> Iterator[None]:
    """It gives that all the time, again and again."""
    gone = Event()

    def send() -> None:
        while not gone.wait(0.005):
            for each in what:
                camera.does.put(each)

    sender = Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        gone.set()
        sender.join()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("every", [0, 0.1])
def test_a_camera_that_sends_nothing_but_what_is_no_picture(every: float) -> None:
    """It sends all the time, and so does not hang."""
    camera = Camera()
    frames = live.live_frames(camera.open, "camera:0", every, lambda text, _: None)
    with (
        sending(camera, BROKEN),
        pytest.raises(UserError, match="it gives no picture for") as caught,
    ):
        nothing_for(frames, 20)
    assert caught.value.field == "source"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("every", [0, 0.1])
def test_a_camera_whose_pictures_break_is_opened_again(every: float) -> None:
    camera, told = Camera(), list[str]()
    frames = live.live_frames(camera.open, "camera:0", every, lambda text, _: told.append(text))
    with sending(camera, 1):
        assert [next_frame(frames).number for _ in range(3)] == [1, 2, 3]
    with sending(camera, BROKEN):
        until = time.monotonic() + 20
        while camera.opened < 3 and time.monotonic() < until:
            next(frames)
    assert camera.opened >= 3
    assert told == ["camera:0: it gives no picture for 0 s. It is opened again, and again"]
    with sending(camera, 1):
        next_frame(frames)
    assert "is back after" in told[1]
    frames.close()


@pytest.mark.usefixtures("hasty")
def test_some_that_are_no_pictures_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STALLED", 1.0)
    camera, told = Camera(), list[str]()
    frames = live.live_frames(camera.open, "camera:0", 0, lambda text, _: told.append(text))
    with sending(camera, *[BROKEN] * 9, 1):
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            next(frames)
    assert camera.opened == 1
    assert told == []
    frames.close()


@pytest.mark.usefixtures("hasty")
def test_a_camera_that_comes_and_goes_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that gives a single picture each time that it is opened; none of these is lost."""
    monkeypatch.setattr(trouble, "HELD", 1000.0)
    camera, told = Camera(), list[str]()
    for number in range(1, 6):
        camera.does.put(number)
        camera.does.put(None)
    frames = live.live_frames(camera.open, "camera:0", 0, lambda text, _: told.append(text))
    time.sleep(0.1)  # it has ended before anybody looks
    assert [levels(next_frame(frames)) for _ in range(5)] == [1, 2, 3, 4, 5]
    nothing_for(frames, 0.1)
    assert told == ["camera:0: it has ended. It is opened again, and again"]
    monkeypatch.setattr(trouble, "HELD", 0.0)
    camera.does.put(6)
    assert next_frame(frames).number == 6
    assert len(told) == 2
    assert "is back after" in told[1]
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
