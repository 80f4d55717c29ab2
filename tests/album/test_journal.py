"""The journal of an album: lines that are none, or were not written whole."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from album.places import JPEG, lies, tree
from edge_sharpzo.album import Album, journal
from edge_sharpzo.system.errors import UserError

pytestmark = pytest.mark.usefixtures("no_flushing")
BAD_LINES = {
    "no JSON": "{",
    "no entry": "[]",
    "outside": '{"id": 7, "time": "", "text": "", "undoes": null, "redoes": null,'
    ' "operations": [["move", "cat/1.jpg", "../../x.jpg"]]}',
    "absolute": '{"id": 7, "time": "", "text": "", "undoes": null, "redoes": null,'
    ' "operations": [["move", "/etc/passwd", "cat/x.jpg"]]}',
    "unknown": '{"id": 7, "time": "", "text": "", "undoes": null, "redoes": null,'
    ' "operations": [["delete", "cat/1.jpg"]]}',
    "numbers": '{"id": 7, "time": 1, "text": 2, "undoes": [], "redoes": null, "operations": []}',
    "the end of nothing": '{"done": 12, "skipped": []}',
    "a time that is no text": '{"id": 7, "time": "\\ud800", "text": "", "undoes": null,'
    ' "redoes": null, "operations": [["make", "pig"]]}',
    "deep": "[" * 5000 + "]" * 5000,
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_lines_of_the_journal_that_are_none_of_ours(case: str, root: Path) -> None:
    with Album.open(root) as album:
        album.new_class("cow")
    with (root / ".station" / "journal.jsonl").open("a") as stream:
        stream.write(BAD_LINES[case] + "\n")
    before = tree(root)
    with Album.open(root) as album:
        assert album.told[0].startswith("1 line of the journal")
        assert tree(root) == before
        album.undo()
        assert "cow" not in lies(album)


@pytest.mark.parametrize("cut", [1, 2, 15, 40])
def test_a_line_that_was_not_written_whole(cut: int, root: Path) -> None:
    with Album.open(root) as album:
        album.new_class("cow")
        album.new_class("pig")
    file = root / ".station" / "journal.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with Album.open(root) as album:
        assert sorted(lies(album)) == ["cat", "cow", "dog", "pig"]
        assert [step.undone for step in album.history()] in ([False, False], [False])
        album.new_class("hen")
    for line in file.read_text().splitlines():
        json.loads(line)


def test_a_journal_that_is_moved_away_while_it_is_open(album: Album) -> None:
    album.new_class("cow")
    (album.root / ".station").rename(album.root.parent / "away")
    with pytest.raises(UserError, match="was moved or deleted: put it back"):
        album.new_class("pig")
    assert "pig" not in lies(album)


@pytest.mark.parametrize("end", ["", "\n", '\n{"done": 1', '\n{"id": 9'])
@pytest.mark.parametrize(
    "line", [JPEG * 1000, JPEG * 4096, b"\0" * 700, b'{"id": ' + b"7" * 5000, b"x"]
)
def test_what_is_no_line_of_ours_is_kept_and_told(
    line: bytes, end: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither read whole, where it is longer than any, nor cut off."""
    monkeypatch.setattr(journal, "MOST_LINE", 4096)
    with Album.open(root) as album:
        album.new_class("cow")
    file = root / ".station" / "journal.jsonl"
    before = file.read_bytes()
    file.write_bytes(before + line + end.encode())
    for known in (["cow"], ["cow", "pig"]):
        with Album.open(root) as album:
            assert album.told[0].startswith("1 line of the journal")
            assert [step.text for step in album.history()] == [f"new class '{n}'" for n in known]
            if len(known) == 1:
                album.new_class("pig")
    assert file.read_bytes().startswith(before + line + b"\n{")
    with Album.open(root) as album:
        album.undo()
        album.undo()
        assert sorted(lies(album)) == ["cat", "dog"]


def test_a_step_that_takes_more_than_a_line_is_refused(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_LINE", 100)
    before = tree(album.root)
    with pytest.raises(UserError, match="move fewer photos at once"):
        album.merge("cat", "dog")
    assert tree(album.root) == before


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 70)


def _emptied(file: Path) -> None:
    os.truncate(file, 0)


def _grown(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"x")


def _another_step(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"id": 1', b'"id": 5'))


def _garbled(file: Path) -> None:
    file.write_bytes(b"\xff" * file.stat().st_size)


@pytest.mark.parametrize("change", [_cut, _emptied, _grown, _another_step, _garbled])
def test_a_journal_that_is_changed_while_it_is_open(change: Any, album: Album) -> None:
    album.new_class("cow")
    before = lies(album)
    change(album.root / ".station" / "journal.jsonl")
    with pytest.raises(UserError, match=r"was changed by another .*: start the station again"):
        album.undo()
    if change not in (_another_step, _garbled):  # which only who reads it sees
        with pytest.raises(UserError, match="was changed by another program"):
            album.new_class("pig")
    assert lies(album) == before
    album.close()
    album.__init__(album.root)  # type: ignore[misc]
    album.new_class("pig")
    album.undo()
    assert lies(album) == before
