"""`watch` on a video file."""

from pathlib import Path

import numpy as np
import pytest
from helpers import Place

from edge_sharpzo import Classifier
from edge_sharpzo.watching.sources import frames_of
from watch.sights import CLASSES, COLOURS, av, shown, video


def test_a_video_is_watched_to_its_end(place: Place) -> None:
    file = video(place.tmp / "clip.mp4", ["red_things", "blue_things", "blue_things"])
    rows, said = shown(place.run, "--source", file)
    assert [row["frame"] for row in rows] == [1, 11, 21]
    assert {row["source"] for row in rows} == {str(file)}
    assert set(rows[0]) == {
        *("time", "frame", "source", "class", "probability", "sure", "known", "state", "changed")
    }
    assert "the state changes when 3 of the last 5 answers agree" in said
    (frames, _), (halves, _) = (
        shown(place.run, "--source", file, "--every", every) for every in (0, 0.5)
    )
    assert [row["frame"] for row in frames] == list(range(1, 31))
    assert [row["frame"] for row in halves] == [1, 6, 11, 16, 21, 26]


@pytest.mark.parametrize(
    "name",
    [
        "08:15:00.mp4",
        "http:clip.mp4",
        "file:clip.mp4",
        "concat:a|b.mp4",
        "camera:yard.mp4",
        "pipe:0",
        "100%d.mp4",
        "caf\udce9 \u00e9.mp4",
    ],
)
def test_a_video_may_be_called_as_it_likes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video(tmp_path / "made.mp4", ["red_things"]).rename(tmp_path / name)
    frame = next(frames_of(name, 1, lambda text, _: None))
    assert frame is not None
    assert (frame.source, frame.number) == (name, 1)
    assert not isinstance(frame.picture, str)


def test_answers_are_those_of_predict(place: Place) -> None:
    """Of the region alone, where there is one."""
    file = video(place.tmp / "clip.mkv", ["red_things"], codec="ffv1", format="bgr0")
    (whole,), _ = shown(place.run, "--source", file)
    (half,), _ = shown(place.run, "--source", file, "--region", "32,0,32,48")
    picture = np.full((48, 64, 3), COLOURS["red_things"], np.uint8)
    picture[:, :32] //= 2
    wanted = Classifier.load(place.run).predict([picture, picture[:, 32:].copy()])
    for row, answer in zip((whole, half), wanted, strict=True):
        assert (row["class"], row["sure"], row["known"]) == (
            answer.label,
            answer.sure,
            answer.known,
        )
        assert row["probability"] == pytest.approx(answer.probability, abs=2e-6)
    assert whole["probability"] != half["probability"]


@pytest.mark.parametrize(
    ("turn", "dark"), [(90, "left"), (0, "left"), (180, "right"), (-90, "top")]
)
def test_a_video_is_upright(turn: int, dark: str, tmp_path: Path) -> None:
    """As players show it: the stored picture, turned counterclockwise."""
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV reads how a video is turned, and cannot write it")
    file = video(tmp_path / "clip.mp4", ["red_things"], turn=turn)
    frame = next(frames_of(str(file), 1, lambda text, _: None))
    assert frame is not None
    assert isinstance(frame.picture, np.ndarray)
    tall = turn in (90, -90)
    assert frame.picture.shape == ((64, 48, 3) if tall else (48, 64, 3))
    red = frame.picture[..., 0].astype(float)
    half = {
        "left": red[:, : red.shape[1] // 2],
        "right": red[:, red.shape[1] // 2 :],
        "top": red[: len(red) // 2],
        "bottom": red[len(red) // 2 :],
    }
    darkest = min(half, key=lambda side: half[side].mean())
    assert darkest == ("bottom" if turn == 90 else dark)


@pytest.mark.parametrize(
    ("suffix", "codec", "colours"), [("mov", "png", "rgb24"), ("mp4", "mjpeg", "yuvj420p")]
)
def test_what_is_damaged_of_a_video_is_left_out(
    suffix: str, codec: str, colours: str, place: Place
) -> None:
    whole = video(place.tmp / f"a.{suffix}", list(CLASSES) * 3, codec=codec, format=colours)
    content = bytearray(whole.read_bytes())
    for at in range(len(content) // 3, len(content) // 3 + 400, 7):
        content[at] ^= 0xFF
    damaged = place.file(f"damaged.{suffix}", bytes(content))
    rows, said = shown(place.run, "--source", damaged, "--every", 0)
    assert 80 < len(rows) < 90
    assert f"warning: {90 - len(rows)} damaged frames of {damaged} left out" in said


def test_a_video_that_was_cut_off(place: Place) -> None:
    whole = video(place.tmp / "whole.mkv", list(CLASSES) * 3).read_bytes()
    rows, _ = shown(place.run, "--source", place.file("cut.mkv", whole[: len(whole) // 2]))
    assert 0 < len(rows) < 9
