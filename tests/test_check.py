"""`edge-sharpzo check`, and what `tune` tells of photos that hurt."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, invoke, run_tune, write_photos
from PIL import Image

import edge_sharpzo
from edge_sharpzo.system.errors import UserError

HUES = {"red_things": 0, "green_things": 90, "blue_things": 170}


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Three colours with a photo of another colour in two of them."""
    root = tmp_path / "wrong"
    for name, hue in HUES.items():
        write_photos(root / name, hue, 9, seed=3)
    write_photos(root / "red_things", HUES["blue_things"], 1, seed=4, start=50)
    write_photos(root / "green_things", HUES["red_things"], 1, seed=5, start=60)
    return root


MISPLACED = {
    "050.png": ("red_things", "blue_things"),
    "060.png": ("green_things", "red_things"),
}


def checked(data: Path, onnx: Path, *more: object) -> dict:
    result = invoke("check", "--data", data, "--onnx", onnx, "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def misplaced(found: list[dict]) -> dict:
    return {Path(each["photo"]).name: (each["label"], each["looks_like"]) for each in found}


def test_wrong_labels_are_named(wrong: Path, tiny_onnx: Path) -> None:
    found = checked(wrong, tiny_onnx)
    assert misplaced(found["suspects"]) == MISPLACED
    assert (found["photos"], found["classes"]) == (29, 3)
    assert all(0 < each["probability"] <= 1 for each in found["suspects"])
    told = invoke("check", "--data", wrong, "--onnx", tiny_onnx)
    assert told.exit_code == 0
    assert "2 photos look like another class" in told.stdout
    assert "050.png: in 'red_things', looks like 'blue_things'" in told.stdout


def test_photos_that_are_well_are_said_to_be(photos: Path, tiny_onnx: Path) -> None:
    found = checked(photos, tiny_onnx)
    assert found["suspects"] == []
    assert found["wants_photos"] is None
    assert found["left_out"] == []
    told = invoke("check", "--data", photos, "--onnx", tiny_onnx)
    assert told.exit_code == 0
    assert "no photo looks like another class" in told.stdout


def test_the_command_and_the_function_agree(wrong: Path, tiny_onnx: Path) -> None:
    events = []
    made = edge_sharpzo.check(wrong, onnx=tiny_onnx, template="{}", on_progress=events.append)
    told = checked(wrong, tiny_onnx, "--template", "{}")
    assert misplaced([vars(each) for each in made.found.suspects]) == misplaced(told["suspects"])
    assert made.photos == told["photos"]
    assert events
    with pytest.raises(TypeError, match="no option 'shots'"):
        edge_sharpzo.check(wrong, shots=3)
    with pytest.raises(UserError, match="template"):
        edge_sharpzo.check(wrong, onnx=tiny_onnx, template="no place")


def test_what_is_left_out_and_nearly_the_same_is_told(wrong: Path, tiny_onnx: Path) -> None:
    (wrong / "red_things" / "notes.txt").write_text("x")
    (wrong / "red_things" / "torn.jpg").write_bytes(b"\xff\xd8torn")
    shutil.copy(wrong / "red_things" / "000.png", wrong / "red_things" / "copy.png")
    scene = Image.fromarray(
        np.kron(np.random.default_rng(0).integers(0, 256, (4, 4, 3)), np.ones((20, 20, 1))).astype(
            np.uint8
        )
    )
    scene.save(wrong / "blue_things" / "a.png")
    scene.crop((1, 0, 80, 79)).save(wrong / "blue_things" / "b.png")
    found = checked(wrong, tiny_onnx)
    assert {group["reason"]: group["files"] for group in found["left_out"]} == {
        "of the kind .txt": 1,
        "that cannot be read": 1,
        "that are copies of others": 1,
    }
    (group,) = found["near_duplicates"]["examples"]
    assert sorted(Path(photo).name for photo in group["photos"]) == ["a.png", "b.png"]
    assert group["across"] is False
    told = invoke("check", "--data", wrong, "--onnx", tiny_onnx).stdout
    for words in ("notes.txt", "torn.jpg", "as ", "b.png", "(1 group)"):
        assert words in told


def test_names_of_classes_may_be_given(wrong: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red_things = ruby\n")
    assert checked(wrong, tiny_onnx, "--class-names", names)["classes"] == 3


def test_odd_but_usable_folders(wrong: Path, tiny_onnx: Path) -> None:
    (wrong / "yellow_things").mkdir()  # a class without photos
    write_photos(wrong / "pink_thing", 230, 1, seed=6)  # one of a single photo
    found = checked(wrong, tiny_onnx)
    assert found["classes"] == 5
    assert MISPLACED.items() <= misplaced(found["suspects"]).items()
    assert "pink_thing" not in {label for label, _ in misplaced(found["suspects"]).values()}


def test_tune_names_suspects_and_shows_them(wrong: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    result = run_tune(
        tiny_onnx, wrong, tmp_path / "run", "--shots", 12, "--budget", 40, "--seed", 0
    )
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    suspects = misplaced(summary["photo_check"]["suspects"])
    tuned_on = json.loads((tmp_path / "run" / "config.json").read_text())["tuned_on"]
    expected = {n: k for n, k in MISPLACED.items() if n in {Path(p).name for p in tuned_on}}
    assert suspects == expected
    assert expected
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    assert "Training photos that look like another class" in report
    for name in expected:
        assert f"{name}: in " in result.output
        assert f'<span class="soft">{name}</span>' in report
    assert report.count("data:image/jpeg;base64") >= len(expected)


@pytest.mark.parametrize("name", ["line\nbreak.png", "bell\x07.png", os.fsdecode(b"byte\xff.png")])
def test_odd_names_of_suspects_leave_the_run_readable(
    name: str, wrong: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    for old in ("050.png", "060.png"):
        (file,) = wrong.rglob(old)
        file.rename(file.with_name(f"{old[:2]}{name}"))
    (wrong / "red_things" / f"text{name}.txt").write_text("left out")
    result = run_tune(tiny_onnx, wrong, tmp_path / "run", "--shots", 12, "--budget", 40)
    assert result.exit_code == 0, result.output
    assert invoke("info", tmp_path / "run").exit_code == 0


BAD: dict[str, tuple[Callable[[Place], list[object]], str]] = {
    "no such folder": (lambda p: ["--data", p.tmp / "none"], "is not a folder"),
    "a file": (lambda p: ["--data", p.file("a.txt", "x")], "is not a folder"),
    "no data": (lambda p: [], "Missing option '--data'"),
    "an empty folder": (lambda p: ["--data", p.folder("none")], "no class folders with photos"),
    "one class": (lambda p: ["--data", one_class(p)], "only the class 'red_things'"),
    "photos that cannot be read": (lambda p: ["--data", torn(p)], "no photo of 'blue_things'"),
    "a template without a place": (
        lambda p: ["--data", p.photos, "--template", "a photo"],
        "--template",
    ),
    "a name too long": (lambda p: ["--data", long_name(p)], "shorten the class name"),
    "a file of names that is none": (
        lambda p: ["--data", p.photos, "--class-names", p.tmp / "none.txt"],
        "none.txt",
    ),
    "two names that are one": (
        lambda p: [
            "--data",
            p.photos,
            "--class-names",
            p.file("n.txt", "red_things = x\nblue_things = X\n"),
        ],
        "read the same to the model",
    ),
    "no model": (lambda p: ["--data", p.photos, "--onnx", p.tmp / "none.onnx"], "does not exist"),
    "no model's file": (
        lambda p: ["--data", p.photos, "--onnx", p.file("x.onnx", b"nothing")],
        "x.onnx",
    ),
    "too little memory": (lambda p: ["--data", p.photos, "--max-memory", 1], "--max-memory"),
    "an unknown provider": (lambda p: ["--data", p.photos, "--provider", "npu"], "choose one of"),
}


def one_class(place: Place) -> Path:
    data = place.copied_photos()
    for name in ("green_things", "blue_things"):
        shutil.rmtree(data / "train" / name)
    shutil.rmtree(data / "test")
    return data


def torn(place: Place) -> Path:
    data = place.copied_photos()
    for file in (data / "train" / "blue_things").iterdir():
        file.write_bytes(b"torn")
    return data


def long_name(place: Place) -> Path:
    data = place.copied_photos()
    for part in ("train", "test"):
        (data / part / "red_things").rename(data / part / " ".join("a" * 110))
    return data


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_with_its_cure(case: str, place: Place) -> None:
    make, words = BAD[case]
    given = make(place)
    onnx = [] if "--onnx" in given else ["--onnx", place.onnx]
    result = invoke("check", *given, *onnx)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_an_interrupt_ends_it(
    photos: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_sharpzo.checking.look_at", interrupt)
    result = invoke("check", "--data", photos, "--onnx", tiny_onnx)
    assert result.exit_code == 130
    assert "interrupted" in result.output


def test_nothing_is_written_among_the_photos(wrong: Path, tiny_onnx: Path) -> None:
    before = sorted(wrong.rglob("*"))
    for folder in (wrong, *wrong.iterdir()):
        folder.chmod(0o555)
    checked(wrong, tiny_onnx)
    for folder in (wrong, *wrong.iterdir()):
        folder.chmod(0o755)
    assert sorted(wrong.rglob("*")) == before
