"""Folders of photos, split few-shot."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import write_photos

from edge_sharpzo.photos.class_names import read_class_names, spelt_again
from edge_sharpzo.photos.draw import Draw, draw_shots
from edge_sharpzo.photos.found import Found, Photos, find_photos
from edge_sharpzo.photos.left_out import grouped
from edge_sharpzo.photos.to_measure import find_labelled
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import folded


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for hue, name in ((0, "red_things"), (90, "green_things")):
        write_photos(tmp_path / "data" / name, hue, 12, seed=0)
    return tmp_path / "data"


def drawn(root: Path, shots: int, seed: int = 0) -> tuple[Found, Draw]:
    """As if every photo could be read and none were a copy."""
    found = find_photos(root)
    return found, draw_shots(found, np.ones(len(found.photos), bool), shots, seed)


def sizes(root: Path, shots: int) -> list[int]:
    draw = drawn(root, shots)[1]
    return [len(draw.train), len(draw.val), len(draw.test)]


def train_paths(root: Path, shots: int, seed: int) -> list[Path]:
    found, draw = drawn(root, shots, seed)
    return [found.photos.paths[i] for i in draw.train]


def test_a_flat_folder_gives_shots_validation_and_the_rest_as_test(flat: Path) -> None:
    found, draw = drawn(flat, 5)
    assert found.names == ["green things", "red things"]
    assert sizes(flat, 5) == [10, 8, 6]
    assert sorted([*draw.train, *draw.val, *draw.test]) == list(range(24))
    assert all(
        (found.photos.paths[i].parent.name == "red_things") == bool(found.photos.labels[i])
        for i in draw.train
    )


def test_the_draw_depends_on_the_seed_alone(flat: Path) -> None:
    first = train_paths(flat, 5, 0)
    assert first == train_paths(flat, 5, 0)
    assert first != train_paths(flat, 5, 1)
    write_photos(flat / "blue_things", 170, 12, seed=0)
    assert [p for p in train_paths(flat, 5, 0) if p.parent.name != "blue_things"] == first


def test_own_val_and_test_folders_are_used_whole(flat: Path) -> None:
    for name in ("red_things", "green_things"):
        for split, count in (("val", 3), ("test", 2)):
            write_photos(flat / split / name, 0, count, seed=5)
    assert sizes(flat, 12) == [24, 6, 4]
    assert drawn(flat, 12)[1].notes == []


def test_a_class_without_photos_to_spare_validates_on_some_of_its_shots(flat: Path) -> None:
    draw = drawn(flat, 12)[1]
    assert sizes(flat, 12) == [18, 6, 0]
    assert "validation takes some" in draw.notes[0]
    assert draw.borrowed.all()
    assert not drawn(flat, 5)[1].borrowed.any()


@pytest.mark.parametrize(
    ("photos", "train", "val", "test"),
    [(1, 1, 0, 0), (3, 3, 0, 0), (4, 3, 1, 0), (5, 4, 1, 0), (9, 7, 2, 0), (11, 9, 2, 0)],
)
def test_a_small_class_takes_what_it_has_and_lowers_no_other(
    photos: int, train: int, val: int, test: int, flat: Path
) -> None:
    """The others draw as if it were not there."""
    before = train_paths(flat, 12, 0)
    write_photos(flat / "few", 20, photos, seed=0)
    found, draw = drawn(flat, 12)
    few = found.folders.index("few")
    counts = [
        int((found.photos.labels[part] == few).sum()) for part in (draw.train, draw.val, draw.test)
    ]
    assert counts == [train, val, test]
    assert f"fewer photos than 12 shots: 'few' has {photos};" in draw.notes[0]
    assert [p for p in train_paths(flat, 12, 0) if p.parent.name != "few"] == before


@pytest.mark.parametrize(
    ("small", "told"),
    [
        (3, "has 2; such"),
        (4, "has 2 and 1 more class; such"),
        (6, "has 2 and 3 more classes; such"),
    ],
)
def test_classes_that_are_not_named_are_counted_as_classes(
    small: int, told: str, tmp_path: Path
) -> None:
    for k in range(small):
        write_photos(tmp_path / f"c{k}", 20 * k, 2, seed=k)
    notes = drawn(tmp_path, 16)[1].notes
    assert told in notes[0]
    assert not any("may make things worse" in note for note in notes)


@pytest.mark.parametrize(("photos", "shots"), [(1, 16), (1, 1), (5, 1)])
def test_one_photo_to_learn_from_is_warned_of(photos: int, shots: int, tmp_path: Path) -> None:
    for k in range(3):
        write_photos(tmp_path / f"c{k}", 20 * k, photos, seed=k)
    notes = drawn(tmp_path, shots)[1].notes
    assert sum("one photo per class to learn from may make things worse" in n for n in notes) == 1


def test_photos_that_are_not_usable_are_no_shots(flat: Path) -> None:
    found = find_photos(flat)
    usable = np.ones(24, bool)
    usable[:7] = False
    draw = draw_shots(found, usable, 4, 0)
    assert [len(draw.train), len(draw.val), len(draw.test)] == [8, 5, 4]
    assert min(*draw.train, *draw.val, *draw.test) == 7


def test_one_photo_a_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_photos(tmp_path / name, 0, 1, seed=0)
    assert sizes(tmp_path, 1) == [2, 0, 0]


def test_clutter_is_no_class_and_no_photo(flat: Path) -> None:
    (flat / "__MACOSX").mkdir()
    (flat / ".cache").mkdir()
    (flat / "val" / "inner").mkdir(parents=True)
    (flat / "red_things" / "._000.png").write_bytes(b"x")
    (flat / "red_things" / "notes.txt").write_text("x")
    shutil.copy(flat / "red_things" / "000.png", flat / "__MACOSX" / "000.png")
    found = find_photos(flat)
    assert found.folders == ["green_things", "red_things"]
    assert all(p.suffix == ".png" and not p.name.startswith(".") for p in found.photos.paths)
    assert sorted((file.path.name, file.reason) for file in found.left_out) == [
        ("._000.png", "that are hidden or the system's"),
        ("000.png", "that are hidden or the system's"),
        ("notes.txt", "of the kind .txt"),
    ]
    assert found.notes == [f"{flat / 'val'} holds no photos and is no class"]


def test_a_class_may_be_called_train(flat: Path) -> None:
    write_photos(flat / "train", 20, 12, seed=0)
    assert find_photos(flat).folders == ["green_things", "red_things", "train"]


def test_display_names(flat: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("# names\nred_things = a red square\n\n")
    assert find_photos(flat, file).names == ["green things", "a red square"]
    file.write_text("red_things\ta\nblue = b\n")
    with pytest.raises(UserError, match="'blue', which is no class folder"):
        find_photos(flat, file)
    file.write_text("red_things\n")
    with pytest.raises(UserError, match="line 1: expected 'folder = name'"):
        read_class_names(file)


def labelled(root: Path, mapping: Path | None = None) -> Photos:
    return find_labelled(root, ["green_things", "red_things"], ["green", "red"], mapping).photos


def test_labelled_photos_prefer_the_test_folder(flat: Path) -> None:
    assert len(labelled(flat)) == 24
    write_photos(flat / "test" / "red_things", 0, 2, seed=5)
    assert labelled(flat).labels.tolist() == [1, 1]
    (group,) = grouped(find_labelled(flat, ["green_things", "red_things"], ["", ""]).left_out)
    assert (group.files, group.reason) == (24, "outside the class folders")


def test_bad_folders(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        find_photos(tmp_path / "none")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(UserError, match="no class folders with photos"):
        find_photos(tmp_path / "hollow")
    write_photos(tmp_path / "single" / "a", 0, 2, seed=0)
    with pytest.raises(UserError, match="only the class 'a'"):
        find_photos(tmp_path / "single")
    write_photos(flat / "test" / "purple", 0, 1, seed=0)
    with pytest.raises(UserError, match="purple is no class of the training photos"):
        find_photos(flat)
    with pytest.raises(UserError, match="no photos of the run's classes"):
        labelled(tmp_path / "hollow")


def test_other_folders_of_the_same_classes_are_mapped(flat: Path, tmp_path: Path) -> None:
    """By folder or by name; two folders may be one class; others keep their own names."""
    write_photos(flat / "rouge", 0, 3, seed=0)
    mapping = tmp_path / "map.txt"
    mapping.write_text("green_things = red\nrouge = red_things\n")
    photos = labelled(flat, mapping)
    assert len(photos) == 27
    assert set(photos.labels.tolist()) == {1}
    mapping.write_text("purple = red\n")
    with pytest.raises(UserError, match="has no such folder"):
        labelled(flat, mapping)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("red_things = a\n#green_things = b\n", "names '#green_things', which is no class folder"),
        ("red_things = green things\n", "both called 'green things' ('green_things' and 'red_thi"),
        ("red_things = r\x0b\n", r"expected 'folder = name', found 'red_things = r\x0b'"),
        ("red_things = r\x85green_things = g", r"line 1: expected 'folder = name', found"),
        ("#\n# x = y\n#\tx = y\nred_things : x\u2028y", "line 4: expected 'folder = name'"),
    ],
)
def test_lines_of_names(flat: Path, tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "names.txt").write_bytes(content.encode())
    with pytest.raises(UserError) as raised:
        find_photos(flat, tmp_path / "names.txt")
    assert expected in str(raised.value)
    assert raised.value.field == "class_names"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("amber_things", "Amber  Things"),
        ("ﬁg", "FIG"),
        ("bus", " bus_"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert spelt_again([one], [other]) == (other, one)
    assert spelt_again([], ["x", one, "y", other]) == (other, one)
    assert spelt_again([one, other], ["x"]) is None


@pytest.mark.parametrize(("one", "other"), [("#1 bus", "1 bus"), ("a-b", "a b"), ("ab", "a b")])
def test_names_that_are_two(one: str, other: str) -> None:
    assert spelt_again([one], [other]) is None


@pytest.mark.parametrize(
    ("photos", "train", "val", "test"),
    [(1, 1, 0, 0), (8, 6, 2, 0), (14, 11, 3, 0), (15, 9, 3, 3), (30, 20, 4, 6), (52, 38, 4, 10)],
)
def test_all_shots_keep_a_fifth_of_each_class_apart(
    photos: int, train: int, val: int, test: int, tmp_path: Path
) -> None:
    write_photos(tmp_path / "a", 0, photos, seed=1)
    write_photos(tmp_path / "b", 90, 20, seed=2)
    found, draw = drawn(tmp_path, 0)
    counts = [
        int((found.photos.labels[part] == 0).sum()) for part in (draw.train, draw.val, draw.test)
    ]
    assert counts == [train, val, test]
    others = [int((found.photos.labels[part] == 1).sum()) for part in (draw.train, draw.test)]
    assert others == [12, 4]
    assert draw.borrowed.all()  # learnt from at last
    assert not any("shots" in note for note in draw.notes)


def test_all_shots_keep_nothing_apart_beside_a_test_folder(tmp_path: Path) -> None:
    for name, hue in (("a", 0), ("b", 90)):
        write_photos(tmp_path / "train" / name, hue, 20, seed=1)
        write_photos(tmp_path / "test" / name, hue, 3, seed=2)
    assert sizes(tmp_path, 0) == [32, 8, 6]
