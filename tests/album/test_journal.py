"""The journal of an album: lines that are none, or were not written whole."""

import json
from pathlib import Path

import pytest

from album.places import lies, tree
from edge_sharpzo.album import Album
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
        assert "1 lines of the journal" in album.told[0]
        assert tree(root) == before
        album.undo()
        assert "cow" not in lies(album)


@pytest.mark.parametrize("cut", [1, 2, 15, 40])
def test_a_line_that_was_not_written_whole(cut: int, root: Path) -> None:
    with Album.open(root) as album:
        album.new_class("cow")
        album.new_class("pig")
    journal = root / ".station" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    with Album.open(root) as album:
        assert sorted(lies(album)) == ["cat", "cow", "dog", "pig"]
        assert [step.undone for step in album.history()] in ([False, False], [False])
        album.new_class("hen")
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_a_journal_that_is_moved_away_while_it_is_open(album: Album) -> None:
    album.new_class("cow")
    (album.root / ".station").rename(album.root.parent / "away")
    with pytest.raises(UserError, match="was moved or deleted: put it back"):
        album.new_class("pig")
    assert "pig" not in lies(album)
