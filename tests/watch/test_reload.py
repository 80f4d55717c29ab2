"""`watch` takes the classifier that a run folder gets, and keeps the old one where that is none."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Place, photo, tune
from PIL import Image

from edge_sharpzo import Classifier
from edge_sharpzo.classifier.tuned import PROMPT
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.runs.records import SUMMARY
from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.watching import reload
from edge_sharpzo.watching.consensus import Consensus
from edge_sharpzo.watching.reload import Reloader
from edge_sharpzo.watching.sources import Frame
from edge_sharpzo.watching.watcher import Watcher
from watch.sights import CLASSES


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
        def look(self) -> None:
            pass

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
