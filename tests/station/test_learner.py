"""The station's learner: its figures are those of the same features worked out by hand."""

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_photos
from stations import Station, picture, station

from edge_sharpzo.api import tune
from edge_sharpzo.classifier.suspects import judged
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.image_tower import ImageTower
from edge_sharpzo.station import eyes, learner
from edge_sharpzo.station.eyes import Eyes
from edge_sharpzo.station.look import Share, Tuned
from edge_sharpzo.tuning.loss import softmax

NAMES = ["blue_things", "green_things", "red_things"]


def few(root: Path, photos: Path) -> Path:
    """Six photos of each class, all learnt from."""
    return Path(shutil.copytree(photos / "train", root / "few"))


def parts(root: Path, photos: Path) -> Path:
    """Six photos of each class to learn from, six held out."""
    return Path(shutil.copytree(photos, root / "parts"))


@pytest.fixture(params=[few, parts])
def served(
    request: pytest.FixtureRequest, photos: Path, tiny_onnx: Path, tmp_path: Path
) -> Iterator[Station]:
    data = request.param(tmp_path, photos)
    with station(tiny_onnx, data, tmp_path / "run") as running:
        running.settled()
        yield running


def own_features(onnx: Path, folder: Path) -> tuple[np.ndarray, np.ndarray, list[Path]]:
    paths = [path for name in NAMES for path in sorted((folder / name).iterdir())]
    labels = np.array([NAMES.index(path.parent.name) for path in paths])
    return ClipOnnx(onnx, 1).encode_images(paths), labels, paths


def own_text(onnx: Path, template: str = "a photo of a {}.") -> np.ndarray:
    clip = ClipOnnx(onnx, 1)
    names = [name.replace("_", " ") for name in NAMES]
    return clip.written_features(clip.prompts.as_written(names, template))


def wilson(right: int, photos: int) -> float:
    """Half of Wilson's interval, from the two roots of (p - x)^2 = z^2 x (1 - x) / n."""
    z, p = 1.959964, right / photos
    a, b, c = 1 + z * z / photos, -(2 * p + z * z / photos), p * p
    return math.sqrt(b * b - 4 * a * c) / (2 * a)


@pytest.mark.parametrize(
    ("right", "photos"), [(0, 1), (1, 1), (0, 24), (12, 24), (24, 24), (23, 24), (900, 1000)]
)
def test_plus_minus_is_half_of_wilsons_interval(right: int, photos: int) -> None:
    assert Share(right, photos).plus_minus == pytest.approx(wilson(right, photos), abs=1e-9)


def test_figures_are_those_of_the_features(served: Station, tiny_onnx: Path) -> None:
    data, look = served.desk.data, served.get("/api/look").json()
    held_out = (data / "test").exists()
    features, labels, paths = own_features(tiny_onnx, data / "test" if held_out else data)
    text = own_text(tiny_onnx)
    assert look["how"] == ("held-out" if held_out else "judged-by-others")
    assert look["photos"] == len(labels) == 18
    before = int(((features @ text.T).argmax(axis=1) == labels).sum())
    if held_out:  # by the classifier, which has not seen them
        from edge_sharpzo.classify import Classifier

        prompt = served.desk.learner.look.prompt  # type: ignore[union-attr]
        answers = Classifier(served.desk.clip, prompt, Path()).answers(features)
        said = np.array([NAMES.index(each.label) for each in answers])
        top = np.array([each.probability for each in answers])
    else:  # each by the others
        probabilities = by_index(served, features, labels, paths, text)
        said, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    after = int((said == labels).sum())
    assert look["before"] == {
        "right": before,
        "photos": 18,
        "share": before / 18,
        "plus_minus": pytest.approx(wilson(before, 18)),
    }
    assert (look["after"]["right"], look["after"]["share"]) == (after, after / 18)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (labels, said), 1)
    assert look["confusion"] == confusion.tolist()
    assert [each["name"] for each in look["classes"]] == NAMES
    wrong = {
        each["name"]: each["misread_as"]
        for name in NAMES
        for each in served.get(f"/api/photos?class={name}").json()["photos"]
        if each["misread_as"]
    }
    assert len(look["misread"]) == 18 - after
    mine = {paths[i].name: NAMES[said[i]] for i in np.flatnonzero(said != labels)}
    assert set(wrong) == set(mine)
    told = sorted((each["class"], each["said"]) for each in look["misread"])
    assert told == sorted(
        (NAMES[labels[i]], NAMES[said[i]]) for i in np.flatnonzero(said != labels)
    )
    probabilities = [each["probability"] for each in look["misread"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities == pytest.approx(sorted(top[said != labels], reverse=True), abs=1e-4)


def by_index(
    served: Station, features: np.ndarray, labels: np.ndarray, paths: list[Path], text: np.ndarray
) -> np.ndarray:
    """What the others say, by a head fitted without each photo, one after the other."""
    judgement = judged(features, labels, text)
    look = served.desk.learner.look
    assert look is not None
    places = {path: i for i, path in enumerate(look.every.paths)}
    order = [places[path] for path in paths]
    assert np.allclose(look.judgement.probabilities[order], judgement.probabilities, atol=1e-5)
    return judgement.probabilities


def test_the_text_alone_is_the_template_as_written(served: Station, tiny_onnx: Path) -> None:
    served.post("/api/template", {"template": "the {} again"})
    served.settled()
    look = served.desk.learner.look
    assert look is not None
    text = own_text(tiny_onnx, "the {} again")
    assert np.allclose(look.text, text, atol=1e-6)
    scale = served.desk.clip.card.logit_scale
    said = softmax(scale * look.judged.features @ text.T).argmax(axis=1)
    assert look.before.right == int((said == look.judged.photos.labels).sum())


def test_a_wrong_label_is_found_and_its_mending_shows(
    photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    data = few(tmp_path, photos)
    for hue, name in ((0, "red_things"), (170, "blue_things")):
        write_photos(data / name, hue, 10, seed=5, start=100)
    (data / "red_things" / "103.png").rename(data / "blue_things" / "wrong.png")
    with station(tiny_onnx, data, tmp_path / "run") as served:
        served.settled()
        before = served.get("/api/look").json()
        listed = served.get("/api/photos?class=blue_things").json()["photos"]
        (wrong,) = [each["id"] for each in listed if each["name"] == "wrong.png"]
        assert [each["id"] for each in before["misread"] if each["id"] == wrong] == [wrong]
        began = time.monotonic()
        served.post("/api/photos/move", {"ids": [wrong], "to": {"class": "red_things"}})
        served.until(lambda state: state["look"]["state"] == "ready")
        seconds = time.monotonic() - began
        after = served.get("/api/look").json()
        assert after["version"] != before["version"]
        assert after["after"]["right"] > before["after"]["right"]
        assert after["confusion"][0][2] == before["confusion"][0][2] - 1
        assert seconds < 5  # a tenth of that on a machine that does nothing else
        served.post("/api/undo")
        served.until(lambda state: state["look"]["state"] == "ready")
        undone = served.get("/api/look").json()
        assert undone["confusion"] == before["confusion"]


def test_nothing_is_computed_twice(
    photos: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relabel encodes no photo, opens no tower and reads no file again."""
    import hashlib

    encoded, opened, read = list[Any](), list[Any](), list[Any]()
    each, session, digest = ImageTower.each, ClipOnnx.session, hashlib.file_digest
    with station(tiny_onnx, few(tmp_path, photos), tmp_path / "run") as served:
        served.settled()
        monkeypatch.setattr(
            ImageTower, "each", lambda self, what, *m: encoded.extend(what) or each(self, what, *m)
        )
        monkeypatch.setattr(
            ClipOnnx, "session", lambda self, *m: opened.append(m) or session(self, *m)
        )
        monkeypatch.setattr(hashlib, "file_digest", lambda *m: read.append(m) or digest(*m))
        photo = served.get("/api/photos?class=red_things").json()["photos"][0]["id"]
        served.post("/api/photos/move", {"ids": [photo], "to": {"class": "blue_things"}})
        served.until(lambda state: state["look"]["state"] == "ready")
        assert (encoded, opened, read) == ([], [], [])
        served.send("/api/photos?class=red_things", ("new.png", picture(3, 1)))
        served.until(lambda state: state["look"]["state"] == "ready")
        assert len(encoded) == 1
        served.post("/api/template", {"template": "another {}"})
        served.until(lambda state: state["look"]["state"] == "ready")
        assert len(encoded) == 1
        assert len(opened) > 1


def test_changes_by_hand_are_seen(
    photos: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "LOOK_EVERY", 0.1)
    data = few(tmp_path, photos)
    with station(tiny_onnx, data, tmp_path / "run") as served:
        before = served.settled()["look"]["version"]
        write_photos(data / "red_things", 0, 2, seed=6, start=50)
        served.until(lambda state: state["look"]["version"] not in (None, before))
        served.until(lambda state: state["look"]["state"] == "ready")
        assert served.get("/api/look").json()["photos"] == 20


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: shutil.rmtree(data / "red_things"), None),
        (lambda data: [shutil.rmtree(data / n) for n in NAMES[:2]], "only the class 'red things'"),
        (lambda data: [(data / n).rename(data / f"{n}.x") for n in NAMES], None),
        (lambda data: [p.write_bytes(b"x") for p in (data / "red_things").iterdir()], "no photo"),
    ],
)
def test_what_cannot_be_learnt_is_said_and_mended(
    spoil: Any, told: str | None, photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    data = few(tmp_path, photos)
    kept = shutil.copytree(data, tmp_path / "kept")
    with station(tiny_onnx, data, tmp_path / "run") as served:
        served.settled()
        spoil(data)
        state = served.settled()
        assert (state["look"]["state"], state["look"]["why"] is None) == (
            ("none", False) if told else ("ready", True)
        )
        assert told is None or told in state["look"]["why"]
        for name in NAMES:
            shutil.rmtree(data / name, ignore_errors=True)
            shutil.rmtree(data / f"{name}.x", ignore_errors=True)
            shutil.copytree(kept / name, data / name)
        assert served.settled()["look"]["state"] == "ready"


ADD = "add some on the page Photos"


@pytest.mark.parametrize(
    ("emptied", "removed", "why"),
    [
        ([1, 2], [], f"'green things', 'red things' have no photos to learn from: {ADD}"),
        ([2], [0], f"'red things' has no photos to learn from: {ADD}"),
        ([0], [2], f"'blue things' has no photos to learn from: {ADD}"),
        (
            [0, 1, 2],
            [],
            "two classes need photos to learn from: add them on the page Photos",
        ),
        (
            [],
            [0, 1, 2],
            "two classes need photos to learn from: add them on the page Photos",
        ),
        ([], [0, 1], "there is only the class 'red things': make another on the page Photos"),
    ],
)
def test_what_is_wanting_is_told_as_the_page_has_it(
    emptied: list[int], removed: list[int], why: str, served: Station
) -> None:
    data = served.desk.data
    teaches = data / "train" if (data / "train").exists() else data
    for number in removed:
        for folder in list(data.rglob(NAMES[number])):
            shutil.rmtree(folder)
    for number in emptied:
        for photo in (teaches / NAMES[number]).iterdir():
            photo.unlink()
    assert served.settled()["look"]["why"] == why
    tried = served.send("/api/try", ("a.png", picture(0)), field="photo")
    assert (tried.status_code, tried.json()["error"]["cause"]) == (409, why)


def test_one_background_photo_spoils_nothing(served: Station) -> None:
    photo, other = (
        each["id"] for each in served.get("/api/photos?class=red_things").json()["photos"][:2]
    )
    served.post("/api/photos/move", {"ids": [photo], "to": "background"})
    state = served.settled()
    assert state["look"]["state"] == "ready"
    assert any("it takes 2" in note for note in state["notes"])
    served.post("/api/photos/move", {"ids": [other], "to": "background"})
    state = served.settled()
    assert state["look"]["state"] == "ready"
    assert not any("it takes 2" in note for note in state["notes"])


def test_classes_without_photos_have_no_part_in_the_figures(served: Station) -> None:
    before = served.get("/api/look").json()
    served.post("/api/classes", {"name": "zebra"})
    assert served.settled()["look"]["state"] == "ready"
    look = served.get("/api/look").json()
    assert [each["name"] for each in look["classes"]] == [*NAMES, "zebra"]
    assert look["confusion"][3] == [0, 0, 0, 0]
    assert look["photos"] == before["photos"]
    assert look["wanting"][0] == "zebra"


def test_photos_aside_are_no_reason_to_look_again(served: Station) -> None:
    state, look = served.settled(), served.desk.learner.look
    assert look
    for number in range(3):
        place = served.desk.data / ".set-aside" / "unsure" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number * 50, number))
        now = served.settled()
        served.until(lambda state: state["look"]["version"] == state["version"])
        assert now["set_aside"] == number + 1
        assert now["version"] != state["version"]
    assert served.desk.learner.look.prompt is look.prompt  # type: ignore[union-attr]
    assert not any("set aside" in note for note in served.get("/api/look").json()["notes"])
    photo = served.get("/api/photos?class=red_things").json()["photos"][0]
    served.post("/api/photos/move", {"ids": [photo["id"]], "to": "set-aside"})
    served.settled()
    assert served.desk.learner.look.prompt is not look.prompt  # type: ignore[union-attr]


# The image tower's memory.


def test_the_tower_closes_when_nobody_uses_it(tiny_onnx: Path, photos: Path) -> None:
    paths = sorted((photos / "train" / "red_things").iterdir())
    shared = Eyes(ClipOnnx(tiny_onnx, 1), idle=0.3)
    with shared as tower:
        features = tower.encode_all(paths)
    assert shared.is_open
    assert np.array_equal(features, ClipOnnx(tiny_onnx, 1).encode_images(paths))
    ends = time.monotonic() + 10
    while shared.is_open and time.monotonic() < ends:
        time.sleep(0.02)
    assert not shared.is_open
    assert np.array_equal(shared.encode_all(paths[:1]), features[:1])  # and opens again
    shared.close()
    assert not shared.is_open
    assert eyes.IDLE == 30.0


def test_the_tower_tells_of_each_photo_by_its_place(tiny_onnx: Path, photos: Path) -> None:
    paths = sorted((photos / "train" / "red_things").iterdir())[:5]
    skipped, done = list[tuple[int, str]](), list[int]()
    shared = Eyes(ClipOnnx(tiny_onnx, 1))
    mixed = [paths[0], Path("/no/such"), paths[1], Path("/nowhere"), paths[2]]
    seen = list(shared.each(mixed, lambda i, why: skipped.append((i, why)), done.append))
    assert [each.place for each in seen] == [0, 2, 4]
    assert skipped == [(1, "no such file"), (3, "no such file")]
    assert done == [1, 2, 3, 4, 5]
    shared.close()


@pytest.mark.parametrize(
    ("counts", "options", "how", "taught", "judging", "apart"),
    [
        ((30, 40), {}, "held-out", 56, 14, [6, 8]),
        ((30, 40), {"shots": 4}, "held-out", 16, 54, [22, 32]),
        ((10, 40), {}, "judged-by-others", 42, 50, [0, 8]),
        ((8, 9), {"shots": 16}, "judged-by-others", 17, 17, [0, 0]),
    ],
)
def test_all_photos_teach_but_a_fifth(
    counts: tuple[int, int],
    options: dict[str, int],
    how: str,
    taught: int,
    judging: int,
    apart: list[int],
    tiny_onnx: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    for name, hue, count in zip("ab", (0, 90), counts, strict=True):
        write_photos(data / name, hue, count, seed=3)
    with station(tiny_onnx, data, tmp_path / "run", **options) as running:
        state = running.settled()
        look = running.get("/api/look").json()
    told = [look[name] for name in ("how", "taught", "photos", "shots")]
    assert told == [how, taught, judging, options.get("shots", 0)]
    assert [each["held_out"] for each in state["classes"]] == apart


@pytest.mark.parametrize(("given", "shots"), [({}, 3), ({"shots": 0}, 0), ({"shots": 16}, 16)])
def test_shots_that_are_not_given_are_the_runs(
    given: dict[str, int], shots: int, photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    data, run = few(tmp_path, photos), tmp_path / "run"
    tune(data, onnx=tiny_onnx, out=run, shots=3, budget=40, threads=1)
    with station(tiny_onnx, data, run, **given) as running:
        running.settled()
        assert running.get("/api/look").json()["shots"] == shots


@pytest.mark.parametrize(("counts", "noted"), [((10, 40), False), ((30, 40), False)])
def test_photos_that_judge_each_other_are_of_every_class(
    counts: tuple[int, int], noted: bool, tiny_onnx: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for name, hue, count in zip("ab", (0, 90), counts, strict=True):
        write_photos(data / name, hue, count, seed=3)
    with station(tiny_onnx, data, tmp_path / "run") as running:
        running.settled()
        notes = " ".join(running.get("/api/look").json()["notes"])
    assert ("no held-out photos" in notes) is noted


@pytest.mark.parametrize(("seen", "named"), [(3, False), (4, True), (6, True)])
def test_a_run_that_has_learnt_from_those_that_judge_is_not_judged(
    seen: int, named: bool, photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    with station(tiny_onnx, parts(tmp_path, photos), tmp_path / "run") as served:
        served.settled()
        look = served.desk.learner.look
        assert look
        judging = look.judged.photos
        red = np.flatnonzero(judging.labels == look.folders.index("red_things"))
        told = look.tuned(look.prompt, frozenset(judging.files[i].digest.hex() for i in red[:seen]))
    if named:
        assert "of the photos of 'red things' that judge now: learn again" in str(told)
    else:
        assert isinstance(told, Tuned)
        assert told.classifier.photos == 18 - seen


def test_a_step_that_is_undone_while_it_learns_leaves_no_look_of_a_part(
    photos: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, meanwhile = learner.find_photos, []

    def found(*given: Any, **more: Any) -> Any:
        if not meanwhile:
            return find(*given, **more)
        desk = meanwhile.pop()
        desk.album.move_aside([desk.album.classes()[0].photos[0].id])
        try:
            return find(*given, **more)
        finally:
            desk.album.undo()
            desk.changed()

    monkeypatch.setattr(learner, "find_photos", found)
    with station(tiny_onnx, few(tmp_path, photos), tmp_path / "run") as served:
        served.settled()
        for number in range(2):
            meanwhile.append(served.desk)
            served.send("/api/photos?class=red_things", ("a.png", picture(3, number)))
            state = served.settled()
            look = served.get("/api/look").json()
            assert look["taught"] == sum(each["photos"] for each in state["classes"])
            assert not meanwhile


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), ValueError()])
def test_what_may_pass_is_tried_again(
    error: Exception,
    photos: Path,
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learner, "AGAIN", 0.2)
    inner, left = learner.prepare, [error, error]

    def prepare(*given: Any) -> Any:
        if left:
            raise left.pop()
        return inner(*given)

    monkeypatch.setattr(learner, "prepare", prepare)
    with station(tiny_onnx, few(tmp_path, photos), tmp_path / "run") as served:
        seen = served.until(lambda state: state["look"]["state"] != "working")["look"]
        assert (seen["state"], bool(seen["why"])) == ("none", True)
        served.until(lambda state: state["look"]["state"] == "ready")
