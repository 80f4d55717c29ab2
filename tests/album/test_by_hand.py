"""What hands do to a folder while the album is open."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, given, ids, lies, tree, write
from edge_sharpzo.album import Album, NotThereError, Outcome, files
from edge_sharpzo.album.settings import Settings
from edge_sharpzo.photos.class_names import read_class_names
from edge_sharpzo.system.errors import UserError

pytestmark = pytest.mark.usefixtures("no_flushing")


def test_a_photo_that_is_gone_at_undo_is_told(album: Album) -> None:
    album.move(ids(album.classes()[0].photos), "dog")
    (album.root / "dog" / "2.jpg").unlink()
    assert album.undo().told == ["dog/2.jpg: no longer there"]
    assert lies(album) == {"cat": ["1.jpg"], "dog": ["1.jpg", "3.png"]}
    album.redo()
    assert lies(album) == {"cat": [], "dog": ["1-2.jpg", "1.jpg", "3.png"]}


def test_what_lies_in_the_place_of_a_photo_stays(album: Album) -> None:
    album.move(ids(album.classes()[0].photos), "dog")
    (album.root / "cat" / "2.jpg").write_bytes(b"by hand")
    assert album.undo().told == []
    assert (album.root / "cat" / "2.jpg").read_bytes() == b"by hand"
    assert (album.root / "cat" / "2-2.jpg").read_bytes() == JPEG + b"cat/2.jpg"


def test_a_class_that_is_there_again_is_joined(album: Album) -> None:
    album.rename("cat", "tabby")
    write(album.root, "cat/1.jpg")
    (album.root / "cat" / "1.jpg").write_bytes(b"by hand")
    album.undo()
    assert lies(album)["cat"] == ["1-2.jpg", "1.jpg", "2.jpg"]
    assert (album.root / "cat" / "1.jpg").read_bytes() == b"by hand"


def test_a_class_that_is_gone(album: Album) -> None:
    album.rename("cat", "tabby")
    album.display("tabby", "a tabby")
    (album.root / "tabby").rename(album.root.parent / "away")
    assert album.names_file() is None
    album.undo()
    assert album.undo().told == ["tabby: no longer there"]
    assert lies(album) == {"dog": ["1.jpg", "3.png"]}


def test_a_class_that_comes_back_is_called_as_before(album: Album) -> None:
    album.display("cat", "a tabby")
    album.display("dog", "a hound")
    names = album.names_file()
    assert names
    assert read_class_names(names) == {"cat": "a tabby", "dog": "a hound"}
    (album.root / "cat").rename(album.root.parent / "away")
    names = album.names_file()
    assert names
    assert read_class_names(names) == {"dog": "a hound"}
    (album.root.parent / "away").rename(album.root / "cat")
    assert [each.display for each in album.classes()] == ["a tabby", "a hound"]


def test_a_new_class_that_got_photos_stays(album: Album) -> None:
    album.new_class("cow")
    write(album.root, "cow/1.jpg")
    assert album.undo().told == ["cow: not removed, since something lies there"]
    assert lies(album)["cow"] == ["1.jpg"]
    assert album.can_undo() is None


def _no_place_aside(album: Album, away: Path) -> Any:
    (album.root / ".set-aside").symlink_to(away)
    return album.move_aside(ids(album.classes()[0].photos, "1.jpg"))


def _no_rename(album: Album, _: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", _refuse)
        return album.rename("cat", "tabby")


def _no_photo_in(album: Album, _: Path) -> Any:
    new = given(album, JPEG + b"new")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", _refuse)
        added = album.add(new, "dog")
    assert (added.told, added.photos) == ([], [])
    return Outcome(added.step, [why for _, why in added.refused])


def _no_template(album: Album, _: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "set_template", _refuse)
        return album.set_template("two {}")


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("step", [_no_place_aside, _no_rename, _no_photo_in, _no_template])
def test_a_step_of_which_nothing_was_done_is_none(step: Any, album: Album, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    album.set_template("one {}")
    album.new_class("cow")
    album.undo()
    before = tree(album.root), album.history(), album.can_undo(), album.can_redo()
    outcome = step(album, away)
    assert outcome.step is None
    assert outcome.told
    assert list(away.iterdir()) == []

    def now() -> tuple[object, ...]:
        return tree(album.root), album.history(), album.can_undo(), album.can_redo()

    assert now() == before
    album.close()
    (album.root / ".set-aside").unlink(missing_ok=True)
    album.__init__(album.root)  # type: ignore[misc]
    assert (now(), album.told) == (before, [])
    assert album.redo().told == []
    assert lies(album)["cow"] == []


def test_a_step_of_which_a_part_was_done_is_one(album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    (album.root / "dog" / "2.jpg").mkdir()
    real = files.move
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", lambda s, t: _refuse() if s.name == "1.jpg" else real(s, t))
        outcome = album.move(chosen, "dog")
    assert outcome.step is not None
    assert outcome.told == ["cat/1.jpg: failed (Input/output error)"]
    album.undo()
    assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "3.png"]}


@pytest.mark.parametrize("gone", ["deleted", "link", "file"])
def test_the_place_of_photos_that_come_in(gone: str, album: Album, tmp_path: Path) -> None:
    place = album.root / ".station" / "incoming"
    place.rmdir()
    if gone == "deleted":
        assert len(album.add(given(album, JPEG + b"1", JPEG + b"2"), "cat").photos) == 2
        return
    if gone == "link":
        place.symlink_to(tmp_path)
    else:
        place.write_text("mine")
    with pytest.raises(UserError, match="incoming is no folder, or a link to one: move it away"):
        album.incoming()


def test_the_stations_folder_that_is_gone_is_named(album: Album) -> None:
    (album.root / ".station").rename(album.root / "elsewhere")
    with pytest.raises(UserError, match=r"\.station was moved or deleted: put it back, or start"):
        album.incoming()
    assert not (album.root / ".station").exists()


@pytest.mark.parametrize(
    "operation",
    [
        ["name", "cat", None, "\ud800"],
        ["name", "cat", "a\udfff", None],
        ["name", "\udbff", None, "tabby"],
        ["template", "\ud83d {}", None],
        ["template", None, "{} \udc80"],
        ["move", "cat/\ud800.jpg", "dog/4.jpg"],
        ["make", "\udc00"],
        ["remove", "cat/\udfff"],
    ],
)
def test_steps_of_a_journal_that_are_no_text(operation: list[Any], root: Path) -> None:
    own = root / ".station"
    own.mkdir()
    step = {"id": 1, "time": "", "text": "by hand", "undoes": None, "redoes": None}
    lines = [json.dumps({**step, "operations": [operation]}), '{"done": 1, "skipped": []}']
    (own / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))
    before = tree(root)
    with Album.open(root) as album:
        assert "cannot be read" in album.told[0]
        assert (album.history(), album.can_undo()) == ([], None)
        with pytest.raises(NotThereError):
            album.undo()
    assert tree(root) == before


def test_photos_whose_class_is_gone_are_put_back_nowhere(album: Album) -> None:
    album.move_aside(ids(album.classes()[0].photos))
    (album.root / "cat").rmdir()
    outcome = album.put_back(ids(album.set_aside()))
    assert outcome.step is None
    assert outcome.told == [
        "cat/1.jpg, cat/2.jpg: not put back, since their class is no longer there: "
        "move them to a class"
    ]
    album.move(ids(album.set_aside()), "dog")
    assert lies(album) == {"dog": ["1-2.jpg", "1.jpg", "2.jpg", "3.png"]}


def test_two_folders_of_one_part_are_told_until_they_are_one(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg")
    with Album.open(tmp_path) as album:
        write(tmp_path, "training/cow/1.jpg")
        for step in (album.contents, lambda: album.new_class("cow")):
            with pytest.raises(UserError, match="both hold the train photos"):
                step()
        (tmp_path / "training").rename(tmp_path / "old")
        album.new_class("cow")


@pytest.mark.parametrize("target", ["class", "part", "file", "dangling"])
def test_nothing_changes_behind_a_link(target: str, tmp_path: Path) -> None:
    root, away = tmp_path / "data", tmp_path / "away"
    write(away, "cow/1.jpg", "cow/2.jpg")
    write(root, "train/cat/1.jpg", "train/dog/1.jpg")
    if target == "class":
        (root / "train" / "cow").symlink_to(away / "cow")
    elif target == "part":
        (root / "val").symlink_to(away)
    else:
        (root / "train" / "cow").mkdir()
        for name in ("1.jpg", "2.jpg"):
            (root / "train" / "cow" / name).symlink_to(
                away / ("cow" if target == "file" else "x") / name
            )
    with Album.open(root) as album:
        before, shown = tree(away), lies(album)
        if target == "dangling":
            assert album.contents().notes == ["train/cow holds no photos and is no class"]
            return
        assert shown["cow"] == ["1.jpg", "2.jpg"]
        _, cow, _ = album.classes()
        outcome = album.move_aside(ids(cow.photos))
        assert outcome.step is None
        assert "since they are links or lie behind one" in outcome.told[0]
        if target in ("class", "part"):
            with pytest.raises(UserError, match="Change it where it lies"):
                album.rename("cow", "bull")
            with pytest.raises(UserError, match="Change it where it lies"):
                album.merge("cat", "cow")
        else:
            album.rename("cow", "bull")
            album.undo()
        assert (tree(away), lies(album)) == (before, shown)


def test_a_folder_that_became_a_link_before_an_undo(album: Album, tmp_path: Path) -> None:
    album.move(ids(album.classes()[0].photos), "dog")
    (album.root / "cat").rmdir()
    (album.root / "cat").symlink_to(tmp_path)
    assert "links or lie behind one" in album.undo().told[0]
    assert not (tmp_path / "1.jpg").exists()


@pytest.mark.parametrize("name", [".station", ".station/incoming", ".set-aside"])
def test_own_folders_are_no_links(name: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(tmp_path / "away")
    with pytest.raises(UserError, match="no folder, or a link to one: move it away"):
        Album.open(root)
    assert list((tmp_path / "away").iterdir()) == []


def test_settings_that_a_hand_broke(album: Album) -> None:
    own = album.root / ".station"
    (own / "class-names.txt").write_text("cat\n")
    (own / "settings.json").write_text("[1")
    assert len(album.contents().notes) == 1
    with pytest.raises(UserError, match=r"class-names.txt, line 1: expected 'folder = name'"):
        album.display("cat", "x")
    (own / "class-names.txt").write_text("cat = by hand\n")
    with pytest.raises(UserError, match=r"settings.json cannot be read"):
        album.set_template("x {}")
    album.rename("cat", "tabby")
    assert album.classes()[1].display == "by hand"


@pytest.mark.parametrize("template", ["no place", "", "two {} {}", "{0}"])
def test_a_template_without_a_place_for_the_name(template: str, album: Album) -> None:
    (album.root / ".station" / "settings.json").write_text(json.dumps({"template": template}))
    (note,) = album.contents().notes
    assert f"its template '{template}' needs the class name's place, {{}}, once" in note
    assert "mend it, or move it away" in note
    if template:
        with pytest.raises(UserError, match=r"with \{\} once where the class's name goes"):
            album.set_template(template)


def test_a_data_folder_that_is_gone(album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    album.new_class("cow")
    album.root.rename(album.root.parent / "away")
    for step in (
        *(album.contents, album.names_file, album.undo, lambda: album.move_aside(chosen)),
        *(lambda: album.new_class("pig"), lambda: album.merge("cat", "dog")),
    ):
        with pytest.raises(UserError, match=r"Check the path|moved or deleted"):
            step()
    (album.root.parent / "away").rename(album.root)
    album.new_class("pig")
