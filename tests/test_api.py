"""The door for Python: `tune` and `Classifier`, from any thread, without a terminal."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import invoke
from PIL import Image
from safetensors.numpy import load_file

import edge_sharpzo
from edge_sharpzo import Cancelled, Classifier, UserError
from edge_sharpzo.events import Event, PhotosEncoded, QueriesSpent, SolutionSeen, TuningStarts


def tuned(onnx: Path, photos: Path, out: Path, **more: Any) -> edge_sharpzo.Run:
    return edge_sharpzo.tune(photos, onnx=onnx, out=out, **{"shots": 6, "budget": 300, **more})


def same(a: Path, b: Path) -> bool:
    first, second = (load_file(folder / "prompt.safetensors") for folder in (a, b))
    equal = all(np.array_equal(first[name], second[name]) for name in first)
    return equal and (a / "history.jsonl").read_text() == (b / "history.jsonl").read_text()


@pytest.fixture(scope="module")
def run(
    tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> edge_sharpzo.Run:
    return tuned(tiny_onnx, photos, tmp_path_factory.mktemp("api") / "run")


def test_it_does_what_the_command_does(
    run: edge_sharpzo.Run, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    arguments = ["--onnx", tiny_onnx, "--data", photos, "--out", tmp_path / "run"]
    done = invoke("tune", *arguments, "--shots", 6, "--budget", 300, "--json")
    assert same(run.folder, tmp_path / "run")
    printed = json.loads(done.stdout)
    for name in ("accuracy", "queries", "loss", "data", "calibration"):
        assert printed[name] == run.summary.as_dict()[name]
    assert not run.interrupted


def test_it_is_quiet_and_tells_of_its_progress(
    tiny_onnx: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[Event] = []
    tuned(tiny_onnx, photos, tmp_path / "run", on_progress=heard.append)
    assert capfd.readouterr() == ("", "")
    kinds = [type(event) for event in heard]
    wanted = [PhotosEncoded, TuningStarts, SolutionSeen, QueriesSpent]
    assert [kind for kind in dict.fromkeys(kinds) if kind in wanted] == wanted
    photos_done = [event for event in heard if isinstance(event, PhotosEncoded)]
    assert photos_done[-1].done == photos_done[-1].total == 36


def test_photos_in_any_form_give_one_answer(run: edge_sharpzo.Run, photos: Path) -> None:
    classifier = Classifier.load(run.folder)
    file = photos / "test" / "red_things" / "000.png"
    with Image.open(file) as image:
        forms = [str(file), file, image, np.asarray(image)]
        answers = classifier.predict(forms)
    for answer in answers:
        assert answer == answers[0]
    told = json.loads(invoke("predict", run.folder, file, "--json").stdout)[0]
    assert (answers[0].label, answers[0].sure) == (told["class"], told["sure"])
    assert answers[0].probability == pytest.approx(told["probability"], abs=1e-6)
    assert sum(answers[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert list(answers[0].probabilities) == [entry["class"] for entry in told["top"]]


def test_the_model_stays_open_between_calls(
    run: edge_sharpzo.Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    session = edge_sharpzo.ClipOnnx.session

    def counted(self: edge_sharpzo.ClipOnnx, tower: Any, integer: bool = False) -> object:
        opened.append(tower)
        return session(self, tower, integer)

    monkeypatch.setattr(edge_sharpzo.ClipOnnx, "session", counted)
    classifier = Classifier.load(run.folder)
    for name in ("red_things", "blue_things"):
        classifier.predict([photos / "test" / name / "001.png"])
    assert opened == ["image"]


def test_cached_features_are_scored_at_once(run: edge_sharpzo.Run, photos: Path) -> None:
    classifier = Classifier.load(run.folder)
    files = sorted((photos / "test").rglob("*.png"))
    features, readable = classifier.encode(files, lambda index, reason: None)
    assert readable.all()
    scores = classifier.score(features)
    assert scores.shape == (len(files), 3)
    assert scores.dtype == np.float32
    answers = classifier.predict(files)
    assert [answer.label for answer in answers] == [
        classifier.labels[row.argmax()] for row in scores
    ]
    wanted = json.loads(invoke("eval", run.folder, "--data", photos, "--json").stdout)
    assert classifier.evaluate(photos).accuracy == wanted["accuracy"]


def test_two_tune_and_classify_at_once_in_threads(
    run: edge_sharpzo.Run, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    """Each gives what it gives alone; the global generator and signal handlers are left alone."""
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    alone = tuned(tiny_onnx, photos, tmp_path / "alone", seed=1, method="cma-es")
    classifier = Classifier.load(run.folder)
    file = photos / "test" / "red_things" / "000.png"
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(tuned, tiny_onnx, photos, tmp_path / "first")
        second = pool.submit(tuned, tiny_onnx, photos, tmp_path / "second", seed=1, method="cma-es")
        answers = [pool.submit(classifier.predict, [file]) for _ in range(20)]
        labels = {answer.result()[0].label for answer in answers}
    assert same(first.result().folder, run.folder)
    assert same(second.result().folder, alone.folder)
    assert len(labels) == 1
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_one_of_two_is_cancelled_and_goes_on_to_the_same_end(
    run: edge_sharpzo.Run, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    stop, other_done = threading.Event(), threading.Event()

    def heed(event: Event) -> None:
        if isinstance(event, QueriesSpent) and event.used > 120:
            stop.set()

    def stopped() -> edge_sharpzo.Run:
        return tuned(tiny_onnx, photos, tmp_path / "a", on_progress=heed, cancelled=stop.is_set)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stopped)
        second = pool.submit(tuned, tiny_onnx, photos, tmp_path / "b")
        second.add_done_callback(lambda _: other_done.set())
    assert first.result().interrupted
    assert first.result().summary.queries.total < 300
    assert same(second.result().folder, run.folder)
    again = edge_sharpzo.tune(resume=first.result().folder)
    assert not again.interrupted
    assert same(again.folder, run.folder)


def test_cancelling_before_the_search_leaves_no_results(
    tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(Cancelled):
        tuned(tiny_onnx, photos, tmp_path / "run", cancelled=lambda: True)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_errors_name_the_field_and_no_flag(
    run: edge_sharpzo.Run, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"shots": -1}, "shots", "ask for at least one photo per class"),
        ({"shots": "many"}, "shots", "expected `int`, got `str`"),
        ({"shots": 2.5}, "shots", "expected `int`, got `float`"),
        ({"template": "a photo"}, "template", "the class name's place once"),
        ({"template": 3}, "template", "expected `str`, got `int`"),
        ({"preset": "fast"}, "preset", "choose one of default, paper"),
        ({"minutes": -1.0}, "minutes", "give a positive number"),
        ({"class_names": tmp_path / "none.txt"}, "class_names", "cannot read the class names"),
        ({"class_names": 3}, "class_names", "expected a path, got int"),
        ({"onnx": tmp_path / "none.onnx"}, "onnx", "or give another file"),
        ({"provider": "npu"}, "provider", "choose one of auto, cpu"),
        ({"max_memory": 0}, "max_memory", "give a number of MB"),
        ({"paper_task": "mnist", "preset": "paper"}, "paper_task", "eurosat"),
        ({"paper_task": "pets"}, "paper_task", "goes with `preset=paper`"),
        ({"minutes": float("inf")}, "minutes", "give a positive number"),
        ({"threads": 10**6}, "threads", "use 0 for all cores"),
        ({"context_tokens": 10**6}, "context_tokens", "no more than the model reads"),
        ({"onnx": "clip\0.onnx"}, "onnx", "a path cannot hold a null byte"),
        ({"on_progress": 3}, "on_progress", "expected a function, got int"),
        ({"cancelled": False}, "cancelled", "expected a function, got bool"),
        ({"context_tokens": 75}, "template", "or use `class_names`|tokens and the model reads"),
    ]
    for options, field, words in cases:
        given = {"onnx": tiny_onnx, "out": tmp_path / "run", "shots": 6, "budget": 50, **options}
        with pytest.raises(UserError, match=words) as raised:
            edge_sharpzo.tune(photos, **given)
        assert raised.value.field == field, options
        assert "--" not in str(raised.value), options
    with pytest.raises(TypeError, match=r"no option 'colour'\. It has: data, onnx, out, shots"):
        edge_sharpzo.tune(photos, colour="red")
    with pytest.raises(UserError, match="and not both"):
        edge_sharpzo.tune()
    with pytest.raises(UserError, match="leave `shots` out"):
        edge_sharpzo.tune(resume=run.folder, shots=6)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        ("none.jpg", "cannot read none.jpg: no such file"),
        (np.zeros((3, 20, 20), np.uint8), r"an array of uint8 \[3 x 20 x 20\]: expected uint8 RGB"),
        (np.zeros((20, 20, 3)), r"an array of float64 \[20 x 20 x 3\]: expected uint8 RGB"),
        (np.zeros((0, 20, 3), np.uint8), "expected uint8 RGB"),
    ],
)
def test_a_photo_of_another_kind_is_named(run: edge_sharpzo.Run, photo: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Classifier.load(run.folder).predict([photo])


def test_a_single_photo_and_odd_features_are_refused(run: edge_sharpzo.Run) -> None:
    classifier = Classifier.load(run.folder)
    with pytest.raises(UserError, match="put photos into a list, a single one too"):
        classifier.predict("photo.jpg")
    with pytest.raises(UserError, match=r"expected \[N, 24\], got \[2, 25\]"):
        classifier.score(np.zeros((2, 25)))
    assert classifier.predict([]) == []


def test_a_list_of_any_kind_is_taken_and_nothing_else(run: edge_sharpzo.Run, photos: Path) -> None:
    classifier, photo = Classifier.load(run.folder), next(photos.rglob("*.png"))
    assert classifier.predict(deque([photo])) == classifier.predict([photo])
    for other in (b"photo.jpg", {photo}, iter([photo])):
        with pytest.raises(UserError, match="takes a list of photos"):
            classifier.predict(other)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_options_too(
    run: edge_sharpzo.Run, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    given = {"shots": np.int64(6), "budget": np.int32(300), "seed": np.uint8(0)}
    assert same(tuned(tiny_onnx, photos, tmp_path / "run", **given).folder, run.folder)


def test_paths_hold_where_the_process_changes_folder(
    run: edge_sharpzo.Run,
    tiny_onnx: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (here / "imgs").symlink_to(photos)
    (here / "clip.onnx").symlink_to(tiny_onnx)
    monkeypatch.chdir(here)
    given = {"shots": 6, "budget": 300, "on_progress": lambda event: os.chdir(elsewhere)}
    done = edge_sharpzo.tune("imgs", onnx="clip.onnx", out="run", **given)
    assert done.folder == here / "run"
    assert same(done.folder, run.folder)
    assert Classifier.load(done.folder).labels
    assert list(elsewhere.iterdir()) == []


def test_help_lists_every_option() -> None:
    import inspect

    shown = inspect.signature(edge_sharpzo.tune).parameters
    assert {"data", "resume", "on_progress", "cancelled", "onnx", "shots", "budget"} <= set(shown)
    assert shown["shots"].default == 16


def test_the_package_is_typed_and_imports_nothing_heavy() -> None:
    script = "import sys, edge_sharpzo; assert 'numpy' not in sys.modules, 'numpy'"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert (Path(edge_sharpzo.__file__).parent / "py.typed").exists()
