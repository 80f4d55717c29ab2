"""Photos of the album: added, moved, followed by their ids."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, empty_aside, given, ids, lies, tree, write
from edge_sharpzo.album import Album, NotThereError, adding, steps

pytestmark = pytest.mark.usefixtures("no_flushing")


def test_photos_are_added_under_names_of_their_own(album: Album) -> None:
    png = b"\x89PNG\r\n\x1a\nx"
    added = album.add(
        given(album, JPEG + b"x", png, JPEG + b"x", JPEG + b"cat/1.jpg", b"<html>"), "dog"
    )
    names = [photo.path.name for photo in added.photos]
    assert [Path(name).suffix for name in sorted(names)] in ([".jpg", ".png"], [".png", ".jpg"])
    for name in names:
        date, time, digest = Path(name).stem.split("-")
        assert (len(date), len(time), len(digest)) == (8, 6, 6)
    assert len(added.copies) == 2
    assert [why for _, why in added.refused] == ["no photo: take JPEG, PNG, WebP, GIF, BMP or TIFF"]
    assert list((album.root / ".station" / "incoming").iterdir()) == []
    assert album.can_undo() == "2 photos added to 'dog'"


def test_a_photo_that_was_set_aside_may_come_again(album: Album) -> None:
    first = album.add(given(album, JPEG + b"x"), "dog")
    album.move_aside(ids(first.photos))
    second = album.add(given(album, JPEG + b"x"), "cat")
    assert len(second.photos) == 1
    assert second.copies == []


def test_only_files_that_were_written_to_incoming_are_added(album: Album, tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(JPEG)
    with pytest.raises(ValueError, match="incoming"):
        album.add([tmp_path / "mine.jpg"], "cat")
    assert (tmp_path / "mine.jpg").exists()


def test_photos_stay_in_their_part(tmp_path: Path) -> None:
    names = [f"{part}/{name}" for part in ("train", "Val", "testing") for name in ("cat", "dog")]
    write(tmp_path, *(f"{name}/1.jpg" for name in names), "testing/Cat/2.jpg")
    (tmp_path / "testing" / "cat").rename(tmp_path / "testing" / "old")
    write(tmp_path, "train/old/1.jpg")
    with Album.open(tmp_path) as album:
        cat, dog, _ = album.classes()
        assert [photo.part for photo in cat.photos] == ["train", "val", "test"]
        assert [photo.path.name for photo in cat.photos] == ["1.jpg", "1.jpg", "2.jpg"]
        album.move(ids(cat.photos), "dog")
        files_now = [p.path.relative_to(tmp_path).as_posix() for p in album.classes()[1].photos]
        assert files_now == [
            *("train/dog/1-2.jpg", "train/dog/1.jpg"),
            *("Val/dog/1-2.jpg", "Val/dog/1.jpg", "testing/dog/1.jpg", "testing/dog/2.jpg"),
        ]
        album.move_to_background(ids(dog.photos))
        assert [photo.part for photo in album.background()] == ["train", "val", "test"]
        album.rename("cat", "cow")
        assert sorted(path.name for path in (tmp_path / "testing").iterdir()) == [
            *("_background", "cow", "dog", "old")
        ]


def test_photos_set_aside_follow_their_class(album: Album) -> None:
    cat, dog = album.classes()
    album.move_aside([*ids(cat.photos), *ids(dog.photos)])
    assert sorted(tree(album.root)) == [
        *(".set-aside/cat/1.jpg", ".set-aside/cat/2.jpg"),
        *(".set-aside/dog/1.jpg", ".set-aside/dog/3.png"),
    ]
    album.rename("cat", "tabby")
    album.merge("tabby", "dog")
    assert [photo.class_name for photo in album.set_aside()] == ["dog"] * 4
    album.put_back(ids(album.set_aside()))
    assert sorted(tree(album.root)) == ["dog/1-2.jpg", "dog/1.jpg", "dog/2.jpg", "dog/3.png"]
    while album.can_undo():
        album.undo()
    assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "3.png"]}


@pytest.mark.parametrize("step", ["rename", "merge"])
def test_a_folder_aside_that_was_emptied_is_not_missed(step: str, album: Album) -> None:
    before = tree(album.root)
    album.move_aside(ids(album.classes()[0].photos, "1.jpg"))
    album.move(ids(album.set_aside()), "dog")
    if step == "rename":
        album.rename("cat", "tabby")
    else:
        album.merge("cat", "dog")
    album.move_aside(ids(album.classes()[-1].photos))
    while album.can_undo():
        assert album.undo().told == []
    assert tree(album.root) == before


def test_a_class_takes_along_whatever_lies_in_its_folders(album: Album) -> None:
    write(album.root, "cat/tabby/1.jpg", "cat/a/b/c/deep.jpg", "cat/.DS_Store", "cat/notes.txt")
    before = tree(album.root)
    assert album.merge("cat", "dog").told == []
    assert not (album.root / "cat").exists()
    assert sorted(tree(album.root).values()) == sorted(before.values())
    album.undo()
    assert tree(album.root) == before


@pytest.mark.parametrize("name", ["1.jpg", "ä" * 125 + ".jpg", "a" * 251 + ".JPG"])
def test_names_that_meet_get_numbers(name: str, album: Album) -> None:
    write(album.root, f"cat/{name}", f"dog/{name}")
    (album.root / "dog" / name).write_bytes(JPEG + b"other")
    chosen = [photo for photo in album.classes()[0].photos if photo.path.name == name]
    assert album.move(ids(chosen), "dog").told == []
    assert len(album.classes()[1].photos) == (3 if name == "1.jpg" else 4)
    album.undo()
    assert name in lies(album)["cat"]


def test_files_whose_names_differ_by_case_alone_go_back_as_they_were(album: Album) -> None:
    write(album.root, "cat/A.jpg", "cat/a.jpg")
    before = tree(album.root)
    album.move(ids(album.classes()[0].photos, "a.jpg"), "dog")
    album.undo()
    assert tree(album.root) == before


def test_names_that_are_no_text(album: Album) -> None:
    write(album.root, os.fsdecode(b"cat/caf\xe9.jpg"), os.fsdecode(b"ca\xe9/1.jpg"))
    contents = album.contents()
    assert [each.name for each in contents.classes] == ["cat", "dog"]
    assert contents.notes == ["ca\\xe9 has a name that is no single line: rename it"]
    album.merge("cat", "dog")
    album.undo()
    album.close()
    album.__init__(album.root)  # type: ignore[misc]
    assert album.redo().told == []
    assert (album.root / os.fsdecode(b"dog/caf\xe9.jpg")).exists()


def test_the_version_tells_of_every_change(album: Album) -> None:
    seen = [album.version()]

    def is_new() -> bool:
        seen.append(album.version())
        return seen[-1] not in seen[:-1]

    assert album.version() == seen[0]
    album.new_class("cow")
    assert is_new()
    album.display("cow", "holy cow")
    assert is_new()
    album.set_template("so {}")
    assert is_new()
    write(album.root, "cat/by-hand.jpg")
    assert is_new()
    os.utime(album.root / "cat" / "1.jpg", ns=(5, 5))
    assert is_new()
    (album.root / "dog" / "1.jpg").unlink()
    assert is_new()


def test_a_photo_by_its_id(album: Album) -> None:
    wanted = album.classes()[0].photos[0]
    assert album.photo(wanted.id) == wanted
    album.move_aside([wanted.id])
    with pytest.raises(NotThereError, match="List them again"):
        album.photo(wanted.id)
    assert album.photo(album.set_aside()[0].id).class_name == "cat"
    for odd in ("", "0" * 16, "../cat/1.jpg"):
        with pytest.raises(NotThereError):
            album.photo(odd)


def _written_over(photo: Path, by: Path) -> None:
    photo.write_bytes(by.read_bytes())


def _renamed_over(photo: Path, by: Path) -> None:
    by.rename(photo)


def _copied_over_with_its_time(photo: Path, by: Path) -> None:
    os.utime(by, ns=(5, 5))
    shutil.copy2(by, photo)


def _exchanged(photo: Path, by: Path) -> None:
    aside = photo.with_name("for a moment")
    photo.rename(aside)
    by.rename(photo)
    aside.rename(by)


def _folders_exchanged(photo: Path, by: Path) -> None:
    _exchanged(photo.parent, by.parent)


@pytest.mark.parametrize(
    "change",
    [
        _written_over,
        _renamed_over,
        _copied_over_with_its_time,
        _exchanged,
        _folders_exchanged,
    ],
)
def test_what_came_into_a_photos_place_is_never_taken_for_it(change: Any, album: Album) -> None:
    photo, by = (album.root / name / "1.jpg" for name in ("cat", "dog"))
    content = by.read_bytes()
    for known in (False, True):  # whether it was listed since
        (old,) = ids(album.classes()[0].photos, "1.jpg")
        if not known:
            change(photo, by)
        else:
            os.utime(photo, ns=(7, 7))
            assert album.contents()
        with pytest.raises(NotThereError, match="replaced"):
            album.photo(old)
        before = tree(album.root)
        for move in (album.move_aside, album.move_to_background, album.put_back):
            with pytest.raises(NotThereError, match="nothing was moved"):
                move([old])
        assert tree(album.root) == before
    (new,) = ids(album.classes()[0].photos, "1.jpg")
    assert album.photo(new).path == photo
    assert photo.read_bytes() == content
    assert album.move_aside([old, new]).told == [
        "1 photo that you chose: no longer there, or replaced by another"
    ]
    album.undo()
    assert ids(album.classes()[0].photos, "1.jpg") == [new]


def test_photos_that_are_not_there_are_told(album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    outcome = album.move([*chosen, "0" * 16], "dog")
    assert outcome.told == ["1 photo that you chose: no longer there, or replaced by another"]
    assert album.can_undo() == "2 photos moved to 'dog'"
    with pytest.raises(NotThereError, match="none of these photos is there any more"):
        album.move_aside(chosen)
    there = ids(album.classes()[1].photos)
    assert (album.move(there, "dog").step, album.put_back(there).step) == (None, None)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            lambda album, photos: album.move(photos["dog"], "dog"),
            "dog/1.jpg, dog/3.png: in that class",
        ),
        (lambda album, photos: album.move_to_background(photos[None]), "among those of none"),
        (
            lambda album, photos: album.move_aside(photos["aside"]),
            "set aside already: put them back",
        ),
        (
            lambda album, photos: album.put_back(photos["dog"]),
            "not put back, since they are not set",
        ),
        (
            lambda album, photos: album.put_back(photos[None]),
            "not put back, since they are not set",
        ),
        (
            lambda album, _: album.rename("dog", "dog"),
            "'dog': called so already: give another name",
        ),
        (lambda album, _: album.display("dog", " dog "), "'dog': called so already"),
        (lambda album, _: album.display("cat", "tabby"), "'cat': called so already"),
        (lambda album, _: album.set_template("a {}"), "the template: as it is already"),
    ],
)
def test_what_has_nothing_to_do_says_so_and_is_no_step(step: Any, told: str, album: Album) -> None:
    write(album.root, "_background/b.jpg", ".set-aside/dog/9.jpg")
    album.display("cat", "tabby")
    album.set_template("a {}")
    contents = album.contents()
    photos = {None: ids(contents.background), "aside": ids(contents.set_aside)}
    photos |= {each.name: ids(each.photos) for each in contents.classes}
    before = tree(album.root), album.history()
    outcome = step(album, photos)
    assert outcome.step is None
    assert told in outcome.told[0]
    assert (tree(album.root), album.history()) == before


def test_what_of_a_step_was_so_already_is_told(album: Album) -> None:
    cat, dog = (ids(each.photos) for each in album.classes())
    assert album.move([*cat[:1], *dog[:1]], "dog").told == [f"dog/1.jpg: {steps.IN_CLASS}"]
    assert album.can_undo() == "1 photo moved to 'dog'"


def test_undo_leaves_no_empty_folder_aside(root: Path) -> None:
    """Such as those of a mark of an empty folder, wherever it lay, and of photos put back."""
    for mark in ("cow/.gitkeep", "pig/a/b/.keep", "pig/c/Thumbs.db"):
        write(root, mark)
    (root / ".set-aside" / "cow").mkdir(parents=True)
    with Album.open(root) as album:
        cat = ids(album.classes()[0].photos)
        before = tree(root)
        for step in (
            lambda: album.remove_class("cow"),
            lambda: album.remove_class("pig"),
            lambda: album.move_aside(cat),
            lambda: album.add(given(album, JPEG + b"new"), "dog"),
        ):
            step()
            album.undo()
            album.redo()
            album.undo()
            assert empty_aside(root) == set()
        left = {name: content for name, content in tree(root).items() if ".set-aside" not in name}
        assert left == before
        album.move_aside(cat)
        album.put_back(ids(album.set_aside(), "1.jpg", "2.jpg"))
        assert empty_aside(root) == set()
        album.undo()
        assert [photo.path.name for photo in album.set_aside()][:2] == ["1.jpg", "2.jpg"]


def _same_size(count: int, first: int = 0) -> list[bytes]:
    return [JPEG + b"%06d" % number for number in range(first, first + count)]


@pytest.mark.parametrize("split", [False, True])
def test_photos_of_one_size_are_read_once(
    split: bool, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in enumerate(_same_size(20)):
        (album.root / "cat" / f"same-{number}.jpg").write_bytes(content)
    read, real = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda f, kind: (read.append(f), real(f, kind))[1])
    new = [*_same_size(10, 100), _same_size(1)[0]]
    for part in (new[:5], new[5:]) if split else (new,):
        added = album.add(given(album, *part), "dog")
    assert len(added.copies) == 1
    assert len(read) == 20 + len(new) + (5 if split else 0)  # by then they are photos there


def test_nobody_waits_for_photos_that_are_read(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = adding.read_ahead, []

    def meanwhile(*given: Any) -> None:
        real(*given)
        with ThreadPoolExecutor(1) as others:
            seen.append(others.submit(album.contents).result(60))

    monkeypatch.setattr(adding, "read_ahead", meanwhile)
    assert len(album.add(given(album, JPEG + b"1"), "dog").photos) == 1
    assert len(seen) == 1
