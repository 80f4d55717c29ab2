"""Steps of which the system lets a part be done, or nothing: what is told, and what is a step."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, given, ids, lies, tree, write
from edge_sharpzo.album import Album, files
from edge_sharpzo.album.journal import Journal

pytestmark = pytest.mark.usefixtures("no_flushing")
EVERYTHING: Callable[[Path], bool] = lambda path: True  # noqa: E731
CAUSES = {
    errno.EPERM: "let the user that the station runs as write to",
    errno.EACCES: "let the user that the station runs as write to",
    errno.EROFS: "let the user that the station runs as write to",
    errno.EXDEV: "lies on another disk than the data folder, or is mounted",
    errno.EBUSY: "lies on another disk than the data folder, or is mounted",
    errno.ENOSPC: "make room on the disk",
    errno.EIO: "failed (Input/output error)",
}


@contextmanager
def refusing(what: Callable[[Path], bool], code: int = errno.EPERM) -> Iterator[None]:
    """No photo, and no folder with photos, moves that this is true of."""
    real = files.move

    def move(source: Path, target: Path) -> None:
        is_empty = source.is_dir() and not any(source.iterdir())
        if not is_empty and source.name != ".gitkeep" and what(source):
            raise OSError(code, os.strerror(code), str(source), None, str(target))
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", move)
        yield


def everything(album: Album) -> tuple[object, ...]:
    """Also folders, and what the station keeps beside photos."""
    folders = sorted(str(path) for path in album.root.rglob("*") if path.is_dir())
    names = album.root / ".station" / "class-names.txt"
    return (
        *(tree(album.root), folders, names.read_text() if names.exists() else None),
        *(album.history(), album.can_undo(), album.can_redo()),
    )


def reopened(album: Album) -> Album:
    album.close()
    album.__init__(album.root)  # type: ignore[misc]
    return album


@pytest.mark.parametrize("to", ["cat", None])
@pytest.mark.parametrize("code", CAUSES)
def test_photos_that_cannot_be_filed_are_refused(code: int, to: str | None, album: Album) -> None:
    before = everything(album)
    new = given(album, JPEG + b"1", JPEG + b"2", JPEG + b"cat/1.jpg", b"no photo")
    with refusing(EVERYTHING, code):
        added = album.add(new, to)
    assert (added.step, added.photos, added.told, len(added.copies)) == (None, [], [], 1)
    why = dict(added.refused)
    assert "no photo" in why.pop(new[3])
    assert sorted(why) == sorted(new[:2])
    assert all(CAUSES[code] in each for each in why.values())
    assert code in (errno.ENOSPC, errno.EIO) or all(
        (to or "_background") in w for w in why.values()
    )
    assert list((album.root / ".station" / "incoming").iterdir()) == []
    assert everything(album) == before
    assert everything(reopened(album)) == before
    assert len(album.add(given(album, JPEG + b"1"), to).photos) == 1


def test_photos_are_counted_that_were_filed(album: Album) -> None:
    new = given(album, *(JPEG + bytes([i]) for i in range(3)))
    with refusing(lambda path: path == new[1]):
        added = album.add(new, "cat")
    assert added.step is not None
    assert added.step.text == "2 of 3 photos added to 'cat'"
    assert (len(added.photos), [path for path, _ in added.refused]) == (2, [new[1]])
    assert len(lies(album)["cat"]) == 4
    assert reopened(album).can_undo() == "2 of 3 photos added to 'cat'"
    album.undo()
    assert len(lies(album)["cat"]) == 2


def test_a_folder_that_cannot_be_made_is_the_cause(album: Album) -> None:
    before = everything(album)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "make_folder", _no_folder)
        added = album.add(given(album, JPEG + b"1"), None)
        told = album.move_aside(ids(album.classes()[0].photos)).told
    ((_, why),) = added.refused
    assert why.startswith("not moved, since '_background' cannot be made (Operation not permitted)")
    assert told == [f"cat/1.jpg, cat/2.jpg: {why.replace('_background', '.set-aside')}"]
    assert everything(album) == before


def _no_folder(folder: Path) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(folder))


def _cats(album: Album) -> list[str]:
    return ids(album.classes()[0].photos)


STEPS: dict[str, tuple[Any, str]] = {
    "aside": (lambda a: a.move_aside(_cats(a)), "1 of 2 photos set aside"),
    "background": (
        lambda a: a.move_to_background(_cats(a)),
        "1 of 2 photos moved to 'none of these'",
    ),
    "move": (lambda a: a.move(_cats(a), "dog"), "1 of 2 photos moved to 'dog'"),
    "back": (lambda a: a.put_back(ids(a.set_aside())), "1 of 2 photos put back"),
    "merge": (lambda a: a.merge("cat", "dog"), "'cat' merged into 'dog', but not all of it"),
    "rename": (lambda a: a.rename("cat", "cow"), ""),
}


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV, errno.EBUSY])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_which_no_photo_moved_leaves_no_trace(name: str, code: int, album: Album) -> None:
    album.display("cat", "a tom")
    write(album.root, ".set-aside/cat/8.jpg", ".set-aside/dog/9.jpg")
    (album.root / ".set-aside" / "cow").mkdir()  # an empty folder, which may well move
    (album.root / "cat" / "sub").mkdir()
    (album.root / "cat" / ".gitkeep").write_text("")
    before = everything(album)
    step, _ = STEPS[name]
    with refusing(lambda path: name == "back" or ".set-aside" not in path.parts, code):
        outcome = step(album)
        assert outcome.step is None
        assert CAUSES[code] in outcome.told[0]
        assert len(outcome.told) == 1
    assert everything(album) == before
    assert everything(reopened(album)) == before
    assert album.told == []
    assert step(album).told == []


@pytest.mark.parametrize("name", [name for name, (_, text) in STEPS.items() if text])
def test_a_step_of_which_a_part_moved_says_so(name: str, album: Album) -> None:
    if name == "back":
        album.move_aside(_cats(album))
    photos = sorted(tree(album.root).values())
    step, text = STEPS[name]
    with refusing(lambda path: path.name == "1.jpg"):
        outcome = step(album)
    assert outcome.step is not None
    assert outcome.step.text == text == album.can_undo() == reopened(album).can_undo()
    assert "1.jpg: failed (Operation not permitted)" in outcome.told[0]
    album.undo()
    assert sorted(tree(album.root).values()) == photos
    assert album.redo().told == []
    assert album.can_undo() == text


def test_a_class_whose_folder_stays_is_not_removed(album: Album) -> None:
    write(album.root, "cow/.gitkeep")
    album.display("cow", "a bull")
    before = everything(album)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "remove_folder", _no_folder)
        outcome = album.remove_class("cow")
    assert outcome.step is None
    assert "cow: failed (Operation not permitted)" in outcome.told[0]
    assert tree(album.root) == before[0]
    assert (album.root / ".station/class-names.txt").read_text() == before[2]
    assert album.can_undo() == before[4]


def test_what_cannot_be_done_again_can_be_so_later(album: Album) -> None:
    album.move_aside(_cats(album))
    album.undo()
    before = everything(album)
    with refusing(EVERYTHING):
        outcome = album.redo()
    assert outcome.step is None
    assert "failed (Operation not permitted)" in outcome.told[0]
    assert everything(album) == before
    assert everything(reopened(album)) == before
    assert album.redo().told == []
    assert len(album.set_aside()) == 2


@pytest.mark.parametrize("still", [False, True])
def test_a_step_that_was_cut_short_before_it_was_known_to_come_to_nothing(
    still: bool, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(album)
    with refusing(EVERYTHING), monkeypatch.context() as patch:
        patch.setattr(Journal, "end", _killed)
        with pytest.raises(KeyboardInterrupt):
            album.move_to_background(_cats(album))
    if still:
        with refusing(EVERYTHING):
            reopened(album)
        assert album.told[0].startswith("a step that was cut short could not be finished: 2 photos")
        assert everything(album) == before
    else:
        assert reopened(album).told[0].startswith("a step that was cut short is finished: 2 photos")
        assert len(album.background()) == 2
    assert reopened(album).told == []


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
