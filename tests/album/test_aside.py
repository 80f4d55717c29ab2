"""What lies aside, and links that lead nowhere."""

from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, ids, lies, tree, write
from edge_sharpzo.album import Album
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.system.errors import UserError

pytestmark = pytest.mark.usefixtures("no_flushing")


def _add_aside(album: Album) -> None:
    write(album.root, ".set-aside/unsure/9.jpg")


def _change_aside(album: Album) -> None:
    (album.root / ".set-aside/cow/7.jpg").write_bytes(JPEG + b"other")


def _lose_aside(album: Album) -> None:
    (album.root / ".set-aside/cow/7.jpg").unlink()


@pytest.mark.parametrize("change", [_add_aside, _change_aside, _lose_aside])
def test_what_lies_aside_teaches_nothing(change: Any, album: Album) -> None:
    write(album.root, ".set-aside/cow/7.jpg")
    before = album.contents()
    change(album)
    after = album.contents()
    assert after.teaches == before.teaches == album.teaches()
    assert after.version != before.version


def test_what_teaches_tells_of_every_other_change(album: Album) -> None:
    seen = [album.teaches()]
    album.move_aside(ids(album.classes()[0].photos, "1.jpg"))
    seen.append(album.teaches())
    album.display("cat", "tom cat")
    seen.append(album.teaches())
    album.set_template("a cat or {}")
    seen.append(album.teaches())
    album.new_class("cow")
    seen.append(album.teaches())
    album.move_to_background(ids(album.classes()[-1].photos, "3.png"))
    seen.append(album.teaches())
    assert len(set(seen)) == len(seen)
    for expected in reversed(seen[:-1]):
        album.undo()
        assert album.teaches() == expected


def _circle(link: Path) -> None:
    link.symlink_to(link.name)


def _circle_of_two(link: Path) -> None:
    link.symlink_to("other.jpg")
    link.with_name("other.jpg").symlink_to(link.name)


def _too_long(link: Path) -> None:
    link.symlink_to("n" * 300)


def _below_a_file(link: Path) -> None:
    link.symlink_to("1.jpg/2.jpg")


def _into_nothing(link: Path) -> None:
    link.symlink_to("nothing.jpg")


LINKS = [_circle, _circle_of_two, _too_long, _below_a_file, _into_nothing]


@pytest.mark.parametrize("name", ["0.jpg", "sub/0.jpg", "0", ".0.jpg"])
@pytest.mark.parametrize("make", LINKS)
def test_a_link_that_leads_nowhere_takes_no_class_along(make: Any, name: str, album: Album) -> None:
    for folder in ("cat", ".set-aside/cat"):
        (album.root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        make(album.root / folder / name)
    contents = album.contents()
    assert [len(each.photos) for each in contents.classes] == [2, 2]
    assert contents.notes == []
    found = find_photos(album.root, None)
    assert found.folders == ["cat", "dog"]
    assert album.root / "cat" / name in {file.path for file in found.left_out}
    album.merge("cat", "dog")
    album.undo()
    assert [len(each.photos) for each in album.classes()] == [2, 2]


@pytest.mark.parametrize("name", ["unsure", "Unsure"])
@pytest.mark.parametrize("part", ["", "train/"])
def test_what_watch_saved_is_of_no_class(part: str, name: str, tmp_path: Path) -> None:
    """Also where a hand made a class that is called as the folder it lies in."""
    write(tmp_path, f"{part}{name}/1.jpg", f"{part}{name}/2.jpg", f"{part}cat/1.jpg")
    write(tmp_path, f".set-aside/{part}cat/7.jpg")
    saved = [".set-aside/unsure/8.jpg", ".set-aside/unsure/door/9.jpg"]
    write(tmp_path, *saved)
    with Album.open(tmp_path) as album:
        before = tree(tmp_path)
        own, *waiting = sorted(album.set_aside(), key=lambda photo: photo.path.name)
        assert (own.class_name, [photo.class_name for photo in waiting]) == ("cat", [None, None])
        outcome = album.put_back(ids(waiting))
        assert outcome.step is None
        assert "move them to a class" in outcome.told[0]
        album.rename(name, "door")
        assert set(saved) <= set(tree(tmp_path))
        album.undo()
        album.merge(name, "cat")
        assert set(saved) <= set(tree(tmp_path))
        album.undo()
        assert tree(tmp_path) == before
        album.move(ids(waiting), "cat")
        album.undo()
        album.redo()
        assert len(lies(album)["cat"]) == 3
        assert (tmp_path / ".set-aside" / "unsure").is_dir()  # `watch` writes there
        album.undo()
        assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["unsure", "Unsure"])
def test_a_class_called_as_what_watch_saves_is_told_to_be_renamed(name: str, album: Album) -> None:
    write(album.root, f"{name}/5.jpg", ".set-aside/cat/7.jpg", ".set-aside/unsure/8.jpg")
    before = tree(album.root)
    (note,) = album.contents().notes
    assert note.startswith(f"{name} is called as the folder in which `watch` saves")
    assert note.endswith("rename it")
    (known,) = (each for each in album.classes() if each.name == name)
    outcome = album.move_aside(ids(known.photos))
    assert outcome.step is None
    assert f"{name}/5.jpg: not set aside" in outcome.told[0]
    assert outcome.told[0].endswith("rename the class first")
    with pytest.raises(UserError, match="rename it first"):
        album.merge("cat", name)
    assert tree(album.root) == before
    album.rename(name, "door")
    assert album.contents().notes == []
    assert album.move_aside(ids(album.classes()[-1].photos)).told == []
    album.merge("cat", "door")
    assert sorted(tree(album.root)) == [
        *(".set-aside/door/5.jpg", ".set-aside/door/7.jpg", ".set-aside/unsure/8.jpg"),
        *("dog/1.jpg", "dog/3.png", "door/1.jpg", "door/2.jpg"),
    ]


@pytest.mark.parametrize("link", ["unsure", "unsure/x", "cat", "cat/x", "x.jpg", "train"])
@pytest.mark.parametrize("target", ["tree", "photo", "data", "data, split"])
def test_no_link_is_followed_out_of_what_lies_aside(
    target: str, link: str, album: Album, tmp_path: Path
) -> None:
    write(tmp_path / "tree", "1.jpg", "deep/2.jpg", "deep/deeper/3.jpg")
    if target == "data, split":
        (album.root / "train").mkdir()
        for name in ("cat", "dog"):
            (album.root / name).rename(album.root / "train" / name)
    write(album.root, ".set-aside/cow/7.jpg")
    place = album.root / ".set-aside" / link
    place.parent.mkdir(exist_ok=True)
    leads = {"tree": tmp_path / "tree", "photo": tmp_path / "tree" / "1.jpg"}
    place.symlink_to(leads.get(target, album.root))
    before = tree(album.root), tree(tmp_path / "tree")
    contents = album.contents()
    assert [photo.path.name for photo in contents.set_aside] == ["7.jpg"]
    assert contents.notes == [
        ".set-aside holds 1 link: what links lead to was not set aside, and is not shown"
    ]
    album.rename("cat", "tabby")
    album.merge("tabby", "dog")
    album.undo()
    album.undo()
    assert (tree(album.root), tree(tmp_path / "tree")) == before
    assert place.is_symlink() or link == "cat/x"


def test_links_aside_that_a_hand_put_in_the_folders_place(album: Album, tmp_path: Path) -> None:
    write(tmp_path / "tree", "cat/1.jpg")
    (album.root / ".set-aside").symlink_to(tmp_path / "tree")
    assert album.set_aside() == []
