"""`watch`: what it takes from folders, videos and cameras, and what it says of it."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import Place, invoke, photo, tune
from PIL import Image

from edge_sharpzo import Classifier, Prediction, UserError
from edge_sharpzo.classifier.tuned import PROMPT
from edge_sharpzo.photos.background import NONE_OF_THESE
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.runs.records import SUMMARY
from edge_sharpzo.system.errors import Cancelled
from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.watching import folder, live, reload, unsure
from edge_sharpzo.watching.broker import PASSWORD, Broker
from edge_sharpzo.watching.consensus import Consensus
from edge_sharpzo.watching.region import OutsideError, Region
from edge_sharpzo.watching.reload import Reloader
from edge_sharpzo.watching.sources import Frame, frames_of, shown_address
from edge_sharpzo.watching.unsure import Unsure
from edge_sharpzo.watching.watcher import Watcher

CLASSES = ("red_things", "green_things", "blue_things")
COLOURS = {"red_things": (180, 40, 40), "green_things": (60, 180, 40), "blue_things": (40, 60, 180)}
NOTHING = "-"  # an answer that is not sure


# --- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agree", "answers", "states"),
    [
        ("1/1", "a b a", "a b a"),
        ("2/2", "a a b a b b", ". a a a a b"),
        ("2/3", "a b a b b", ". . a b b"),
        ("3/5", "a a b a b a b b", ". . . a a a b b"),
        ("3/5", "a a a - - - - -", ". . a a a a a a"),  # not sure is no change
        ("3/5", "- - a - a - - a", ". . . . . . . ."),  # never three of five
        ("3/5", "a a a N b N b N", ". . a a a a a N"),
        ("2/5", "a a b b c c", ". a a a a c"),  # stays while it has two itself; then the most
        ("2/6", "a a b b - -", ". a a a a a"),
        ("2/6", "a a b b - - -", ". a a a a a b"),
        ("1/3", "a b c d a", "a a a d d"),
    ],
)
def test_states_change_when_enough_agree(agree: str, answers: str, states: str) -> None:
    consensus, seen, before = Consensus.parsed(agree), list[str](), None
    for answer in answers.split():
        changed = consensus.hear(None if answer == NOTHING else answer)
        assert changed == (consensus.state != before)
        before = consensus.state
        seen.append(consensus.state or ".")
    assert " ".join(seen) == states


def test_a_state_that_is_no_class_any_more_is_forgotten() -> None:
    consensus = Consensus(2, 3)
    for answer in ("a", "a", "b"):
        consensus.hear(answer)
    assert not consensus.keep_to({"a", "b"})
    assert consensus.state == "a"
    assert consensus.keep_to({"b", "c"})
    assert consensus.state is None
    assert consensus.hear("b")  # the one before counts still
    assert consensus.state == "b"


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/5", "0/5", "6/5", "3/1001", "-1/5", "a/b", "1.5/2"]
)
def test_how_many_agree_is_checked(text: str) -> None:
    with pytest.raises(UserError, match="such as 3/5") as caught:
        Consensus.parsed(text)
    assert caught.value.field == "agree"


# --- region ---------------------------------------------------------------------------------------


def test_a_region_is_cut_out() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    assert np.array_equal(Region.parsed("2, 1,3 ,4").cut(picture), picture[1:5, 2:5])
    assert np.array_equal(Region.parsed("0,0,8,6").cut(picture), picture)


@pytest.mark.parametrize(
    ("text", "reach"), [("0,0,9,6", "9 x 6"), ("7,5,1,2", "8 x 7"), ("8,0,1,1", "9 x 1")]
)
def test_a_region_outside_is_refused(text: str, reach: str) -> None:
    with pytest.raises(OutsideError, match=f"reaches to {reach} pixels, and the picture has 8 x 6"):
        Region.parsed(text).cut(np.zeros((6, 8, 3), np.uint8))


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "0,0,0,5", "0,0,5,0", "-1,0,5,5", "0.5,0,5,5", "a,b,c,d"]
)
def test_a_region_is_four_numbers(text: str) -> None:
    with pytest.raises(UserError, match="X,Y,W,H") as caught:
        Region.parsed(text)
    assert caught.value.field == "region"


# --- a broker's address ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mqtt://host/a", ("host", 1883, "a", None, False)),
        ("mqtts://host/a", ("host", 8883, "a", None, True)),
        ("mqtt://joe@host:77/a/b/", ("host", 77, "a/b", "joe", False)),
        ("mqtt://j%40e@[::1]/home/door%201", ("::1", 1883, "home/door 1", "j@e", False)),
    ],
)
def test_brokers(text: str, told: tuple[object, ...]) -> None:
    broker = Broker.parsed(text)
    found = broker.host, broker.port, broker.topic, broker.user, broker.is_encrypted
    assert found == told
    assert broker.password is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no address"),
        ("host/topic", "no address"),
        ("http://host/topic", "no address"),
        ("mqtt:///topic", "no address"),
        ("mqtt://host/t?retain=1", "no address"),
        ("mqtt://host:0/t", "no address"),
        ("mqtt://host:99999/t", "host or port"),
        ("mqtt://host:door/t", "host or port"),
        ("mqtt://host", "topic is missing"),
        ("mqtt://host/", "topic is missing"),
        ("mqtt://host/a/+", "without"),
        ("mqtt://host/a%23", "without"),
        ("mqtt://host/$SYS/a", "without"),
        ("mqtt://host/a%0Ab", "without"),
        ("mqtt://host/" + "a" * 201, "without"),
        ("mqtt://joe:secret@host/a", PASSWORD),
        ("mqtt://joe:secret@host:0.5/a", "host or port"),
        ("mqtts://joe:secret@[::1/a", "host or port"),
        ("mqtt://joe:secret@ho\u2100st/a", "host or port"),
        ("mqtt://joe:secret/9@host/a", "host or port"),  # a password that is not escaped
        ("mqtt://joe:#secret@host/a", "no address"),
        ("mqtt://joe:?secret@host/a", "no address"),
        ("mqtt://joe:secret", "host or port"),
        ("mqtt//joe:secret@host/a", "no address"),
        ("joe:secret@host/a", "no address"),
        ("mqtt:joe:secret@host/a", "no address"),
    ],
)
def test_what_is_no_broker(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        Broker.parsed(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.field == "mqtt"


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    shown = {
        address: Broker.parsed(f"{address}/a").shows_password
        for address in (
            "mqtt://j@host",
            "mqtts://j@host",
            "mqtt://j@localhost",
            "mqtt://j@127.0.0.9",
        )
    }
    assert list(shown.values()) == [True, False, False, False]
    assert Broker.parsed("mqtt://j@host/a").password == "secret"
    with pytest.raises(UserError, match="a user is missing"):
        Broker.parsed("mqtt://host/a")


# --- a watcher with answers of our own ------------------------------------------------------------


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


def test_a_row_for_each_frame() -> None:
    pictures = [shot(0, 90), shot(0, 99), shot(1, 70), "torn", shot(1, 90, 0), shot(2, 95, 0)]
    rows = list(watcher(pictures).rows(StopWhen()))
    for row in rows:
        assert row.pop("time")[10] == "T"
    none = NONE_OF_THESE
    told = [
        ("red_things", 0.9, True, True, None, False),
        ("red_things", 0.99, True, True, "red_things", True),
        ("green_things", 0.7, False, True, "red_things", False),
        None,
        ("green_things", 0.9, False, False, "red_things", False),
        ("blue_things", 0.95, False, False, none, True),
    ]
    names = ("class", "probability", "sure", "known", "state", "changed")
    wanted = [
        {"frame": number, "source": "door"}
        | (
            dict(zip(names, each, strict=True))
            if each
            else {"error": "torn", "state": "red_things", "changed": False}
        )
        for number, each in enumerate(told, 1)
    ]
    assert rows == wanted


def test_a_run_that_cannot_tell_has_no_none_of_these() -> None:
    rows = list(watcher([shot(0, 90, 2), shot(0, 90, 2)]).rows(StopWhen()))
    assert [row["known"] for row in rows] == [None, None]
    assert rows[1]["state"] == "red_things"


def test_the_region_has_to_be_in_the_first_picture() -> None:
    small = np.zeros((10, 10, 3), np.uint8)
    region = Region(0, 0, 20, 20)
    with pytest.raises(UserError, match="`region`: it reaches to 20 x 20") as caught:
        list(watcher([small], region=region).rows(StopWhen()))
    assert caught.value.field == "region"
    rows = list(watcher([shot(0, 90), small, shot(0, 91)], region=region).rows(StopWhen()))
    assert "outside the region" in rows[1]["error"]
    assert [rows[0]["probability"], rows[2]["probability"]] == [0.9, 0.91]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sizes", [("20x20", "64x48"), ("64x47", "64x48"), ("1x90", "80x60")])
def test_a_photo_smaller_than_the_region_does_not_end_a_folder_s_watch(
    sizes: tuple[str, str], place: Place
) -> None:
    inbox = place.folder("camera")
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)
    parts: dict[str, Any] = {"unsure": None, "mqtt": None, "region": Region(0, 0, 64, 48)}
    looking = Watcher(frames, Fixed(), Consensus(1, 1), **parts)  # type: ignore[arg-type]
    rows = looking.rows(StopWhen())
    for number, size in enumerate(sizes):
        width, height = map(int, size.split("x"))
        made = Image.fromarray(np.full((height, width, 3), (2, 90, 1), np.uint8))
        assert next(frames) is None  # what lay there at the start is passed over
        made.save(inbox / f"{number}.png")
        row = next(rows)
        assert (row["frame"], Path(row["source"]).stem) == (number + 1, str(number))
        if number:
            assert row["class"] == row["state"] == "blue_things"
        else:
            reach = f"reaches to 64 x 48 pixels, and the picture has {width} x {height}"
            assert row["error"] == f"outside the region: it {reach}"
            assert row["state"] is None


# --- what it was not sure of ----------------------------------------------------------------------


def scene(seed: int) -> np.ndarray:
    field = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(field).resize((120, 90), Image.Resampling.BICUBIC))


def kept(keeper: Unsure, *seeds: int) -> None:
    for number, seed in enumerate(seeds, 1):
        features = np.random.default_rng(seed).normal(size=24).astype(np.float32)
        keeper.keep(scene(seed), features / np.linalg.norm(features), number)


def test_what_is_unsure_is_kept_once_a_scene(tmp_path: Path) -> None:
    told = list[str]()
    kept(Unsure(tmp_path / "a" / "b", lambda text, _: told.append(text)), 1, 1, 2, 1, 2, 3)
    files = sorted((tmp_path / "a" / "b").iterdir())
    assert [file.stem.split("-")[2] for file in files] == ["000001", "000003", "000006"]
    for file, seed in zip(files, (1, 2, 3), strict=True):
        difference = np.asarray(Image.open(file), float) - scene(seed)
        assert np.abs(difference).mean() < 3
    assert told == []


@pytest.mark.parametrize("watchers", [2, 3, 5])
def test_no_picture_takes_the_place_of_another(
    watchers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several cameras in one folder, or a clock that was set back: the same second and frame."""
    monkeypatch.setattr(unsure.time, "strftime", lambda _: "20000101-000017")
    for seed in range(watchers):
        kept(Unsure(tmp_path, lambda text, _: None), seed)
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(files) == watchers
    assert {name[:23] for name in files} == {"20000101-000017-000001-"}
    for seed in range(watchers):  # what is there already is neither lost nor there twice
        kept(Unsure(tmp_path, lambda text, _: None), seed)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files


@pytest.mark.parametrize(("limit", "value"), [("MOST_PHOTOS", 2), ("MOST_BYTES", 1)])
def test_the_folder_holds_no_more_than_it_may(
    limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsure, limit, value)
    (tmp_path / "earlier.jpg").write_bytes(b"of another run")
    told = list[str]()
    keeper = Unsure(tmp_path, lambda text, _: told.append(text))
    kept(keeper, 1, 2, 3, 4)
    assert len(list(tmp_path.iterdir())) == (2 if limit == "MOST_PHOTOS" else 1)
    assert len(told) == 1
    assert "as many as it may: label them" in told[0]
    for file in tmp_path.iterdir():
        file.unlink()
    kept(keeper, 5)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_told_once_and_watching_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, write = list[str](), unsure.write_atomic

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = Unsure(tmp_path, lambda text, _: told.append(text))
    monkeypatch.setattr(unsure, "write_atomic", full)
    kept(keeper, 1, 2, 3)
    assert [line.split(":")[0] for line in told] == [
        f"cannot save to {tmp_path} (No space left on device)"
    ]
    monkeypatch.setattr(unsure, "write_atomic", write)
    kept(keeper, 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_only_what_is_known_and_not_sure_is_kept(tmp_path: Path) -> None:
    keeper = Unsure(tmp_path, lambda text, _: None)
    pictures = [shot(0, 90), shot(1, 50), shot(1, 50, 0), shot(0, 85, 2)]
    list(watcher(pictures, unsure=keeper).rows(StopWhen()))
    assert [file.stem.split("-")[2] for file in tmp_path.iterdir()] == ["000002"]


def test_a_file_where_the_folder_should_be(place: Place) -> None:
    result = invoke(
        "watch", place.run, "--source", place.folder("in"), "--save", "unsure",
        "--save-to", place.file("taken"),
    )  # fmt: skip
    assert result.exit_code == 2
    assert "cannot save to" in result.stderr
    assert "give another --save-to" in result.stderr


# --- reload ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_run(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two of the classes."""
    root = tmp_path_factory.mktemp("other")
    for name in CLASSES[:2]:
        shutil.copytree(photos / "train" / name, root / "data" / name)
    tune(tiny_onnx, root / "data", root / "run", "--budget", 50)
    return root / "run"


def put(run: Path, into: Path) -> None:
    """As a run that ends does: the summary last."""
    into.mkdir(exist_ok=True)
    for name in (PROMPT, SUMMARY):
        (into / f".{name}.part").write_bytes((run / name).read_bytes())
        (into / f".{name}.part").replace(into / name)


def looked(reloader: Reloader) -> bool:
    """Whether another classifier was taken, once the looking has come to an end."""
    for _ in range(200):
        if reloader.look():
            return True
        if reloader._thread is None and reloader._stamp == reload._stamp(reloader._folder):
            return False
        time.sleep(0.02)
    raise AssertionError("it never ends")


@pytest.fixture
def reloading(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> tuple[Reloader, Path, list[str], list[int]]:
    monkeypatch.setattr(reload, "EVERY", 0.0)
    run, told, loads = place.tmp / "run", list[str](), list[int]()
    shutil.copytree(place.run, run)

    def load() -> Classifier:
        loads.append(1)
        return Classifier.load(run, place.onnx)

    return Reloader(run, load, lambda text, _: told.append(text)), run, told, loads


def test_a_newer_classifier_is_taken(
    reloading: tuple[Reloader, Path, list[str], list[int]], other_run: Path, place: Place
) -> None:
    reloader, run, told, loads = reloading
    first = reloader.classifier
    assert not looked(reloader)
    put(other_run, run)
    assert looked(reloader)
    assert reloader.classifier.labels == ["green_things", "red_things"]
    wanted = Classifier.load(other_run, place.onnx).predict([photo(place)])
    assert reloader.classifier.predict([photo(place)]) == wanted
    assert first.predict([photo(place)]) == Classifier.load(place.run).predict([photo(place)])
    assert reloader.classifier._tower is first._tower  # the model is in memory once
    assert loads == [1]
    assert told == [f"{run} has a new classifier, which answers from here on"]


@pytest.mark.parametrize("file", [PROMPT, SUMMARY])
@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 5000])
def test_a_damaged_one_is_told_and_the_old_one_stays(
    file: str,
    content: bytes,
    reloading: tuple[Reloader, Path, list[str], list[int]],
    other_run: Path,
) -> None:
    reloader, run, told, _ = reloading
    first = reloader.classifier
    (run / file).write_bytes(content)
    os.utime(run / SUMMARY)
    assert not looked(reloader)
    assert reloader.classifier is first
    assert len(told) == 1
    assert "cannot be used, the old one stays" in told[0]
    assert file in told[0]
    put(other_run, run)
    assert looked(reloader)


@pytest.mark.parametrize(
    ("name", "is_told"),
    [
        ("none of these", True),
        ("none_of_these", True),
        ("None of  These", True),
        ("none", False),
        ("none of these birds", False),
    ],
)
def test_a_class_that_is_called_none_of_these_is_told(
    name: str,
    is_told: bool,
    reloading: tuple[Reloader, Path, list[str], list[int]],
    photos: Path,
    place: Place,
) -> None:
    """By `tune`, as a class with photos, an empty folder or a line of a file; and by `watch`."""
    data, words = place.tmp / "data", f"the class '{name}' is called as photos of none"
    for source, to in (("red_things", "red_things"), ("green_things", "green"), (CLASSES[2], name)):
        shutil.copytree(photos / "train" / source, data / to)
    runs = [find_photos(data)]
    shutil.rmtree(data / name)
    (data / name).mkdir()
    runs.append(find_photos(data))
    (data / name).rmdir()
    runs.append(find_photos(data, more_classes=place.file("more.txt", name)))
    for found in runs:
        assert [words in note for note in found.notes].count(True) == is_told
    reloader, _, told, _ = reloading
    for classifier, refuses in ((reloader.classifier, True), (reloader.classifier.renewed(), True)):
        assert classifier.can_refuse == refuses
        classifier._prompt.__dict__["folders"] = [name, "red_things", "green"]
        reloader._loaded = classifier
        assert reloader._taken()
        assert [words in line for line in told].count(True) == is_told
        told.clear()
    Reloader(place.run, lambda: classifier, lambda text, _: told.append(text))
    assert [words in line for line in told] == [True] * is_told


def test_a_run_folder_that_goes_and_comes_back(
    reloading: tuple[Reloader, Path, list[str], list[int]], other_run: Path
) -> None:
    reloader, run, told, _ = reloading
    first = reloader.classifier
    shutil.rmtree(run)
    assert not looked(reloader)
    assert not looked(reloader)
    assert reloader.classifier is first
    assert [line.split(":")[0] for line in told] == [f"{run} holds no finished run for now"]
    put(other_run, run)
    assert looked(reloader)


@pytest.mark.parametrize(
    ("gone", "is_warning"), [((SUMMARY,), False), ((SUMMARY, PROMPT), False), ((), True)]
)
def test_no_finished_run_is_no_trouble_where_one_is_tuned(
    gone: tuple[str, ...],
    is_warning: bool,
    reloading: tuple[Reloader, Path, list[str], list[int]],
) -> None:
    """`tune --overwrite` and a station take the old one away first; others lose it."""
    reloader, run, _, _ = reloading
    told = list[tuple[str, bool]]()
    reloader._tell = lambda *what: told.append(what)
    if gone:
        for name in gone:
            (run / name).unlink()
    else:
        shutil.rmtree(run)
    assert not looked(reloader)
    (said,) = told
    assert said[0].startswith(f"{run} holds no finished run for now: the classifier that is loaded")
    assert said[1] == is_warning


def test_a_run_of_another_model(
    reloading: tuple[Reloader, Path, list[str], list[int]], photos: Path, place: Place
) -> None:
    """With its own model it is loaded whole; where another model was asked for, it is refused."""
    reloader, run, told, loads = reloading
    other = place.edited_card('"feature_dim"', '"feature_dim" ')
    tune(other, photos, place.tmp / "theirs", "--budget", 50)
    put(place.tmp / "theirs", run)
    assert not looked(reloader)
    assert "is not the model that" in told[0]
    assert len(loads) == 2
    reloader._load = lambda: Classifier.load(run, other)
    os.utime(run / SUMMARY)
    assert looked(reloader)
    assert reloader.classifier.predict([photo(place)])


def test_a_state_that_the_new_classifier_lacks(
    reloading: tuple[Reloader, Path, list[str], list[int]], other_run: Path, place: Place
) -> None:
    """Between two frames; none is missed."""
    reloader, run, _, _ = reloading
    blue = np.asarray(Image.open(place.photos / "test" / "blue_things" / "000.png"))
    reloader.classifier._prompt.calibration.__dict__["threshold"] = None  # always sure

    def frames() -> Iterator[Frame | None]:
        for number in range(1, 200):
            if number == 4:
                put(other_run, run)
            if number > 4:
                time.sleep(0.01)
            yield Frame(number, "door", blue)
            if reloader.classifier.labels == ["green_things", "red_things"]:
                return

    heard = list[tuple[list[str], str | None]]()

    class Listening:
        def answer(self, row: dict[str, Any]) -> None:
            pass

        def use(self, labels: list[str], state: str | None) -> None:
            heard.append((labels, state))

    parts = {"consensus": Consensus(2, 3), "region": None, "unsure": None, "mqtt": Listening()}
    rows = list(Watcher(frames(), reloader, **parts).rows(StopWhen()))  # type: ignore[arg-type]
    assert heard == [(["green_things", "red_things"], None)]
    assert [row["frame"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[3]["class"] == "blue_things"
    assert rows[-1]["class"] != "blue_things"


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files stand still within a tenth of a second."""
    monkeypatch.setattr(folder, "STILL", 0.1)
    monkeypatch.setattr(folder, "PATIENCE", 0.4)
    monkeypatch.setattr(folder, "SHORTEST", 0.02)


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


@pytest.mark.usefixtures("quick")
def test_photos_that_come_are_taken_once(place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    png = photo(place).read_bytes()
    (inbox / "before.png").write_bytes(png)
    (inbox / "before.txt").write_bytes(png)
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    assert told == [
        f"1 photo in {inbox} already: what comes from now on is watched, "
        "`edge-sharpzo predict` takes what is there"
    ]
    nothing_for(frames, 0.3)
    for name in ("b.png", "a.PNG", ".hidden.png", "notes.txt", "c.jpg"):
        (inbox / name).write_bytes(png)
        os.utime(inbox / name, (0, 1000 + len(name)))
    (inbox / "folder.jpg").mkdir()
    (inbox / "gone.jpg").symlink_to(inbox / "nowhere.jpg")
    os.mkfifo(inbox / "pipe.jpg")
    came = [next_frame(frames) for _ in range(3)]
    assert [Path(frame.source).name for frame in came] == ["a.PNG", "b.png", "c.jpg"]
    assert [frame.number for frame in came] == [1, 2, 3]
    for frame in came:
        assert np.array_equal(frame.picture, np.asarray(Image.open(BytesIO(png))))
    nothing_for(frames, 0.5)
    (inbox / "b.png").write_bytes(png + b"\0")  # written anew
    assert next_frame(frames).number == 4
    (inbox / "b.png").unlink()
    (inbox / "b.png").write_bytes(png)
    (inbox / "new").write_bytes(png)
    (inbox / "new").replace(inbox / "d.png")  # by renaming, as careful cameras do
    assert {Path(next_frame(frames).source).name for _ in range(2)} == {"b.png", "d.png"}
    nothing_for(frames, 0.3)


@pytest.mark.usefixtures("quick")
def test_half_written_photos_are_waited_for(place: Place) -> None:
    inbox = place.folder("camera")
    png = photo(place).read_bytes()
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)
    for share in (0, 0.3, 0.6, 0.9):  # each piece stands still for longer than STILL
        (inbox / "slow.png").write_bytes(png[: int(share * len(png))])
        nothing_for(frames, 0.2)
    (inbox / "slow.png").write_bytes(png)
    frame = next_frame(frames)
    assert not isinstance(frame.picture, str)
    (inbox / "torn.jpg").write_bytes(png[: len(png) // 2])
    began = time.monotonic()
    torn = next_frame(frames)
    assert time.monotonic() - began > 0.4
    assert isinstance(torn.picture, str)
    assert "trunc" in torn.picture
    nothing_for(frames, 0.6)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, []),
        ({"notes.txt": 1.0, ".a.png": 1.0}, []),
        ({"new.png": 1.0}, ["1 photo in ", "new.png"]),
        ({"torn.png": 0.5, "empty.jpg": 0.0}, ["2 photos in ", "empty.jpg, torn.png"]),
    ],
)
@pytest.mark.parametrize("by_signal", [True, False])
def test_what_waits_at_the_end_is_told(
    files: dict[str, float], said: list[str], by_signal: bool, place: Place
) -> None:
    inbox, told = place.folder("camera"), list[str]()
    png = photo(place).read_bytes()
    (inbox / "before.png").write_bytes(png)
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    assert next(frames) is None
    told.clear()
    for name, share in files.items():
        (inbox / name).write_bytes(png[: int(share * len(png))])
    if by_signal:
        with pytest.raises(Cancelled):
            frames.throw(Cancelled())
    frames.close()
    middle = f"{inbox} had come and got no answer, being new or unreadable: "
    assert told == ([middle.join(said)] if said else [])


@pytest.mark.usefixtures("quick")
def test_a_folder_that_goes_away_is_waited_for(place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    png = photo(place).read_bytes()
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    (inbox / "a.png").write_bytes(png)
    assert next_frame(frames).number == 1
    shutil.rmtree(inbox)
    nothing_for(frames, 0.3)
    assert told == [f"cannot look into {inbox} (No such file or directory): it is waited for"]
    inbox.mkdir()
    (inbox / "b.png").write_bytes(png)
    assert next_frame(frames).number == 2
    assert told[1:] == [f"{inbox} is back"]


def test_what_was_taken_takes_little_memory(tmp_path: Path) -> None:
    inbox = folder._Inbox(tmp_path)
    inbox._taken = {hash((f"{i}.jpg", (i, i, i, i))) for i in range(20_000)}
    assert sys.getsizeof(inbox._taken) + 20_000 * 36 < 3_000_000
    assert inbox.look() == []
    assert inbox._taken == set()  # of files that are there no more


@pytest.mark.parametrize(
    ("count", "said"), [(0, []), (1, ["1 photo in "]), (2, ["2 photos in "]), (3, ["3 photos in "])]
)
def test_what_is_passed_over_is_counted(count: int, said: list[str], place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    for number in range(count):
        (inbox / f"{number}.jpg").write_bytes(b"")
    frames_of(str(inbox), 1, lambda text, _: told.append(text))
    assert [line.split(str(inbox))[0] for line in told] == said


# --- videos ---------------------------------------------------------------------------------------


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


# --- what is wrong --------------------------------------------------------------------------------


def refused(place: Place, words: str, *arguments: object) -> str:
    result = invoke("watch", place.run, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("edge-sharpzo: ")]
    assert len(lines) == 1, result.stderr
    assert words in lines[0], lines
    assert "Traceback" not in result.output
    return lines[0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{tmp}/nowhere", "is not there"),
        ("cameras", "is not there"),
        ("camera:77", "there is no camera /dev/video77"),
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


# --- cameras and streams --------------------------------------------------------------------------


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


# --- as a process ---------------------------------------------------------------------------------


@contextmanager
def running(*arguments: object, **more: Any) -> Iterator[tuple[Any, Callable[[], dict[str, Any]]]]:
    """The command at work; gives the process, and a function that waits for its next line."""
    script = (
        "import sys; from edge_sharpzo.watching import folder; folder.STILL = 0.1; "
        "from edge_sharpzo.cli import app; app(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "watch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    assert process.stdout
    lines: Queue[str] = Queue()
    Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True).start()

    def next_row() -> dict[str, Any]:
        try:
            row: dict[str, Any] = json.loads(lines.get(timeout=60))
        except Empty:
            raise AssertionError("no row came") from None
        return row

    try:
        yield process, next_row
    finally:
        process.kill()
        process.wait()


def ready(process: Any) -> None:
    """Waits for the line that says what is watched."""
    while "the state changes" not in (line := process.stderr.readline()):
        assert line, "it ended"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(sent: signal.Signals, place: Place) -> None:
    inbox = place.folder("camera")
    with running(place.run, "--source", inbox, "--every", 0.1) as (process, next_row):
        ready(process)
        (inbox / "a.png").write_bytes(photo(place).read_bytes())
        row = next_row()
        assert row["source"] == str(inbox / "a.png")
        process.send_signal(sent)
        assert process.wait(10) == 130
        assert process.stderr.read() == "edge-sharpzo: interrupted\n"


def test_a_signal_ends_a_stream_that_stalls(place: Place) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam"
        with running(place.run, "--source", address) as (process, _):
            ready(process)
            time.sleep(0.5)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 130
            assert time.monotonic() - began < 4


def test_a_pipe_that_nobody_reads(place: Place) -> None:
    file = video(place.tmp / "clip.mp4", list(CLASSES) * 3)
    command = (
        f"{sys.executable} -m edge_sharpzo watch {place.run} --source {file} --every 0 | head -1"
    )
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    row, status = done.stdout.splitlines()
    assert json.loads(row)["frame"] == 1
    assert status == "141"
    assert "Traceback" not in done.stderr


def test_names_that_would_steer_a_terminal(place: Place) -> None:
    inbox = place.folder("cam\x1b[31mera")
    with running(place.run, "--source", inbox, "--every", 0.1) as (process, next_row):
        ready(process)
        name = os.fsdecode(b"caf\xe9 \x1b]0;owned\x07.png")
        (inbox / name).write_bytes(photo(place).read_bytes())
        assert next_row()["source"] == str(inbox / name)
