"""Albums that meet: a second process, and runs on the same folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from album.places import JPEG, given, ids, lies, write
from edge_sharpzo.album import Album, InUseError
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.photos.left_out import grouped

pytestmark = pytest.mark.usefixtures("no_flushing")
HOLDER = """
import sys
from pathlib import Path
from edge_sharpzo.album import Album
album = Album.open(Path(sys.argv[1]))
album.announce("http://127.0.0.1:8080")
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_of_the_first(root: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(InUseError) as raised:
            Album.open(root)
        assert f"in use by process {first.pid} at http://127.0.0.1:8080: go there" in str(
            raised.value
        )
        first.kill()
    Album.open(root).close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process": "x"}', '{"process": 1}', "\xff"])
def test_a_first_process_that_told_nothing_of_itself(text: str, album: Album) -> None:
    (album.root / ".station" / "lock").write_bytes(text.encode("latin1"))
    with pytest.raises(InUseError, match="in use by another process"):
        Album.open(album.root)


def test_runs_pass_over_what_is_the_stations_and_tell_of_photos_set_aside(album: Album) -> None:
    album.move_aside(ids(album.classes()[0].photos[:1]))
    album.display("cat", "a cat")
    write(album.root, ".set-aside/cat/notes.txt", ".git/x.jpg")
    found = find_photos(album.root)
    assert {group.reason: group.files for group in grouped(found.left_out)} == {
        "that were set aside": 1,
        "of the kind .txt": 1,
        "that are hidden or the system's": 1,
    }
    assert len(found.photos) == 3


@pytest.mark.parametrize("part", ["train", "test", ""])
def test_a_part_whose_last_photo_is_set_aside_stays_one(part: str, tmp_path: Path) -> None:
    places = {"train", "test"} if part else {""}
    write(tmp_path, *(f"{p}/{name}/1.jpg".lstrip("/") for p in places for name in ("cat", "dog")))
    with Album.open(tmp_path) as album:
        chosen = [p for each in album.classes() for p in each.photos if part in ("", p.part)]
        album.move_aside(ids(chosen))
        assert [each.name for each in album.classes()] == ["cat", "dog"]
        album.put_back(ids(album.set_aside()))
        assert [len(each.photos) for each in album.classes()] == [len(places)] * 2


def test_an_empty_folder_is_a_beginning(tmp_path: Path) -> None:
    with Album.open(tmp_path) as album:
        assert lies(album) == {}
        album.new_class("cat")
        album.add(given(album, JPEG), None)
        assert sorted(lies(album)) == ["None", "cat"]
