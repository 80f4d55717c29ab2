"""Classes without photos: they answer by their names beside those that were learnt from photos."""

import json
import os
import shutil
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers import Place, clouds, invoke, photo, run_tune, tune, write_photos
from safetensors.numpy import load_file

import edge_sharpzo
from edge_sharpzo import UserError
from edge_sharpzo.classifier.by_name import ByName, _even, known_by_name
from edge_sharpzo.classifier.fusion import fuse, loudness
from edge_sharpzo.classifier.heads import LinearHead, text_gda
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.clip.images import load_image
from edge_sharpzo.photos.draw import draw_shots
from edge_sharpzo.photos.found import TEST, find_photos
from edge_sharpzo.photos.labelled import Split, Splits
from edge_sharpzo.runs.records import Summary
from edge_sharpzo.runs.without_photos import WithoutPhotos

CENTRES = np.random.default_rng(7).standard_normal((4, 6))  # those of `clouds`
NAMES = np.random.default_rng(8).standard_normal((2, 6)).astype(np.float32)


def splits(shots: int, val: int = 4, classes: int = 4) -> Splits:
    def drawn(seed: int, each: int) -> Split:
        features, labels = clouds(seed, each)
        return Split(features[labels < classes], labels[labels < classes])

    return Splits(drawn(0, shots), drawn(1, val), drawn(2, 50), drawn(3, 0))


def text_of(classes: int) -> np.ndarray:
    text = CENTRES[:classes] + 1.0  # text lies apart from photos
    return (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("weight", "scale"), [(1.0, 1.0), (8.0, 30.0), (0.0, 100.0)])
def test_a_name_has_the_row_that_the_head_gives_a_class_without_photos(
    weight: float, scale: float
) -> None:
    photos, text = splits(6), text_of(4)
    known = known_by_name(weight, scale, text, text, text, photos)
    features, labels = photos.train
    whole = text_gda(features, labels, np.concatenate([text, NAMES]))
    of_photos = LinearHead("", whole.weight[:4], whole.bias[:4])
    loud = loudness(scale * features @ text.T, of_photos.logits(features))
    rows, bias = known.rows(NAMES)
    assert rows == pytest.approx(weight * loud * whole.weight[4:], rel=1e-4, abs=1e-4)
    told = weight * loud * whole.bias[4:] + known.readiness
    assert bias == pytest.approx(told, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("known", "named", "expected"),
    [
        ([2.0, 4.0], [-1.0, 1.0], 1.5),  # told apart: in the middle between them
        ([1.0, 2.0, 3.0, 4.0], [0.0, 1.5, 2.5, 9.0], 2.25),  # two of four on either side
        ([5.0], [7.0, 8.0], 6.0),  # the wrong way round: both sides lose all
    ],
)
def test_as_many_are_lost_on_either_side(
    known: list[float], named: list[float], expected: float
) -> None:
    assert _even(np.array(known), np.array(named)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("classes", "shots", "val"),
    [(2, 8, 4), (4, 1, 0)],  # one class is no text to lean on; one photo judges itself
)
def test_without_photos_enough_nothing_is_added(classes: int, shots: int, val: int) -> None:
    text = text_of(classes)
    photos = splits(shots, val, classes)
    assert known_by_name(8.0, 30.0, text, text, text, photos).readiness == 0


@pytest.mark.parametrize("away", [0.0, -40.0, 40.0])
def test_readiness_makes_up_for_what_the_prompt_has_against_names(away: float) -> None:
    """The prompt's logits of all classes in turn are lower, or higher, where they are by name."""
    text = text_of(4)
    tuned = text.copy()
    tuned += np.float32(away / 30) * splits(8).train.features.mean(axis=0)
    photos = splits(8)
    level = known_by_name(0.0, 30.0, text, text, text, photos).readiness
    shifted = known_by_name(0.0, 30.0, tuned, tuned, text, photos).readiness
    assert np.sign(round(shifted - level, 3)) == np.sign(away)


def test_a_prompt_that_leads_is_judged_by_photos_that_it_has_not_learnt_from() -> None:
    """It knows its training photos by heart: they say nothing of it, and the head little."""
    photos, text = splits(8), text_of(4)
    learnt = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)
    for weight, final in ((0.25, text), (0.25, learnt), (0.0, learnt)):
        known = known_by_name(weight, 30.0, text, final, text, photos)
        alone = known_by_name(weight, 30.0, text, text, text, photos)
        assert known.readiness == alone.readiness
    led = [known_by_name(8.0, 30.0, text, final, text, photos) for final in (text, learnt)]
    assert led[0].readiness != led[1].readiness


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 2, 3], (2, 0.5, 0.5, 1.0)),  # the second is taken for a name, the fourth for 0
        ([0, 1], (0, None, 0.5, 1.0)),
        ([2, 3], (2, 0.5, None, None)),
    ],
)
def test_photos_are_counted_among_all_and_among_the_learnt(
    labels: list[int], expected: tuple[object, ...]
) -> None:
    """Four photos, one of each class; the last two classes are names."""
    logits = np.array([[5, 1, 2, 0], [0, 3, 4, 1], [1, 0, 5, 2], [6, 0, 1, 2]], np.float32)
    counted = WithoutPhotos.measured(["c", "d"], logits[labels], np.array(labels))
    assert counted
    assert tuple(vars(counted).values())[1:] == expected
    assert WithoutPhotos.measured([], logits, np.arange(4)) is None


def prompt_of(photos: Splits, weight: float = 8.0) -> TunedPrompt:
    text = text_of(4)
    fusion = fuse("text-gda", 30.0, text, text, text, photos, mix=weight > 0)
    return TunedPrompt(
        np.zeros((2, 3), np.float32), text, [*"abcd"], [*"abcd"], "{}", 30.0, "0" * 64,
        fusion.added, fusion.calibration,
        by_name=known_by_name(fusion.weight, 30.0, text, text, text, photos),
    )  # fmt: skip


@pytest.mark.parametrize("weight", [8.0, 0.0])
def test_more_classes_change_nothing_of_the_others(weight: float, tmp_path: Path) -> None:
    photos = splits(8)
    before = prompt_of(photos, weight)
    after = before.with_names(["e", "f"], ["eel", "fig"], NAMES)
    features = photos.test.features
    assert np.array_equal(after.logits(features)[:, :4], before.logits(features))
    assert (after.folders[4:], after.names[4:]) == (["e", "f"], ["eel", "fig"])
    after.save(tmp_path)
    read = TunedPrompt.load(tmp_path)
    assert read.without_photos == ["e", "f"]
    assert np.array_equal(read.logits(features), after.logits(features))
    again = before.with_names(["e"], ["eel"], NAMES[:1]).with_names(["f"], ["fig"], NAMES[1:])
    assert np.array_equal(again.logits(features), after.logits(features))
    assert before.with_names([], [], NAMES[:0]) == before


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for hue, name in ((0, "red_things"), (90, "green_things")):
        write_photos(tmp_path / "flat" / name, hue, 12, seed=3)
    return tmp_path / "flat"


@pytest.mark.parametrize(
    "inside",
    [[], [".gitkeep"], ["Thumbs.db", ".DS_Store"], ["a/b/", ".keep"], [".x/", "c/Desktop.ini"]],
)
def test_an_empty_folder_is_a_class_without_photos_and_loudly_so(
    flat: Path, inside: list[str]
) -> None:
    (flat / "amber_things").mkdir()
    for name in inside:
        place = flat / "amber_things" / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.write_bytes(b"")
    found = find_photos(flat)
    assert found.folders == ["green_things", "red_things", "amber_things"]
    assert found.names[-1] == "amber things"
    assert (found.learnt, found.without_photos) == (2, 1)
    (note,) = found.notes
    assert "is taken for a class without photos" in note
    assert "delete the folder" in note
    drawn = draw_shots(found, np.ones(24, bool), 4, 0)
    assert len(drawn.train) == 8
    assert not any("fewer photos" in note for note in drawn.notes)
    assert any("no held-out photos of 'amber_things'" in note for note in drawn.notes)


@pytest.mark.parametrize(
    ("folder", "inside"),
    [
        ("val", []),
        ("Test", ["red_things/"]),
        ("training", []),
        ("other", ["notes.txt"]),
        ("cloud", [".IMG_1.jpg.icloud", ".IMG_2.jpg.icloud"]),
        ("thumbs", [".thumbs/x.jpg"]),
        ("mac", ["__MACOSX/._1.jpg"]),
        ("killed", [".lock"]),
        ("written", ["a/.config.json.x1.part"]),
    ],
)
def test_a_folder_that_is_no_class_stays_none(flat: Path, folder: str, inside: list[str]) -> None:
    for name in inside or ["/"]:
        place = flat / folder / name.strip("/")
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.write_bytes(b"")
    found = find_photos(flat)
    assert (found.folders, found.without_photos) == (["green_things", "red_things"], 0)
    files = [name for name in inside if not name.endswith("/")]
    holds = f": it holds {', '.join(files)}" if files else ""
    assert found.notes == [f"{flat / folder} holds no photos and is no class{holds}"]


@pytest.mark.parametrize(
    ("out", "empty"),
    [("out", "out"), ("results/a/b", "results/a"), ("x y/run", "x y/run"), (None, "runs")],
)
def test_where_runs_go_is_no_class(
    place: Place, monkeypatch: pytest.MonkeyPatch, out: str | None, empty: str
) -> None:
    data = place.photos / "train"
    data = Path(shutil.copytree(data, place.tmp / "data"))
    (data / empty).mkdir(parents=True)
    (data / "amber").mkdir()
    monkeypatch.chdir(data if out is None else place.tmp)
    options: dict[str, Any] = {"onnx": place.onnx, "shots": 6, "budget": 400}
    looks = 0

    def once(event: object) -> None:
        nonlocal looks
        looks += type(event).__name__ == "SolutionSeen"

    half = edge_sharpzo.tune(
        data,
        out=data / out if out else None,
        on_progress=once,
        cancelled=lambda: looks >= 2,
        **options,
    )
    assert half.interrupted
    assert half.folder.is_relative_to(data)
    rest = edge_sharpzo.tune(resume=half.folder)
    assert not rest.interrupted
    assert rest.summary.without_photos
    assert rest.summary.without_photos.classes == ["amber"]


@pytest.mark.parametrize(
    "content",
    [
        b"amber things\nteal\n",
        b"\xef\xbb\xbf# more\r\n\r\n  teal \r\namber things\r\n",
        b"  # none of these\nteal\namber things",
        b"#\n#\tx\nteal\xc2\xa0\namber things\nZinc\n",  # which has a folder
    ],
)
def test_names_are_read_from_a_file(flat: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "more.txt"
    file.write_bytes(content)
    (flat / "zinc").mkdir()
    found = find_photos(flat, None, file)
    assert found.folders[2:] == found.names[2:] == ["amber things", "teal", "zinc"]
    assert found.without_photos == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "(No such file or directory): give `more_classes` a text file with one class name"),
        (b"gr\xfcn\n", "it is no UTF-8 text"),
        (b"", "names no class: write one name on each line"),
        (b"\xef\xbb\xbf# bus\n\n", "names no class: write one name on each line"),
        (b"bus = tram\n", "line 1: expected one class name on the line, found 'bus = tram'"),
        (b"#\nbus, tram\n", "line 2: expected one class name on the line"),
        (b"bus\ttram\n", "line 1: expected one class name"),
        (b"imgs/bus\n", "line 1: expected one class name"),
        (b"b\x1b[2Jus\n", "found 'b\\x1b[2Jus'"),
        (b"bus\ntram\nbus\n", "line 3: 'bus' is there twice"),
        (b"bus_stop\nBus  stop\n", "line 2: 'Bus  stop' is there twice, as 'bus_stop'"),
        (b"bus\x0btram\n", r"found 'bus\x0btram'"),
        (b"bus\n\x1ctram", r"line 2: expected one class name on the line, found '\x1ctram'"),
        (b"bus\xe2\x80\xa8tram", r"found 'bus\u2028tram'"),
        (b"bus\xc2\x85\n", r"found 'bus\x85'"),
        (b"bus\rtram\r", r"found 'bus\rtram\r'"),
        (b"bus\n __\n", "line 2: expected one class name on the line, found '__'"),
        (b"".join(b"%d\n" % n for n in range(10_001)), "10,001 classes without photos, and at mo"),
        (b"bus\nred_things\n", "names 'red_things', and the folder 'red_things' has photos"),
        (b"Red Things\n", "names 'Red Things', and the folder 'red_things' has photos"),
    ],
)
def test_names_that_are_refused(
    flat: Path, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "more.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        find_photos(flat, None, file)
    assert told in str(raised.value)
    assert raised.value.field == "more_classes"


@pytest.mark.parametrize("option", ["class_names", "more_classes"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "nothing", "endless", "a gone pipe"])
def test_names_come_from_a_file(flat: Path, tmp_path: Path, kind: str, option: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    places = {"a pipe": tmp_path / "pipe", "a folder": tmp_path, "nothing": Path()}
    file = places.get(kind) or Path("/dev/zero" if kind == "endless" else "/dev/fd/9999")
    with pytest.raises(UserError) as raised:
        find_photos(flat, **{option: file})
    assert raised.value.field == option
    assert "cannot read the class names in" in str(raised.value)
    assert f"give `{option}` a text file with" in str(raised.value)
    assert "Errno" not in str(raised.value)


def test_names_that_begin_with_a_hash(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("# buses\n#1 bus\n#2_bus\n#\n")
    found = find_photos(flat, None, tmp_path / "more.txt")
    assert found.folders[2:] == ["#1 bus", "#2_bus"]
    assert found.names[2:] == ["#1 bus", "#2 bus"]


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["Red Things"], "holds photos of a class of that name: delete the empty folder"),
        (["GREEN_things"], "holds photos of a class of that name: delete the empty folder"),
        (["bus_stop", "bus stop"], "the empty folders 'bus stop' and 'bus_stop' in"),
    ],
)
def test_empty_folders_of_one_name_are_refused(flat: Path, folders: list[str], told: str) -> None:
    for folder in folders:
        (flat / folder).mkdir()
    with pytest.raises(UserError, match="delete") as raised:
        find_photos(flat)
    assert told in str(raised.value)


def test_ten_thousand_names_are_found_at_once(flat: Path, tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("".join(f"thing_{n}\n" for n in range(10_000)))
    began = time.process_time()
    found = find_photos(flat, None, file)
    assert time.process_time() - began < 5
    assert (found.without_photos, len(set(found.names))) == (10_000, 10_002)


def test_two_classes_have_to_have_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "data" / "red", 0, 3, seed=0)
    (tmp_path / "data" / "blue").mkdir()
    with pytest.raises(UserError, match="only the class 'red'"):
        find_photos(tmp_path / "data")


def test_their_test_photos_count_and_their_validation_photos_are_refused(flat: Path) -> None:
    (flat / "amber").mkdir()
    for name in ("amber", "red_things"):
        write_photos(flat / "test" / name, 30, 2, seed=4)
    found = find_photos(flat)
    assert found.photos.labels[found.parts == TEST].tolist() == [1, 1, 2, 2]
    write_photos(flat / "test" / "teal", 30, 2, seed=5)
    with pytest.raises(UserError, match=r"is no class of the training .* in `more_classes`"):
        find_photos(flat)
    with pytest.raises(UserError, match=r"training photos: move it away to go on$"):
        find_photos(flat, started={"amber": "amber"})
    shutil.rmtree(flat / "test")
    for name, told in (("Amber", "into train/Amber to learn"), ("teal", "add training photos")):
        write_photos(flat / "val" / name, 30, 2, seed=5)
        with pytest.raises(UserError) as raised:
            find_photos(flat)
        assert told in str(raised.value)
        assert "more_classes" not in str(raised.value)
        shutil.rmtree(flat / "val")


@pytest.fixture(scope="module")
def bare(
    tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Any]]:
    """A run with two classes without photos, one of which has test photos; its photos, summary."""
    place = tmp_path_factory.mktemp("bare")
    data = Path(shutil.copytree(photos, place / "data"))
    (data / "train" / "amber_things").mkdir()
    write_photos(data / "test" / "amber_things", 30, 5, seed=6)
    (place / "more.txt").write_text("teal\n")
    told = tune(
        tiny_onnx, data, place / "run", "--budget", 300, "--more-classes", place / "more.txt"
    )
    return place / "run", data, told


def test_a_run_with_such_classes(
    bare: tuple[Path, Path, dict[str, Any]], tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    run, data, told = bare
    labels = ["blue_things", "green_things", "red_things", "amber_things", "teal"]
    assert (run / "labels.txt").read_text().splitlines() == labels
    assert (told["data"]["classes"], told["data"]["train"], told["data"]["test"]) == (5, 15, 23)
    record = told["without_photos"]
    assert (record["classes"], record["test"]) == (labels[3:], 5)
    right = (18 * record["others_right"] + 5 * record["right"]) / 23
    assert told["accuracy"]["classifier"]["test"] == pytest.approx(right)
    assert record["others_alone"] >= record["others_right"]
    config = json.loads((run / "config.json").read_text())
    assert config["without_photos"] == labels[3:]
    page = (run / "report.html").read_text()
    assert "Without photos, answering by name: amber_things, teal." in page
    assert page.count('amber_things <span class="soft">(name only)</span>') >= 3
    assert 'red_things <span class="soft">(name only)' not in page
    summary = Summary.read(run)
    alone = summary.comparable.classifier
    assert (alone.test, alone.val) == (record["others_alone"], summary.accuracy.classifier.val)
    plain = tune(tiny_onnx, photos, tmp_path / "plain", "--budget", 300)
    # What learnt classes have among themselves is what they have where there are no names.
    assert record["others_alone"] == plain["accuracy"]["classifier"]["test"]
    assert Summary.read(tmp_path / "plain").comparable.classifier.test == record["others_alone"]
    for kind in ("zero_shot", "tuned", "head"):
        assert told["accuracy"][kind] == plain["accuracy"][kind], kind
    assert told["queries"] == plain["queries"]
    assert plain["without_photos"] is None
    with_bare, without = (
        load_file(folder / "prompt.safetensors") for folder in (run, tmp_path / "plain")
    )
    assert np.array_equal(with_bare["context"], without["context"])
    assert np.array_equal(with_bare["head_weight"][:3], without["head_weight"])
    measured = json.loads(invoke("eval", run, "--data", data, "--json").stdout)
    assert measured["accuracy"] == pytest.approx(right)
    assert measured["by_class"]["amber_things"] == pytest.approx(record["right"])
    assert measured["without_photos"] == record
    lines = invoke("eval", run, "--data", data).stdout.splitlines()
    assert lines[0].endswith("on 23 photos")
    assert lines[2].startswith("right among all 5 classes: of 5 photos of the classes without")
    marked = [line.split(maxsplit=2)[2] for line in lines[3:]]
    assert marked == [*labels[:3], "amber_things  (name only)"]


def test_the_lines_of_tune_tell_of_them(place: Place) -> None:
    data = place.copied_photos()
    (data / "train" / "amber").mkdir()
    done = run_tune(place.onnx, data, place.tmp / "run", "--shots", 6, "--budget", 50)
    assert done.exit_code == 0, done.output
    assert "amber is empty: 'amber' is taken for a class without photos" in done.stderr
    told = "\nwithout photos, answering by name: amber\nthe table is among the other classes, as if"
    assert told in done.stdout
    assert (
        "among all 4 classes: of 0 photos of the classes without photos -, of 18 of" in done.stdout
    )


def test_compare_tells_that_they_are_not_measured_alike(
    bare: tuple[Path, Path, dict[str, Any]], place: Place
) -> None:
    run, data, _ = bare
    write_photos(data / "train" / "teal_things", 210, 6, seed=9)
    tune(place.onnx, data, place.tmp / "run", "--budget", 50)  # five classes, one without photos
    shutil.rmtree(data / "train" / "teal_things")
    done = invoke("compare", run, place.tmp / "run", "--json")
    named = [row["classes without photos"] for row in json.loads(done.stdout)]
    assert named == [["amber_things", "teal"], ["amber_things"]]
    told = invoke("compare", run, place.tmp / "run").stdout
    assert "these runs differ in classes without photos" in told
    assert "classifier without their names, held-out" in told
    assert "differ in" not in invoke("compare", run, run).stdout
    plain = invoke("compare", place.run, place.run)
    assert "without their names" not in plain.stdout
    other = Path(shutil.copytree(run, place.tmp / "other"))
    summary = json.loads((other / "summary.json").read_text())
    summary["without_photos"]["classes"][1] = "navy"  # as many
    (other / "summary.json").write_text(json.dumps(summary))
    assert "differ in classes without photos" in invoke("compare", run, other).stdout


def test_compare_names_the_heads(place: Place) -> None:
    for head in ("ridge", "none"):
        assert invoke(*place.tune("--head", head, "--out", place.tmp / head)).exit_code == 0
    done = invoke("compare", place.run, place.tmp / "ridge", place.tmp / "none", "--json")
    heads = [row["head"] for row in json.loads(done.stdout)]
    assert heads == ["text-gda", "ridge", "text-gda (not mixed in)"]


@pytest.mark.parametrize(
    ("folders", "inside", "told"),
    [
        (["kiwi"], "", "no class of the run: 'kiwi'. Name such classes in --also, or"),
        (["b", "a", "c"], "", "no class of the run: 'a', 'b', 'c'. Name"),
        (["e", "d", "c", "b", "a"], "", "no class of the run: 'a', 'b', 'c' and 2 more. Name"),
        (["kiwi"], "inner", "no class of the run: 'kiwi'. Name"),
    ],
)
def test_folders_of_no_class_are_named(
    folders: list[str], inside: str, told: str, place: Place
) -> None:
    data = place.copied_photos()
    for folder in folders:
        write_photos(data / "test" / folder / inside, 30, 2, seed=6)
    flat = Path(shutil.copytree(data / "test", place.tmp / "flat"))
    for each in (data, flat):
        done = invoke("eval", place.run, "--data", each)
        assert done.exit_code == 0
        assert told in done.stderr
    assert "no class of the run" not in invoke("eval", place.run, "--data", place.photos).stderr


def test_the_file_says_what_predict_says(bare: tuple[Path, Path, dict[str, Any]]) -> None:
    run, data, _ = bare
    classifier = edge_sharpzo.Classifier.load(run)
    files = sorted((data / "test").rglob("*.png"))
    session = onnxruntime.InferenceSession(
        run / "classifier.onnx", providers=["CPUExecutionProvider"]
    )
    rows = [session.run(None, {"image": np.asarray(load_image(file))})[0] for file in files]
    probabilities = np.concatenate(rows)
    assert probabilities.shape == (23, 5)
    for row, answer in zip(probabilities, classifier.predict(files), strict=True):
        told = [answer.probabilities[label] for label in classifier.labels]
        assert row == pytest.approx(told, abs=0.01)


def test_also_names_the_same_classes_later(
    bare: tuple[Path, Path, dict[str, Any]], tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    run, data, _ = bare
    tune(tiny_onnx, photos, tmp_path / "plain", "--budget", 300)
    also = ["amber things", "teal"]
    later = edge_sharpzo.Classifier.load(tmp_path / "plain", also=also)
    sooner = edge_sharpzo.Classifier.load(run)
    assert later.labels == [*sooner.labels[:3], *also]
    features = np.random.default_rng(0).standard_normal((20, 24)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert later.score(features) == pytest.approx(sooner.score(features), abs=1e-6)
    flags = ["--also", "amber things , teal"]
    (told,) = json.loads(
        invoke("predict", tmp_path / "plain", photo_of(data), *flags, "--top", 9, "--json").stdout
    )
    assert {each["class"] for each in told["top"]} == {*later.labels}
    measured = json.loads(
        invoke("eval", tmp_path / "plain", "--data", data, *flags, "--json").stdout
    )
    assert measured["photos"] == 23
    assert "amber things" in measured["by_class"]


def photo_of(data: Path) -> Path:
    return data / "test" / "amber_things" / "000.png"


@pytest.mark.parametrize(
    ("also", "told"),
    [
        ("red_things", "cannot tell from the class 'red_things'"),
        ("teal,RED  things", "'RED  things', which the model cannot tell from the class 'red_th"),
        ("teal, Teal", "--also: 'Teal' is there twice, as 'teal': name it once"),
        ("blue things", "'blue things', which the model cannot tell from the class 'blue_th"),
        ("teal,__", "has the name '__'"),
        ("teal,,bus", "--also has an empty name: take it out, or write what is missing"),
        ("", "--also has an empty name"),
        ("teal, ", "--also has an empty name"),
        ("teal,bus, teal", "--also: 'teal' is there twice: name it once"),
        ("tram,tram", "--also: 'tram' is there twice"),
        ("red-hat, RED_hat,Red  HAT", "--also: 'Red  HAT' is there twice, as 'RED_hat'"),
        ("te\x1bal", "has the name 'te\\x1bal'"),
        ("word " * 90, "model reads 77: shorten that name in --also"),
        ("teal," + "bus-" * 90, "model reads 77: shorten that name in --also"),
    ],
)
def test_names_that_also_refuses(place: Place, also: str, told: str) -> None:
    done = invoke("predict", place.run, photo(place), "--also", also)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "rename its folder" not in done.stderr


def test_also_is_given_several_times(place: Place) -> None:
    flags = ["--also", "teal", "--also", "bus, old tram", "--also", "kiwi"]
    done = invoke("predict", place.run, photo(place), *flags, "--top", 9, "--json")
    (told,) = json.loads(done.stdout)
    assert {each["class"] for each in told["top"]} == {
        *("red_things", "green_things", "blue_things", "teal", "bus", "old tram", "kiwi")
    }
    done = invoke("predict", place.run, photo(place), "--also", "teal,bus", "--also", "bus")
    assert (done.exit_code, "--also: 'bus' is there twice" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["more.txt", "names", "gr\u00fcn.csv"])
def test_a_file_is_no_name(place: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place.file(name, "teal\nbus\n")
    place.folder("bus")  # a folder may well be called as a class is
    monkeypatch.chdir(place.tmp)
    for given in (name, str(place.tmp / name), f"teal, {name}"):
        done = invoke("predict", place.run, photo(place), "--also", given)
        assert done.exit_code == 2
        assert f"{name} is a file: give the names themselves" in done.stderr
        assert "--more-classes of `edge-sharpzo tune`" in done.stderr
    assert invoke("predict", place.run, photo(place), "--also", "bus,teal").exit_code == 0


@pytest.mark.parametrize("head", ["none", "gda", "prototypes", "ridge"])
def test_other_heads_refuse_them(place: Place, head: str) -> None:
    """Before the search where they are asked for there, and afterwards too."""
    names = place.file("more.txt", "teal\nbus\n")
    done = invoke(*place.tune("--head", head, "--more-classes", names))
    assert done.exit_code == 2
    assert f"--head {head} cannot answer for 'teal', a class without photos" in done.stderr
    assert "take --head text-gda" in done.stderr
    assert f"or take 'teal' out of {names}" in " ".join(done.stderr.split())
    assert not (place.tmp / "out" / "config.json").exists()
    assert invoke(*place.tune("--head", head)).exit_code == 0
    done = invoke("predict", place.tmp / "out", photo(place), "--also", "teal")
    assert done.exit_code == 2
    assert "tuned with another head than text-gda" in done.stderr


def test_classes_that_read_the_same_are_refused(place: Place) -> None:
    names = place.file("more.txt", "salt &amp pepper\nsalt & pepper\n")
    done = invoke(*place.tune("--more-classes", names))
    assert done.exit_code == 2
    told = " ".join(done.stderr.split())
    assert "read the same to the model" in told
    assert f"take 'salt &amp pepper' out of {names}, or give them names apart" in told


@pytest.mark.parametrize(
    "also",
    [
        "teal",
        "",
        b"teal",
        [1],
        [b"teal"],
        ["teal", None],
        0,
        5,
        False,
        {"teal"},
        frozenset(),
        {"teal": "bus"},
        {"teal": 1}.keys(),
        np.array(["teal", "bus"]),
        np.array([]),
        iter(["teal"]),
        (name for name in ["teal"]),
        map(str, ["teal"]),
        range(2),
        Path("teal"),
    ],
)
def test_also_takes_a_list(place: Place, also: Any) -> None:
    with pytest.raises(UserError, match="`also` takes a list of names") as raised:
        edge_sharpzo.Classifier.load(place.run, also=also)
    assert raised.value.field == "also"


@pytest.mark.parametrize("also", [None, [], (), ["teal"], ("teal", "bus"), deque(["bus"])])
def test_lists_that_also_takes(place: Place, also: Any) -> None:
    labels = edge_sharpzo.Classifier.load(place.run, also=also).labels
    assert labels == ["blue_things", "green_things", "red_things", *(also or ())]


@pytest.fixture(scope="module")
def half(
    tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path]:
    """The same run, interrupted and not; and their data. An empty folder and a file have names."""
    place = tmp_path_factory.mktemp("half")
    data = Path(shutil.copytree(photos, place / "data"))
    (data / "train" / "amber_things").mkdir()
    (place / "more.txt").write_text("teal\nbus_stop\n")
    options: dict[str, Any] = {"onnx": tiny_onnx, "shots": 6, "budget": 400}
    options["more_classes"] = place / "more.txt"
    looks = 0

    def once(event: object) -> None:
        nonlocal looks
        looks += type(event).__name__ == "SolutionSeen"

    whole = edge_sharpzo.tune(data, out=place / "whole", **options)
    cut = edge_sharpzo.tune(
        data, out=place / "half", on_progress=once, cancelled=lambda: looks >= 2, **options
    )
    assert cut.interrupted
    (place / "more.txt").unlink()
    return whole.folder, cut.folder, data


def moved(half: tuple[Path, Path, Path], tmp: Path) -> tuple[Path, Path]:
    """Copies of the interrupted run and of its data, where that looks for them."""
    run, data = tmp / "run", tmp / "data"
    shutil.copytree(half[1], run)
    shutil.copytree(half[2], data)
    config = json.loads((run / "config.json").read_text())
    config["options"]["data"] = str(data)
    (run / "config.json").write_text(json.dumps(config))
    return run, data


@pytest.mark.parametrize("since", ["the file is gone", "the folder is gone", "a new empty folder"])
def test_a_cancelled_run_goes_on_with_the_names_it_has(
    half: tuple[Path, Path, Path], tmp_path: Path, since: str
) -> None:
    run, data = moved(half, tmp_path)
    if since == "the folder is gone":
        (data / "train" / "amber_things").rmdir()
    if since == "a new empty folder":
        (data / "train" / "zinc").mkdir()
    notes: list[str] = []
    rest = edge_sharpzo.tune(resume=run, on_progress=lambda e: notes.append(getattr(e, "text", "")))
    assert not rest.interrupted
    labels = ["amber_things", "bus_stop", "teal"]
    assert (run / "labels.txt").read_text().splitlines()[3:] == labels
    assert TunedPrompt.load(run).names[3:] == ["amber things", "bus stop", "teal"]
    ends = [load_file(folder / "prompt.safetensors") for folder in (half[0], run)]
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])
    told = f"{data / 'train' / 'zinc'} is empty and no class: the run started without it"
    assert (told in notes) == (since == "a new empty folder")


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        (
            "train/amber_things",
            "'amber_things' was a class without photos when the run was started",
        ),
        ("train/Teal", "'teal' was a class without photos when the run was started"),
        ("train/bus stop", "'bus_stop' was a class without photos when the run was started"),
        ("train/zinc", "move the new folder 'zinc' away"),
        ("test/zinc", "training photos: move it away to go on"),
        (None, "put the photos of 'blue_things' back"),
    ],
)
def test_a_cancelled_run_refuses_other_photos(
    half: tuple[Path, Path, Path], tmp_path: Path, folder: str | None, told: str
) -> None:
    run, data = moved(half, tmp_path)
    if folder:
        write_photos(data / folder, 30, 3, seed=5)
    else:
        for part in ("train", "test"):
            shutil.rmtree(data / part / "blue_things", ignore_errors=True)
        (data / "train" / "blue_things").mkdir()
    done = invoke("tune", "--resume", run)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
    assert "--more-classes" not in done.stderr


def test_an_older_run_goes_on_without_empty_folders(
    half: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Its config knows of no such classes; as it was interrupted before its first checkpoint."""
    run, _ = moved(half, tmp_path)
    config = json.loads((run / "config.json").read_text())
    del config["without_photos"], config["options"]["more_classes"]
    config["folders"], config["names"] = config["folders"][:3], config["names"][:3]
    (run / "config.json").write_text(json.dumps(config))
    (run / "checkpoint.safetensors").unlink()
    done = invoke("tune", "--resume", run)
    assert done.exit_code == 0, done.stderr
    assert "is empty and no class: the run started without it" in " ".join(done.stderr.split())
    assert len((run / "labels.txt").read_text().splitlines()) == 3


def test_rows_of_huge_numbers_are_refused(place: Place) -> None:
    run = Path(shutil.copytree(place.run, place.tmp / "huge"))
    prompt = TunedPrompt.load(run)
    assert prompt.by_name
    huge = ByName(prompt.by_name.precision, prompt.by_name.offset, 1e200, 0.0)
    TunedPrompt(**{**vars(prompt), "by_name": huge}).save(run)
    done = invoke("predict", run, photo(place), "--also", "teal")
    assert done.exit_code == 2
    assert "is damaged" in done.stderr
