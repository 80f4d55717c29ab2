"""Folders of photos, split few-shot."""

import shutil
from pathlib import Path

import pytest
from helpers import write_photos

from edge_sharpzo.photos.class_names import read_class_names
from edge_sharpzo.photos.dataset import labelled_photos, load_dataset
from edge_sharpzo.system.errors import UserError


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for hue, name in ((0, "red_things"), (90, "green_things")):
        write_photos(tmp_path / "data" / name, hue, 12, seed=0)
    return tmp_path / "data"


def test_a_flat_folder_gives_shots_validation_and_the_rest_as_test(flat: Path) -> None:
    dataset = load_dataset(flat, shots=5, seed=0)
    assert dataset.names == ["green things", "red things"]
    assert [len(p) for p in (dataset.train, dataset.val, dataset.test)] == [10, 8, 6]
    paths = [*dataset.train.paths, *dataset.val.paths, *dataset.test.paths]
    assert len(set(paths)) == 24
    assert all(
        (p.parent.name == "red_things") == bool(label)
        for p, label in zip(dataset.train.paths, dataset.train.labels, strict=True)
    )


def test_the_draw_depends_on_the_seed_alone(flat: Path) -> None:
    first = load_dataset(flat, 5, 0).train.paths
    assert first == load_dataset(flat, 5, 0).train.paths
    assert first != load_dataset(flat, 5, 1).train.paths
    write_photos(flat / "blue_things", 170, 12, seed=0)
    assert [
        p for p in load_dataset(flat, 5, 0).train.paths if p.parent.name != "blue_things"
    ] == first


def test_own_val_and_test_folders_are_used_whole(flat: Path) -> None:
    for name in ("red_things", "green_things"):
        for split, count in (("val", 3), ("test", 2)):
            write_photos(flat / split / name, 0, count, seed=5)
    dataset = load_dataset(flat, 12, 0)
    assert [len(p) for p in (dataset.train, dataset.val, dataset.test)] == [24, 6, 4]
    assert dataset.notes == []


def test_a_class_without_photos_to_spare_validates_on_some_of_its_shots(flat: Path) -> None:
    dataset = load_dataset(flat, 12, 0)
    assert [len(p) for p in (dataset.train, dataset.val, dataset.test)] == [16, 8, 0]
    assert "validation takes some" in dataset.notes[0]
    assert dataset.borrowed.all()
    assert not load_dataset(flat, shots=5, seed=0).borrowed.any()


def test_one_photo_a_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_photos(tmp_path / name, 0, 1, seed=0)
    dataset = load_dataset(tmp_path, 1, 0)
    assert [len(p) for p in (dataset.train, dataset.val, dataset.test)] == [2, 0, 0]


def test_clutter_is_no_class_and_no_photo(flat: Path) -> None:
    (flat / "__MACOSX").mkdir()
    (flat / ".cache").mkdir()
    (flat / "empty").mkdir()
    (flat / "red_things" / "._000.png").write_bytes(b"x")
    (flat / "red_things" / "notes.txt").write_text("x")
    shutil.copy(flat / "red_things" / "000.png", flat / "__MACOSX" / "000.png")
    dataset = load_dataset(flat, 5, 0)
    assert dataset.folders == ["green_things", "red_things"]
    assert all(p.suffix == ".png" and not p.name.startswith(".") for p in dataset.test.paths)


def test_a_class_may_be_called_train(flat: Path) -> None:
    write_photos(flat / "train", 20, 12, seed=0)
    assert load_dataset(flat, 5, 0).folders == ["green_things", "red_things", "train"]


def test_display_names(flat: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("# names\nred_things = a red square\n\n")
    assert load_dataset(flat, 5, 0, file).names == ["green things", "a red square"]
    file.write_text("red_things\ta\nblue = b\n")
    with pytest.raises(UserError, match="'blue', which is no class folder"):
        load_dataset(flat, 5, 0, file)
    file.write_text("red_things\n")
    with pytest.raises(UserError, match="line 1: expected 'folder = name'"):
        read_class_names(file)


def test_labelled_photos_prefer_the_test_folder(flat: Path) -> None:
    assert len(labelled_photos(flat, ["green_things", "red_things"], ["green", "red"])) == 24
    write_photos(flat / "test" / "red_things", 0, 2, seed=5)
    photos = labelled_photos(flat, ["green_things", "red_things"], ["green", "red"])
    assert photos.labels.tolist() == [1, 1]


def test_bad_folders(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        load_dataset(tmp_path / "none", 1, 0)
    (tmp_path / "hollow").mkdir()
    with pytest.raises(UserError, match="no class folders with photos"):
        load_dataset(tmp_path / "hollow", 1, 0)
    write_photos(tmp_path / "single" / "a", 0, 2, seed=0)
    with pytest.raises(UserError, match="only the class 'a'"):
        load_dataset(tmp_path / "single", 1, 0)
    with pytest.raises(UserError, match=r"has 12 photos and `shots` asks for 13: .* `shots=12`"):
        load_dataset(flat, 13, 0)
    write_photos(flat / "test" / "purple", 0, 1, seed=0)
    with pytest.raises(UserError, match="purple is no class of the training photos"):
        load_dataset(flat, 5, 0)
    with pytest.raises(UserError, match="no photos of the run's classes"):
        labelled_photos(tmp_path / "hollow", ["a"], ["a"])


def test_other_folders_of_the_same_classes_are_mapped(flat: Path, tmp_path: Path) -> None:
    """By folder or by name; two folders may be one class; what the file leaves out is left out."""
    mapping = tmp_path / "map.txt"
    mapping.write_text("green_things = red\nred_things = red_things\n")
    photos = labelled_photos(flat, ["blue_things", "red_things"], ["blue", "red"], mapping)
    assert len(photos) == 24
    assert set(photos.labels.tolist()) == {1}
