"""The device's own camera: the newest picture, or why there is none."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from PIL import Image

from edge_sharpzo.station import camera
from edge_sharpzo.station.camera import Camera
from edge_sharpzo.system.errors import UserError

Give = Callable[[], Iterator[Image.Image]]


def colour(jpeg: bytes) -> int:
    """Of a grey picture."""
    value = Image.open(io.BytesIO(jpeg)).convert("L").getpixel((4, 4))
    assert isinstance(value, int)
    return value


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Give], Camera]:
    """A camera whose driver gives these pictures."""

    def made(frames: Give) -> Camera:
        (tmp_path / "video0").touch()
        monkeypatch.setattr(camera, "find_spec", lambda name: name == "av")
        monkeypatch.setattr(camera, "_frames", lambda _: frames())
        return Camera(tmp_path / "video0")

    return made


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (level, level, level))


def test_it_gives_the_newest_picture(given: Callable[[Give], Camera]) -> None:
    more, end = Event(), Event()

    def frames() -> Iterator[Image.Image]:
        yield grey(10)
        more.wait()
        yield grey(200)
        end.wait()

    mine = given(frames)
    try:
        assert abs(colour(mine.frame()) - 10) < 5
        more.set()
        ends = time.monotonic() + 20
        while abs(colour(mine.frame()) - 200) > 5:
            assert time.monotonic() < ends
    finally:
        more.set()
        end.set()


def test_a_driver_that_stands_still_gives_no_old_picture(
    given: Callable[[Give], Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "PATIENCE", 0.3)
    goes_on = Event()

    def frames() -> Iterator[Image.Image]:
        yield grey(10)
        goes_on.wait()
        while True:
            yield grey(200)
            time.sleep(0.02)

    mine = given(frames)
    monkeypatch.setattr(camera, "IDLE", 1.0)  # or the thread never ends
    assert abs(colour(mine.frame()) - 10) < 5
    time.sleep(0.35)
    with pytest.raises(UserError, match="gives no picture"):
        mine.frame()
    goes_on.set()
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        try:
            assert abs(colour(mine.frame()) - 200) < 5
        except UserError:
            continue
        return
    raise AssertionError("it gives no picture any more")


def test_what_a_driver_says_is_told(given: Callable[[Give], Camera]) -> None:
    def frames() -> Iterator[Image.Image]:
        raise OSError(16, "Device or resource busy")
        yield grey(0)

    with pytest.raises(UserError, match="Device or resource busy"):
        given(frames).frame()
