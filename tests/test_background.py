"""Photos of none of the classes: where they lie, what they do, and what is wrong with them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import invoke, run_tune, tune, write_photos
from safetensors.numpy import load_file

from edge_sharpzo.photos.found import BACKGROUND, FOREIGN, NO_LABEL, find_photos
from edge_sharpzo.photos.to_measure import find_labelled

HUES = {"red": 0, "green": 90, "blue": 170}
OTHER = 45  # a colour of none of them


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three colours, eight photos each."""
    root = tmp_path / "data"
    for name, hue in HUES.items():
        write_photos(root / name, hue, 8, seed=1)
    return root


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The same with train/ and test/."""
    root = tmp_path / "parts"
    for name, hue in HUES.items():
        write_photos(root / "train" / name, hue, 6, seed=1)
        write_photos(root / "test" / name, hue, 6, seed=2)
    return root


def in_part(found: object, part: int) -> list[str]:
    pairs = zip(found.photos.paths, found.parts, found.photos.labels, strict=True)
    mine = [(path, label) for path, where, label in pairs if where == part]
    assert all(label == NO_LABEL for _, label in mine)
    return ["/".join(path.parts[-2:]) for path, _ in mine]


def test_it_lies_beside_the_classes_as_deep_as_it_likes(data: Path) -> None:
    write_photos(data / "_background", OTHER, 2, seed=3)
    write_photos(data / "_background" / "walls" / "dark", OTHER, 1, seed=4, start=7)
    found = find_photos(data)
    assert found.folders == ["blue", "green", "red"]
    assert in_part(found, BACKGROUND) == [
        "_background/000.png",
        "_background/001.png",
        "dark/007.png",
    ]
    assert not found.left_out


@pytest.mark.parametrize("place", [".", "train", "val"])
def test_it_lies_beside_the_parts_or_in_them(parts: Path, place: str) -> None:
    if place == "val":
        for name, hue in HUES.items():
            write_photos(parts / "val" / name, hue, 2, seed=9)
    write_photos(parts / place / "_Background", OTHER, 3, seed=3)
    write_photos(parts / "test" / "_background", OTHER, 2, seed=4)
    found = find_photos(parts)
    assert len(in_part(found, BACKGROUND)) == 3
    assert in_part(found, FOREIGN) == ["_background/000.png", "_background/001.png"]
    assert not found.left_out
    assert len(in_part(find_labelled(parts, ["blue", "green", "red"], []), FOREIGN)) == 2


def test_a_folder_that_is_given_is_no_class(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(data / "others", OTHER, 3, seed=3)
    write_photos(data / "_background", OTHER, 2, seed=4)
    assert find_photos(data).folders == ["blue", "green", "others", "red"]
    monkeypatch.chdir(data)
    found = find_photos(data, background=Path("others"))
    assert found.folders == ["blue", "green", "red"]
    assert len(in_part(found, BACKGROUND)) == 5
    again = find_photos(data, background=data / "_background")
    assert len(in_part(again, BACKGROUND)) == 2  # once


def test_the_search_does_not_know_of_it(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    tune(tiny_onnx, data, tmp_path / "without", "--budget", 60, "--shots", 6)
    write_photos(data / "_background", OTHER, 6, seed=3)
    summary = tune(tiny_onnx, data, tmp_path / "with", "--budget", 60, "--shots", 6)
    before, after = ((tmp_path / n / "history.jsonl").read_text() for n in ("without", "with"))
    assert before == after
    assert summary["known"]["background"] == 6
    assert 0 <= summary["known"]["background_refused"] <= 1
    config = json.loads((tmp_path / "with" / "config.json").read_text())
    assert len(config["background_sha256"]) == len(config["background_sketches"]) == 6
    told = invoke("compare", tmp_path / "without", tmp_path / "with")
    assert "background refused, left out" in told.stdout
    # What it was learnt from says nothing of what is refused.
    result = invoke("eval", tmp_path / "with", "--foreign", data / "_background")
    assert result.exit_code == 2
    assert "that the run was tuned on" in result.stderr


def test_it_makes_near_photos_strangers(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    """A colour between two of the classes is refused once photos of it are in the background."""
    write_photos(tmp_path / "near", 20, 12, seed=5)
    tune(tiny_onnx, data, tmp_path / "without", "--budget", 60)
    write_photos(data / "_background", 20, 12, seed=6)
    tune(tiny_onnx, data, tmp_path / "with", "--budget", 60)
    refused = [
        json.loads(invoke("eval", tmp_path / n, "--foreign", tmp_path / "near", "--json").stdout)
        for n in ("without", "with")
    ]
    assert refused[1]["foreign_refused"] >= refused[0]["foreign_refused"]
    assert refused[1]["foreign_refused"] >= 0.5


def test_copies_of_class_photos_are_no_background(
    data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    write_photos(data / "_background", OTHER, 4, seed=3)
    shutil.copy(data / "red" / "002.png", data / "_background" / "stray.png")
    shutil.copy(data / "_background" / "001.png", data / "_background" / "twice.png")
    summary = tune(tiny_onnx, data, tmp_path / "run", "--budget", 60)
    left_out = {group["reason"]: group for group in summary["data"]["left_out"]}
    of_classes = left_out["of none of the classes that are copies of class photos"]
    assert of_classes["files"] == 1
    assert "stray.png" in of_classes["examples"][0]
    assert "red/002.png" in of_classes["examples"][0]
    assert left_out["that are copies of others"]["files"] == 1
    assert summary["known"]["background"] == 4
    counts = summary["data"]
    assert counts["train"] + counts["val"] + counts["test"] == 24  # no class photo is lost


def _empty(root: Path) -> list[str]:
    (root / "_background").mkdir()
    return []


def _texts(root: Path) -> list[str]:
    (root / "_background").mkdir()
    (root / "_background" / "notes.txt").write_text("x")
    return []


def _broken(root: Path) -> list[str]:
    (root / "_background").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (root / "_background" / name).write_bytes(b"no photo")
    return []


def _one(root: Path) -> list[str]:
    write_photos(root / "_background", OTHER, 1, seed=3)
    return []


def _copies(root: Path) -> list[str]:
    (root / "_background").mkdir()
    for name in ("001.png", "002.png", "003.png"):
        shutil.copy(root / "red" / name, root / "_background")
    return []


def _a_file_of_that_name(root: Path) -> list[str]:
    (root / "_background").write_text("floor")
    return []


def _a_link_to_nowhere(root: Path) -> list[str]:
    (root / "_Background").symlink_to(root / "gone")
    return []


def _in_a_class(root: Path) -> list[str]:
    write_photos(root / "red" / "_background", OTHER, 3, seed=3)
    return []


def _missing(root: Path) -> list[str]:
    return ["--background", str(root.parent / "nowhere")]


def _a_file(root: Path) -> list[str]:
    return ["--background", str(root / "red" / "000.png")]


def _all(root: Path) -> list[str]:
    return ["--background", str(root)]


def _above(root: Path) -> list[str]:
    return ["--background", str(root.parent)]


def _named(root: Path) -> list[str]:
    write_photos(root / "_background", OTHER, 3, seed=3)
    names = root.parent / "names.txt"
    names.write_text("red = red thing\n_background = wall\n")
    return ["--class-names", str(names)]


def _more(root: Path) -> list[str]:
    names = root.parent / "more.txt"
    names.write_text("bus\n_background\n")
    return ["--more-classes", str(names)]


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (_empty, "_background holds no photos: put photos of none of the classes there"),
        (_texts, "holds no photos (files left out: 1 of the kind .txt)"),
        (_a_file_of_that_name, "_background is no folder: put photos of none of the classes"),
        (_a_link_to_nowhere, "_Background is no folder"),
        (_in_a_class, "lies in the folder of a class: move it beside the class folders"),
        (_missing, "nowhere is not a folder: give --background a folder"),
        (_a_file, "000.png is not a folder: give --background a folder"),
        (_all, "give --background a folder that holds photos of none of the classes"),
        (_above, "give --background a folder that holds photos of none of the classes"),
        (_named, "names '_background', which holds photos of none of the classes"),
        (_more, "names '_background', which is for photos of no class"),
        (lambda root: ["--keep-known", "1"], "give a share between 0.5 and 0.999"),
        (lambda root: ["--keep-known", "nan"], "give a share between 0.5 and 0.999"),
        (lambda root: ["--keep-known", "0.2"], "give a share between 0.5 and 0.999"),
    ],
)
def test_what_is_wrong_is_said(
    data: Path, tiny_onnx: Path, tmp_path: Path, make: Callable[[Path], list[str]], cause: str
) -> None:
    result = run_tune(tiny_onnx, data, tmp_path / "run", *make(data))
    assert result.exit_code == 2
    assert cause in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (_broken, "0 of the background photos can be used (files left out: 2 that cannot be read)"),
        (_one, "1 of the background photos can be used, and it takes 2"),
        (_copies, "3 of none of the classes that are copies of class photos"),
    ],
)
def test_too_few_are_told(
    data: Path, tiny_onnx: Path, tmp_path: Path, make: Callable[[Path], list[str]], cause: str
) -> None:
    """And nothing is learnt from them; it is an error only where they were given."""
    make(data)
    result = run_tune(tiny_onnx, data, tmp_path / "run", "--budget", 60, "--json")
    assert result.exit_code == 0, result.output
    assert cause in result.stderr
    assert "nothing is learnt from them" in result.stderr
    assert json.loads(result.stdout)["known"]["background"] == 0
    (data / "_background").rename(tmp_path / "others")
    given = ("--background", tmp_path / "others")
    result = run_tune(tiny_onnx, data, tmp_path / "again", "--budget", 60, *given)
    assert result.exit_code == 2
    assert cause in result.stderr
    assert "add more; 20 do much" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    write_photos(data / "_background", OTHER, 3, seed=3)
    (data / "_background").chmod(0)
    result = run_tune(tiny_onnx, data, tmp_path / "run")
    (data / "_background").chmod(0o755)
    assert result.exit_code == 2


def test_a_run_does_not_take_its_name_for_a_class(
    data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    tune(tiny_onnx, data, tmp_path / "run", "--budget", 60)
    result = invoke("predict", tmp_path / "run", data / "red", "--also", "_background")
    assert result.exit_code == 2
    assert "the folder of photos of no class" in result.stderr


def test_a_run_that_goes_on_has_its_background(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    """Interrupted before it looked at photos, and resumed: as if in one piece."""
    write_photos(tmp_path / "others", OTHER, 5, seed=3)
    options = ("--budget", 60, "--background", tmp_path / "others", "--keep-known", 0.8)
    whole = tune(tiny_onnx, data, tmp_path / "whole", *options)
    tune(tiny_onnx, data, tmp_path / "half", *options)
    for name in ("summary.json", "report.html", "prompt.safetensors", "history.jsonl"):
        (tmp_path / "half" / name).unlink()
    resumed = invoke("tune", "--resume", tmp_path / "half", "--json")
    assert resumed.exit_code == 0, resumed.output
    again = json.loads(resumed.stdout)
    assert again["known"] == whole["known"]
    assert again["known"]["keep"] == 0.8
    one, two = (load_file(tmp_path / n / "prompt.safetensors") for n in ("whole", "half"))
    assert one.keys() == two.keys() >= {"known_background", "known_normal"}
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_check_leaves_it_aside(data: Path, tiny_onnx: Path) -> None:
    write_photos(data / "_background", OTHER, 3, seed=3)
    found = json.loads(invoke("check", "--data", data, "--onnx", tiny_onnx, "--json").stdout)
    assert (found["photos"], found["classes"]) == (24, 3)


@pytest.mark.parametrize("change", ["gone", "fewer", "others", "more"])
def test_a_run_does_not_go_on_with_another_background(
    data: Path, tiny_onnx: Path, tmp_path: Path, change: str
) -> None:
    background, run = data / "_background", tmp_path / "run"
    write_photos(background, OTHER, 5, seed=3)
    tune(tiny_onnx, data, run, "--budget", 60)
    for name in ("summary.json", "report.html"):
        (run / name).unlink()
    if change in ("gone", "others"):
        shutil.rmtree(background)
    if change == "fewer":
        (background / "002.png").unlink()
    if change in ("others", "more"):
        write_photos(background, OTHER, 5, seed=4, start=50)
    before = (run / "config.json").read_bytes()
    result = invoke("tune", "--resume", run)
    assert result.exit_code == 2
    assert "the background photos are not those that the run was started with" in result.stderr
    assert (run / "config.json").read_bytes() == before


def test_folders_that_lie_in_each_other_count_once(data: Path) -> None:
    write_photos(data / "_background", OTHER, 2, seed=3)
    write_photos(data / "_background" / "in", OTHER, 3, seed=4, start=10)
    found = find_photos(data, background=data / "_background" / "in")
    assert len(in_part(found, BACKGROUND)) == 5


@pytest.mark.slow
def test_folders_as_deep_as_one_likes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = data / "_background"
    place.mkdir()
    monkeypatch.chdir(place)
    try:
        for _ in range(1200):
            os.mkdir("d")  # noqa: PTH102 - a path this long is none
            os.chdir("d")
        write_photos(Path(), OTHER, 2, seed=3)
        os.chdir(data)
        assert len(in_part(find_photos(data), BACKGROUND)) == 2
    finally:  # nothing else here deletes folders this deep
        os.chdir(data)
        subprocess.run(["rm", "-rf", place], check=True)


def test_folders_that_seem_to_be_of_classes_are_told(data: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "others" / "Red", OTHER, 3, seed=3)
    notes = find_photos(data, background=tmp_path / "others").notes
    assert any("holds folders that are called as classes ('Red')" in note for note in notes)
    write_photos(data / "background", OTHER, 3, seed=3)
    assert any("call it _background" in note for note in find_photos(data).notes)


@pytest.mark.parametrize("new", [0, 3])
def test_a_data_folder_is_measured_though_its_background_was_tuned_on(
    new: int, data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    write_photos(data / "_background", OTHER, 9, seed=3)
    run = tmp_path / "run"
    run_tune(tiny_onnx, data, run, "--shots", "4", "--budget", "200")
    for name, hue in HUES.items():
        write_photos(data / name, hue, 4, seed=7, start=50)
    if new:
        write_photos(data / "_background", OTHER + 90, new, seed=8, start=50)
    result = invoke("eval", run, "--data", data, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["photos"] >= 12
    assert told["foreign"] == new
    assert (told["foreign_refused"] is None) is (new == 0)
    asked = invoke("eval", run, "--foreign", data / "_background")
    assert (asked.exit_code == 2) is (new == 0)
    assert ("no photo of --foreign is left to count" in asked.output) is (new == 0)
