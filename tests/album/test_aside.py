"""What lies aside, and links that lead nowhere."""

from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, ids, write
from edge_sharpzo.album import Album
from edge_sharpzo.photos.found import find_photos

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
