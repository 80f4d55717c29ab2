"""What `watch` refuses, with the cure."""

import os
import socket

import numpy as np
import pytest
from helpers import Place, invoke, photo

from edge_sharpzo.watching.broker import PASSWORD
from watch.sights import av, refused, shown, video


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{tmp}/nowhere", "is not there"),
        ("cameras", "is not there"),
        ("", "--source is empty, as of a variable that is not set: give a folder"),
        (" ", "--source is empty"),
        ("camera:77", "there is no camera /dev/video77"),
        ("camera:9999", "there is no camera /dev/video9999"),
        ("camera:-1", "there is no camera:-1: a camera is camera:N with its number"),
        ("camera:", "there is no camera:: a camera is"),
        ("camera:door", "there is no camera:door: a camera is"),
        ("camera:\u0663", "there is no camera:"),
        ("camera:" + "9" * 5000, "there is no camera:9"),
        ("/dev/null", "cannot read /dev/null"),
        ("ftp://host/x", "there is no ftp://, but rtsp://"),
        ("file:///etc/passwd", "there is no file://"),
        ("concat:a|b", "is not there"),
        ("rtsp://joe:secret@127.0.0.1:{closed}/x", "127.0.0.1:{closed}/x (Connection refused)"),
        ("http://127.0.0.1:{closed}/x", "Connection refused"),
        ("http://127.0.0.1:{closed}/x?pwd=secret", "127.0.0.1:{closed}/x?... (Connection refused)"),
        ("RTSP://joe:secret@127.0.0.1:{closed}/x", "rtsp://127.0.0.1:{closed}/x (Connection"),
        ("rtsp:/joe:secret@cam/x", "...@cam/x is not there"),
        ("HTTPX://joe:secret@cam/x?pwd=secret", "httpx://cam/x?...': there is no HTTPX://"),
        ("{photo}", ""),
        ("{text}", "cannot read"),
        ("{empty}", "cannot read"),
        ("{zeros}", "cannot read"),
        ("{sound}", "has no pictures"),
        ("{pipe}", "is no folder, file or camera"),
    ],
)
def test_sources_that_are_none(source: str, words: str, place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = taken.getsockname()[1]
    names = {
        "tmp": place.tmp,
        "closed": closed,
        "photo": photo(place),
        "text": place.file("clip.mp4", "no video"),
        "empty": place.file("empty.mp4"),
        "zeros": place.file("zeros.mp4", bytes(100_000)),
        "sound": place.tmp / "sound.wav",
        "pipe": place.tmp / "pipe",
    }
    os.mkfifo(place.tmp / "pipe")
    if "sound" in source:
        with av.open(str(names["sound"]), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = np.zeros((1, 800), np.int16)
            frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
            frame.rate = 8000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    if "photo" in source:  # a photo is a video of one picture
        rows, _ = shown(place.run, "--source", names["photo"])
        assert len(rows) == 1
        return
    told = refused(place, words.format(**names), "--source", source.format(**names))
    assert "secret" not in told


def test_a_file_may_be_called_as_a_camera_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    video(place.tmp / "clip.mp4", ["red_things"]).rename(place.tmp / "camera:door")
    monkeypatch.chdir(place.tmp)
    rows, _ = shown(place.run.absolute(), "--source", "camera:door")
    assert rows[0]["source"] == "camera:door"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--agree", "7/5"], "--agree 7/5: give K/N"),
        (["--region", "0,0,0,0"], "--region 0,0,0,0: give four whole numbers"),
        (["--region", "0,0,65,48"], "--region: it reaches to 65 x 48 pixels"),
        (["--every", "-1"], "--every -1.0: give seconds"),
        (["--every", "nan"], "--every nan: give seconds"),
        (["--every", "inf"], "--every inf: give seconds"),
        (["--save", "all", "--save-to", "x"], "--save all: choose one of unsure"),
        (["--save", "unsure", "--save-to", ""], "--save-to is empty"),
        (["--save", "unsure"], "--save unsure and --save-to go together"),
        (["--save-to", "x"], "go together"),
        (["--mqtt", "mqtt://host"], "the topic is missing"),
        (["--mqtt", "mqtt://a:b@host/x"], f"set {PASSWORD}"),
        (["--also", ""], "--also has an empty name"),
        (["--threads", "-2"], "--threads -2"),
    ],
)
def test_options_that_are_wrong(arguments: list[str], words: str, place: Place) -> None:
    file = video(place.tmp / "clip.mp4", ["red_things"])
    refused(place, words, "--source", file, *arguments)


def test_runs_that_are_none(place: Place) -> None:
    file = video(place.tmp / "clip.mp4", ["red_things"])
    other = place.edited_card('"feature_dim"', '"feature_dim" ')
    refused(place, "is not the model that", "--source", file, "--onnx", other)
    result = invoke("watch", place.folder("nothing"), "--source", file)
    assert result.exit_code == 2
    assert "is not a finished run" in result.stderr


@pytest.mark.parametrize(
    ("package", "arguments", "words"),
    [
        ("av", ["--source", "{clip}"], "pip install 'edge-sharpzo[camera]'"),
        ("av", ["--source", "camera"], "pip install 'edge-sharpzo[camera]'"),
        ("av", ["--source", "rtsp://host/x"], "pip install 'edge-sharpzo[camera]'"),
        (
            "paho",
            ["--source", "{tmp}", "--mqtt", "mqtt://h/t"],
            "pip install 'edge-sharpzo[mqtt]'",
        ),
    ],
)
def test_without_the_extra(
    package: str,
    arguments: list[str],
    words: str,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = place.file("clip.mp4")
    for module in ("video", "mqtt"):
        monkeypatch.setattr(
            f"edge_sharpzo.watching.{module}.find_spec", lambda name: None if package in name else 1
        )
    refused(place, words, *(each.format(clip=clip, tmp=place.tmp) for each in arguments))
