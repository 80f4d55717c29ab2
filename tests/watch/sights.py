"""What tests of `watch` let it see, and what they hear of it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Place, invoke

from edge_sharpzo import Prediction
from edge_sharpzo.watching.consensus import Consensus
from edge_sharpzo.watching.sources import Frame
from edge_sharpzo.watching.watcher import Watcher

CLASSES = ("red_things", "green_things", "blue_things")
COLOURS = {"red_things": (180, 40, 40), "green_things": (60, 180, 40), "blue_things": (40, 60, 180)}


class Scripted:
    """Answers as a picture's first pixel says: which class, how probable, known or not."""

    labels = CLASSES

    def encode(self, pictures: list[np.ndarray], skipped: Any) -> tuple[np.ndarray, np.ndarray]:
        del skipped
        return np.array([picture[0, 0] for picture in pictures], np.float32), np.ones(1, bool)

    def answers(self, features: np.ndarray) -> list[Prediction]:
        ((label, percent, known),) = features.astype(int).tolist()
        probability, is_known = percent / 100, (False, True, None)[known]
        is_sure = probability >= 0.8 and is_known is not False
        return [Prediction(CLASSES[label], probability, {}, is_sure, is_known)]


class Fixed:
    """In a reloader's place: the classifier stays."""

    classifier = Scripted()

    def look(self) -> bool:
        return False


def shot(label: int, percent: int, known: int = 1) -> np.ndarray:
    picture = np.full((40, 60, 3), 99, np.uint8)
    picture[0, 0] = label, percent, known
    return picture


def watcher(pictures: list[Any], **more: Any) -> Watcher:
    def frames() -> Iterator[Frame | None]:
        for number, picture in enumerate(pictures, 1):
            yield None
            yield Frame(number, "door", picture)

    parts = {"consensus": Consensus(2, 3), "region": None, "unsure": None, "mqtt": None}
    return Watcher(frames=frames(), reloader=Fixed(), **(parts | more))  # type: ignore[arg-type]


def next_frame(frames: Iterator[Frame | None], seconds: float = 20) -> Frame:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (frame := next(frames)) is not None:
            return frame
    raise AssertionError("no frame came")


def nothing_for(frames: Iterator[Frame | None], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert next(frames) is None


av = pytest.importorskip("av", reason="the extra `camera` is not installed")
RATE = 10


def video(file: Path, colours: list[str], size: tuple[int, int] = (64, 48), **more: Any) -> Path:
    """A picture of each colour for a second, the left half darker."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(more.get("codec", "mpeg4"), rate=RATE)
        stream.width, stream.height, stream.pix_fmt = (*size, more.get("format", "yuv420p"))
        stream.bit_rate = 2_000_000
        if turn := more.get("turn"):
            stream.set_display_rotation(turn)
        for name in colours:
            picture = np.full((size[1], size[0], 3), COLOURS[name], np.uint8)
            picture[:, : size[0] // 2] //= 2
            for _ in range(RATE):
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file


def shown(*arguments: object) -> tuple[list[dict[str, Any]], str]:
    result = invoke("watch", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def refused(place: Place, words: str, *arguments: object) -> str:
    result = invoke("watch", place.run, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("edge-sharpzo: ")]
    assert len(lines) == 1, result.stderr
    assert words in lines[0], lines
    assert "Traceback" not in result.output
    return lines[0]
