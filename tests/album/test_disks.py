"""Disks that are full, or may not be written to."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, given, ids, lies, tree, write
from edge_sharpzo.album import Album, DiskFullError, files
from edge_sharpzo.system.errors import UserError

pytestmark = pytest.mark.usefixtures("no_flushing")


class Failing:
    """The n-th file operation from now on fails, and those behind it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int):
        self.left, self.code = -1, code
        for owner, name in (
            (os, "write"),
            (os, "mkdir"),
            (os, "fsync"),
            (os, "rename"),
            (os, "rmdir"),
        ):
            monkeypatch.setattr(owner, name, self._failing(getattr(owner, name)))
        monkeypatch.setattr(files, "_rename_if_free", lambda: None)

    def _failing(self, call: Any) -> Any:
        def maybe(*args: Any, **more: Any) -> Any:
            if self.left == 0:
                if call.__name__ == "write":
                    call(args[0], bytes(args[1])[:7])  # a part of it is there
                raise OSError(self.code, os.strerror(self.code))
            self.left -= 1
            return call(*args, **more)

        return maybe


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("number", range(9))
def test_a_disk_that_fails_at_any_operation_loses_nothing(
    code: int, number: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, code)
    refusal = DiskFullError if code in (errno.ENOSPC, errno.EDQUOT) else UserError
    with Album.open(root) as album:
        album.add(given(album, JPEG + b"0"), "cat")
        album.move_aside(ids(album.classes()[0].photos[:1]))
        before, photos = tree(root), sorted(tree(root).values())
        for step in (
            lambda: album.merge("cat", "dog"),
            lambda: album.move_aside(ids(album.classes()[-1].photos)),
            lambda: album.rename(album.classes()[0].name, "cow"),
            album.undo,
        ):
            failing.left = number
            try:
                told = step().told
            except refusal:
                assert tree(root) == before
            else:
                assert told == [] or os.strerror(code) in told[0]
            failing.left = -1
            assert sorted(tree(root).values()) == photos
            before = tree(root)
    with Album.open(root) as album:
        assert sorted(tree(root).values()) == photos
        for line in (root / ".station" / "journal.jsonl").read_text().splitlines():
            json.loads(line)
        while album.can_undo():
            album.undo()
        assert sorted(tree(root).values()) == photos


def test_an_end_that_found_no_room_is_written_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was not done: undoing must not move what lies there instead."""
    append, move, full = files.append, files.move, [True]

    def no_room_for_ends(handle: int, line: bytes) -> None:
        if full[0] and line.startswith(b'{"done"'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(handle, line)

    def by_hand(source: Path, target: Path) -> None:
        if source.name == "1.jpg":
            return move(source, target)
        target.write_bytes(b"by hand")
        raise FileExistsError

    monkeypatch.setattr(files, "append", no_room_for_ends)
    with Album.open(root) as album:
        with monkeypatch.context() as patch:
            patch.setattr(files, "move", by_hand)
            told = album.move(ids(album.classes()[0].photos), "dog").told
        assert told == ["cat/2.jpg: not moved, since there is another of that name now"]
        with pytest.raises(DiskFullError):
            album.new_class("cow")
        full[0] = False
        album.new_class("cow")
    with Album.open(root) as album:
        assert album.told == album.undo().told == album.undo().told == []
        assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "2.jpg", "3.png"]}
        assert (root / "dog" / "2.jpg").read_bytes() == b"by hand"


@pytest.mark.parametrize("number", range(4))
def test_a_disk_that_is_full_while_photos_are_added(
    number: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, errno.ENOSPC)
    with Album.open(root) as album:
        waiting = given(album, JPEG + b"0", JPEG + b"1")
        failing.left = number
        with pytest.raises(UserError, match=r"full|cannot be kept"):
            album.add(waiting, "cat")
        failing.left = -1
        assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "3.png"]}
        assert list((root / ".station" / "incoming").iterdir()) == []
        assert len(album.add(given(album, JPEG + b"0", JPEG + b"1"), "cat").photos) == 2


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to(
    code: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(UserError, match=f"cannot write to .*{os.strerror(code)}") as raised:
        Album.open(root)
    assert raised.value.field == "data"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else(root: Path) -> None:
    root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="cannot write to"):
        Album.open(root)


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_what_is_no_folder(kind: str, tmp_path: Path) -> None:
    if kind == "a file":
        (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="is not a folder: give `data`"):
        Album.open(tmp_path / "data")


@pytest.mark.parametrize("has", [True, False])
def test_a_rename_takes_no_other_files_place(
    has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a kernel that looks and renames in one, and without."""
    if not has:
        monkeypatch.setattr(files, "_rename_if_free", lambda: None)
    write(tmp_path, "a/1.jpg", "b/1.jpg", "c/2.jpg")
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    for source, target in (
        ("a/1.jpg", "b/1.jpg"),
        ("a", "b"),
        ("a", "empty"),
        ("a/1.jpg", "empty"),
    ):
        with pytest.raises(FileExistsError):
            files.move(tmp_path / source, tmp_path / target)
    with pytest.raises(FileNotFoundError):
        files.move(tmp_path / "no", tmp_path / "new")
    assert tree(tmp_path) == before
    files.move(tmp_path / "c", tmp_path / "d")
    assert sorted(tree(tmp_path)) == ["a/1.jpg", "b/1.jpg", "d/2.jpg"]
