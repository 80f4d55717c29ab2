"""Whatever lies in a folder of photos and is not used is counted, named, and told why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Place, invoke, run_tune, tune, write_photos

from edge_sharpzo.photos.found import POOL, TEST, VAL, Found, find_photos
from edge_sharpzo.photos.left_out import grouped, told
from edge_sharpzo.photos.scan import Scan
from edge_sharpzo.photos.to_measure import find_labelled
from edge_sharpzo.system.errors import UserError


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes, as far as names tell: nothing here is ever decoded."""
    root = tmp_path / "data"
    write(*(root / name / f"{i}.jpg" for name in ("cat", "dog") for i in range(4)))
    return root


def counted(found: Found) -> dict[str, int]:
    return {group.reason: group.files for group in grouped(found.left_out)}


def photos_of(found: Found, part: int = POOL) -> int:
    return int((found.parts == part).sum())


ODD_FILES = {
    "apple": (["cat/a.heic", "dog/b.HEIC"], {"of the kind .heic": 2}),
    "raw": (["cat/DSC.NEF", "dog/x.dng"], {"of the kind .nef": 1, "of the kind .dng": 1}),
    "no suffix": (["cat/IMG_0001"], {"without a suffix": 1}),
    "a film": (["dog/walk.mp4"], {"of the kind .mp4": 1}),
    "half a download": (["dog/x.jpg.crdownload"], {"of the kind .crdownload": 1}),
    "loose photos": (["a.jpg", "b.png"], {"outside the class folders": 2}),
    "a list": (["labels.csv"], {"of the kind .csv": 1}),
    "too deep": (["cat/a/b/c.jpg", "cat/a/b/d/e.jpg"], {"in folders that are too deep": 2}),
    "system": (["cat/Thumbs.db", "dog/.DS_Store"], {"that are hidden or the system's": 2}),
}


@pytest.mark.parametrize("case", ODD_FILES)
def test_every_file_is_a_photo_or_is_counted(case: str, data: Path) -> None:
    names, wanted = ODD_FILES[case]
    write(*(data / name for name in names))
    found = find_photos(data)
    assert photos_of(found) == 8
    assert counted(found) == wanted


@pytest.mark.parametrize(
    "suffix", [".jfif", ".JPE", ".jif", ".mpo", ".dib", ".TIFF", ".JPEG", ".webp", ".gif"]
)
def test_suffixes_of_photos(suffix: str, data: Path) -> None:
    write(data / "cat" / f"a{suffix}")
    found = find_photos(data)
    assert photos_of(found) == 9
    assert counted(found) == {}


def test_a_link_to_nothing_is_a_photo_that_cannot_be_read(data: Path) -> None:
    (data / "cat" / "gone.jpg").symlink_to(data / "nowhere.jpg")
    found = find_photos(data)
    assert counted(found) == {"that cannot be read": 1}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Train", "VAL", "Test"),
    ],
)
def test_splits_by_any_of_their_names(train: str, val: str, test: str, tmp_path: Path) -> None:
    for split, count in ((train, 4), (val, 2), (test, 3)):
        write(*(tmp_path / split / name / f"{i}.jpg" for name in "ab" for i in range(count)))
    found = find_photos(tmp_path)
    assert [photos_of(found, part) for part in (POOL, VAL, TEST)] == [8, 4, 6]
    assert counted(found) == {}


def test_folders_beside_the_splits_are_counted(tmp_path: Path) -> None:
    write(*(tmp_path / "train" / name / f"{i}.jpg" for name in "ab" for i in range(4)))
    write(*(tmp_path / "unlabelled" / f"{i}.jpg" for i in range(5)))
    write(tmp_path / "test" / "loose.jpg", tmp_path / "train" / "loose.jpg")
    write(*(tmp_path / "old" / "a" / f"{i}.jpg" for i in range(2)), tmp_path / "README.md")
    found = find_photos(tmp_path)
    assert photos_of(found) == 8
    assert counted(found) == {"outside the class folders": 9, "of the kind .md": 1}


@pytest.mark.parametrize("pair", [("val", "valid"), ("train", "Train"), ("test", "testing")])
def test_two_folders_of_one_split_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    for split in {"train", *pair}:
        write(*(tmp_path / split / name / f"{i}.jpg" for name in "ab" for i in range(2)))
    with pytest.raises(UserError, match=r"both hold the \w+ photos: put them together"):
        find_photos(tmp_path)


HIDDEN_FOLDERS = [
    ".git/objects/a.jpg",
    "cat/.thumbs/a.jpg",
    "cat/tabby/.thumbs/deep/a.jpg",
    "__MACOSX/cat/._a.jpg",
]


@pytest.mark.parametrize("name", HIDDEN_FOLDERS)
def test_what_hidden_folders_hold_is_counted(name: str, data: Path) -> None:
    write(data / "cat" / "tabby" / "0.jpg", data / name)
    found = find_photos(data)
    assert photos_of(found) == 9
    assert counted(found) == {"that are hidden or the system's": 1}


def test_links_are_followed_and_lead_round_no_circle(data: Path, tmp_path: Path) -> None:
    write(*(tmp_path / "elsewhere" / f"{i}.jpg" for i in range(3)))
    (data / "cow").symlink_to(tmp_path / "elsewhere")
    (data / "cat" / "again").symlink_to(data)
    found = find_photos(data)
    assert found.folders == ["cat", "cow", "dog"]
    assert [int((found.photos.labels == label).sum()) for label in range(3)] == [4, 3, 4]
    assert len(Scan().photos_under(data)) == 11


@pytest.mark.parametrize("inner", [["train", "test"], ["train"], ["photos"]])
def test_class_folders_that_lie_deeper_are_pointed_at(inner: list[str], tmp_path: Path) -> None:
    for part in inner:
        folder = tmp_path / "kaggle" / "dataset" / ("" if part == "photos" else part)
        write(*(folder / name / f"{i}.jpg" for name in ("cat", "dog") for i in range(3)))
    with pytest.raises(UserError, match=f"use `data={tmp_path / 'kaggle' / 'dataset'}`"):
        find_photos(tmp_path / "kaggle")


def test_one_level_of_subfolders_belongs_to_the_class(data: Path) -> None:
    write(*(data / "cat" / day / f"{i}.jpg" for day in ("mon", "tue") for i in range(3)))
    write(*(data / "cow" / day / f"{i}.jpg" for day in ("mon", "tue") for i in range(3)))
    found = find_photos(data)
    assert found.folders == ["cat", "cow", "dog"]
    assert [int((found.photos.labels == label).sum()) for label in range(3)] == [10, 6, 4]
    assert counted(found) == {}


LOST = {
    "of another kind": (["a.heic", "b.heic"], "2 of the kind .heic"),
    "too deep": (["a/b/c/d/e.jpg"], "1 in folders that are too deep"),
    "without suffixes": (["1", "2", "3"], "3 without a suffix"),
    "an archive": (["photos.zip"], "1 of the kind .zip"),
}


@pytest.mark.parametrize("case", LOST)
def test_a_class_that_loses_all_its_photos_is_an_error(case: str, data: Path) -> None:
    names, told_of = LOST[case]
    write(*(data / "cow" / name for name in names))
    with pytest.raises(UserError, match="holds no photos that can be used") as raised:
        find_photos(data)
    assert told_of in str(raised.value)
    assert str(data / "cow") in str(raised.value)


@pytest.mark.parametrize("names", [["notes.txt"], ["labels.csv"], ["a.json", "b.xml", ".DS_Store"]])
def test_a_folder_that_never_held_photos_is_told_and_is_no_class(
    names: list[str], data: Path
) -> None:
    (data / "annotations").mkdir()
    write(*(data / "annotations" / name for name in names))
    found = find_photos(data)
    assert found.folders == ["cat", "dog"]
    (note,) = found.notes
    holds, _, told = note.partition(": it holds ")
    assert holds == f"{data / 'annotations'} holds no photos and is no class"
    assert sorted(told.split(", ")) == sorted(names)


def test_a_class_called_like_a_split_is_told(data: Path) -> None:
    write(*(data / "Test" / f"{i}.jpg" for i in range(4)))
    found = find_photos(data)
    assert found.folders == ["Test", "cat", "dog"]
    assert found.notes == [f"{data / 'Test'} is taken for a class, for it holds no class folders"]


ALIKE = {
    "case": ("Red_Things", "red_things"),
    "a space": ("red things", "red_things"),
    "two forms of a letter": ("cafe\u0301", "caf\u00e9"),
    "full width": ("\uff43\uff41\uff54", "cat"),
    "sharp s": ("STRASSE", "straße"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_eval_takes_folders_for_classes_that_differ_in_form_alone(
    case: str, tmp_path: Path
) -> None:
    there, own = ALIKE[case]
    write(*(tmp_path / there / f"{i}.jpg" for i in range(3)), tmp_path / "blue" / "0.jpg")
    found = find_labelled(tmp_path, [own, "blue"], [own, "blue"])
    assert found.photos.labels.tolist() == [0, 0, 0, 1]
    assert found.notes == [f"{tmp_path / there} is taken for the class '{own}'"]


def test_folders_that_may_be_either_of_two_classes_are_neither(tmp_path: Path) -> None:
    write(tmp_path / "POLISH" / "0.jpg", tmp_path / "Polish" / "0.jpg")
    found = find_labelled(tmp_path, ["Polish", "polish"], ["people", "shine"])
    assert found.photos.labels.tolist() == [0]
    assert counted(found) == {"of folders that are no class of the run": 1}


def test_folders_of_no_class_are_counted_in_eval(tmp_path: Path) -> None:
    write(*(tmp_path / name / f"{i}.jpg" for name in ("cat", "cow", "dog") for i in range(3)))
    write(tmp_path / "loose.png")
    found = find_labelled(tmp_path, ["cat", "dog"], ["cat", "dog"])
    assert len(found.photos) == 6
    assert counted(found) == {
        "of folders that are no class of the run": 3,
        "outside the class folders": 1,
    }
    with pytest.raises(UserError, match="9 of folders that are no class of the run"):
        find_labelled(tmp_path, ["x"], ["x"])


def added(root: Path) -> None:
    """Files of every reason beside the photos."""
    write(root / "train" / "red_things" / "a.heic", root / "loose.jpg")
    write(root / "train" / "red_things" / "a" / "b" / "deep.jpg")
    write(root / "train" / "green_things" / "torn.jpg", root / "train" / ".hidden")
    shutil.copy(
        root / "train" / "blue_things" / "000.png", root / "test" / "blue_things" / "copy.png"
    )


REASONS = {
    "of the kind .heic": 1,
    "in folders that are too deep": 1,
    "that are hidden or the system's": 1,
    "outside the class folders": 1,
    "that cannot be read": 1,
    "that are copies of others": 1,
}


def test_tune_reports_them_all_in_three_places(place: Place) -> None:
    data = place.copied_photos()
    added(data)
    done = run_tune(place.onnx, data, place.tmp / "out", "--shots", 6, "--budget", 50)
    assert done.exit_code == 0, done.output
    summary = json.loads((place.tmp / "out" / "summary.json").read_text())
    groups = summary["data"]["left_out"]
    assert {group["reason"]: group["files"] for group in groups} == REASONS
    page = (place.tmp / "out" / "report.html").read_text().replace("&#39;", "'")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("files left out: "))
    for group in groups:
        assert f"{group['files']} {group['reason']}" in line
        assert group["reason"] in page
        assert group["examples"][0] in page
    assert "torn.jpg: not an image" in page


def test_eval_reports_them_too(place: Place) -> None:
    data = place.copied_photos()
    added(data)
    shutil.move(data / "test" / "red_things", data / "test" / "RED_things")
    shutil.copytree(data / "test" / "blue_things", data / "test" / "unknown")
    done = invoke("eval", place.run, "--data", data)
    assert done.exit_code == 0, done.output
    assert "is taken for the class 'red_things'" in done.stderr
    assert "7 of folders that are no class of the run" in done.stderr
    assert "1 that the run was tuned on" in done.stderr
    assert "on 18 photos" in done.stdout
    result = json.loads(invoke("eval", place.run, "--data", data, "--json").stdout)
    assert {group["reason"] for group in result["left_out"]} >= {
        "that the run was tuned on",
        "of folders that are no class of the run",
    }


def test_nothing_left_out_is_no_line(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    done = run_tune(tiny_onnx, photos, tmp_path / "run", "--shots", 6, "--budget", 50)
    assert "left out" not in done.stdout
    assert told([]) == ""


def uneven(root: Path) -> None:
    for number in range(1, 6):
        (root / "train" / "red_things" / f"00{number}.png").unlink()


def torn(root: Path) -> None:
    for number in range(1, 6):
        (root / "train" / "red_things" / f"00{number}.png").write_bytes(b"")


@pytest.mark.parametrize("make", [uneven, torn])
def test_a_class_with_one_photo_leaves_the_others_their_shots(
    make: Callable[[Path], None], tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    for name, hue in (("green_things", 90), ("blue_things", 170)):
        write_photos(data / "train" / name, hue, 4, seed=7, start=6)
    make(data)
    summary = tune(tiny_onnx, data, tmp_path / "run", "--budget", 60)
    assert (summary["data"]["train"], summary["data"]["val"]) == (13, 8)


def test_classes_that_an_accuracy_has_no_part_of_are_named(place: Place) -> None:
    data = place.copied_photos()
    shutil.rmtree(data / "test" / "green_things")
    done = run_tune(place.onnx, data, place.tmp / "out", "--shots", 6, "--budget", 50)
    note = "of 'green_things': the accuracy is that of the other classes"
    assert f"no held-out photos {note}" in " ".join(done.stderr.split())
    ended = invoke("eval", place.run, "--data", data)
    assert f"no photos {note}" in " ".join(ended.stderr.split())


def test_runs_among_the_photos_are_no_class(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tune --data .` puts its run into `./runs`."""
    shutil.copytree(place.photos / "train", place.tmp / "here")
    monkeypatch.chdir(place.tmp / "here")
    for _ in range(2):
        done = invoke(
            "tune", "--onnx", place.onnx, "--data", ".", "--shots", 6, "--budget", 50, "--json"
        )
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["data"]["classes"] == 3
    assert "runs holds no photos and is no class" in done.stderr


def test_new_photos_under_old_names_are_fresh(place: Place) -> None:
    data = place.copied_photos()
    tune(place.onnx, data, place.tmp / "run", "--budget", 50)
    for name, hue in (("red_things", 0), ("green_things", 90), ("blue_things", 170)):
        write_photos(data / "train" / name, hue, 3, seed=77)
    ended = invoke("eval", place.tmp / "run", "--data", data / "train", "--json")
    result = json.loads(ended.stdout)
    assert (result["photos"], result["tuned_on"]) == (9, 9)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_which_nothing_is_left_is_told(split: str, place: Place) -> None:
    data = place.copied_photos()
    shutil.rmtree(data / split, ignore_errors=True)
    shutil.copytree(data / "train", data / split)
    done = run_tune(place.onnx, data, place.tmp / "out", "--shots", 6, "--budget", 50)
    assert done.exit_code == 0, done.stderr
    assert f"no photo of the {split} folder can be used" in " ".join(done.stderr.split())


def test_links_out_of_the_folder_are_not_walked(data: Path, tmp_path: Path) -> None:
    shutil.move(data, tmp_path / "all" / "train")
    (tmp_path / "all" / "raw").symlink_to("/usr")
    found = find_photos(tmp_path / "all")
    assert [(file.path.name, file.detail) for file in found.left_out] == [("raw", "a link")]


def test_class_folders_that_look_like_splits_are_told(tmp_path: Path) -> None:
    for part in ("training_set", "test_set"):
        write(*(tmp_path / part / name / f"{i}.jpg" for name in ("cat", "dog") for i in range(3)))
    (note,) = find_photos(tmp_path).notes
    assert "have folders of the same names (cat, dog)" in note
    assert f"`data={tmp_path / 'test_set'}`" in note


def test_a_class_that_is_lost_in_reading_says_why(place: Place) -> None:
    data = place.copied_photos()
    shutil.rmtree(data / "train" / "red_things")
    shutil.copytree(data / "train" / "blue_things", data / "train" / "red_things")
    done = run_tune(place.onnx, data, place.tmp / "out", "--shots", 6, "--budget", 50)
    assert done.exit_code == 2
    assert "no photo of 'blue_things' can be used (files left out: 6 that lie in two" in done.stderr
