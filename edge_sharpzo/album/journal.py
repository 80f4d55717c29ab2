"""The journal of a data folder: what each step is about to do, then that it is done.

A line of JSON each, flushed to disk before anything else happens. What a step consists of stays in
the file until it is undone, so that a long life takes little memory.
"""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from edge_sharpzo.album import files
from edge_sharpzo.album.errors import DiskFullError
from edge_sharpzo.album.operations import Operation, as_json, from_json
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import MOST_TEXT, open_file, parse_json
from edge_sharpzo.system.text import is_line

JOURNAL = "journal.jsonl"
MOST_LINE = MOST_TEXT  # bytes of a line
FULL = (errno.ENOSPC, errno.EDQUOT)

CHANGED = (
    "was changed by another program while it was open: start the station again. Steps that are "
    "still in it can be undone then"
)


@dataclass
class Entry:
    """A line of the journal that says what a step is about to do."""

    id: int
    time: str
    text: str
    undoes: int | None = None  # the step that it undoes
    redoes: int | None = None  # or does again
    place: tuple[int, int] = (0, 0)  # of its line: first byte, length
    skipped: list[int] = field(default_factory=list)  # which operations were not done
    operations: int = 0  # how many there are

    @property
    def is_void(self) -> bool:
        """Whether nothing of it was done. Undoing is none: it goes on to the step before."""
        return self.undoes is None and 0 < self.operations <= len(set(self.skipped))


class Journal:
    """The file, and the entries that can be undone or done again."""

    def __init__(self, folder: Path):
        """Reads the journal in `folder`, or begins one. Raises UserError, OSError."""
        self._path = folder / JOURNAL
        self.steps: list[Entry] = []
        self.unfinished: Entry | None = None
        self.damaged = 0  # lines that are no entry
        # A step, and the entry that did or undid it last.
        self._done: list[tuple[Entry, Entry]] = []
        self._undone: list[tuple[Entry, Entry]] = []
        self._given_up: list[tuple[Entry, Entry]] = []  # what the last step made one of
        self._redone: tuple[Entry, Entry] | None = None  # what the last one did again, as before
        self._last_id = 0
        self._end = 0  # of the file, as far as it is known here
        self._owed = b""  # a line that could not be written: the disk was full
        self._handle = open_file(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            self._read()
        except BaseException:
            os.close(self._handle)
            raise

    def close(self) -> None:
        """Closes the file; what is owed to it is tried once more."""
        with suppress(UserError):  # the step is finished once more when the folder is opened
            self._settle()
        os.close(self._handle)

    def begin(
        self,
        text: str,
        operations: Sequence[Operation],
        undoes: int | None = None,
        redoes: int | None = None,
    ) -> Entry:
        """Writes down what is about to be done.

        Raises UserError; then nothing was written.
        """
        self._check_in_place()
        self._settle()
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        entry = Entry(self._last_id + 1, time, text, undoes, redoes)
        value = {"id": entry.id, "time": time, "text": text, "undoes": undoes, "redoes": redoes}
        value["operations"] = [as_json(each) for each in operations]
        line = _line(value)
        if len(line) > MOST_LINE:
            raise UserError("that is too much for one step: move fewer photos at once")
        entry.operations = len(operations)
        entry.place = (self._end, len(line))
        try:
            self._append(line)
        except OSError as error:
            raise self._refused(error) from error
        self._take(entry)
        return entry

    def end(self, entry: Entry, skipped: list[int], text: str) -> None:
        """Writes down that it is done, but for the operations `skipped`; `text` says what it did.

        Where that fails it is owed: the next step begins with it.
        """
        more = {} if text == entry.text else {"text": text}
        self._ended(entry, skipped, text)
        line = _line({"done": entry.id, "skipped": skipped, **more})
        try:
            self._append(line)
        except OSError:
            self._owed = line

    def operations(self, entry: Entry) -> list[Operation]:
        """What the step is about to do, or did. Raises UserError where the file lost it."""
        self._check_in_place()
        try:
            value = parse_json(self._bytes(*entry.place).decode())
            if _field(value, "id", int) != entry.id:
                raise ValueError("it holds another step")
            return [from_json(each) for each in value["operations"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self._path} {CHANGED}") from error

    def to_undo(self) -> tuple[Entry, Entry] | None:
        """The newest step that is not undone, and the entry that did it last."""
        return self._done[-1] if self._done else None

    def to_redo(self) -> tuple[Entry, Entry] | None:
        """The step that was undone last, and the entry that undid it."""
        return self._undone[-1] if self._undone else None

    def done_ids(self) -> set[int]:
        """The steps that are not undone; a new step leaves those that are so for good."""
        return {step.id for step, _ in self._done}

    def _settle(self) -> None:
        if self._owed:
            try:
                self._append(self._owed)
            except OSError as error:
                raise self._refused(error) from error
            self._owed = b""

    def _append(self, line: bytes) -> None:
        files.append(self._handle, line)
        self._end += len(line)

    def _check_in_place(self) -> None:
        here = os.fstat(self._handle)
        try:
            same = os.path.samestat(here, self._path.lstat())
        except OSError:
            same = False
        if not same:
            raise UserError(
                f"{self._path} was moved or deleted: put it back, or start again with a new one"
            )
        if here.st_size != self._end:
            raise UserError(f"{self._path} {CHANGED}")

    def _refused(self, error: OSError) -> UserError:
        if error.errno in FULL:
            return DiskFullError(
                f"the disk of {self._path.parent.parent} is full: nothing was changed. Make room"
            )
        return UserError(f"cannot write to {self._path} ({error.strerror}): nothing was changed")

    def _bytes(self, first: int, length: int) -> bytes:
        data = b""
        while length > len(data) and (more := os.pread(self._handle, length - len(data), first)):
            data, first = data + more, first + len(more)
        return data

    def _read(self) -> None:
        """All entries. A last line of ours that was not written whole is cut off.

        What else has no end gets one: it is no entry, but somebody's, and stays.
        """
        with os.fdopen(os.dup(self._handle), "rb") as stream:
            for line, length, is_whole in _lines(stream):
                if not is_whole and line and _is_begun(line):
                    os.ftruncate(self._handle, self._end)
                    return
                if line and is_whole:
                    self._read_line(line, self._end)
                else:
                    self.damaged += 1
                self._end += length
                if not is_whole:
                    self._append(b"\n")

    def _read_line(self, line: bytes, first: int) -> None:
        try:
            value = parse_json(line.decode())
            if "done" in value:
                self._end_of(value)
                return
            for each in value["operations"]:
                from_json(each)
            entry = Entry(*(_field(value, *each) for each in _FIELDS))
            entry.place, entry.operations = (first, len(line)), len(value["operations"])
        except (ValueError, TypeError, KeyError):
            self.damaged += 1
            return
        self._take(entry)

    def _end_of(self, value: dict[str, Any]) -> None:
        """Takes note that the last step was done."""
        entry, skipped = self.unfinished, value["skipped"]
        if entry is None or entry.id != value["done"]:
            raise ValueError("the end of no step")
        text = _field({"text": entry.text, **value}, "text", str)
        self._ended(entry, [place for place in skipped if isinstance(place, int)], text)

    def _ended(self, entry: Entry, skipped: list[int], text: str) -> None:
        """The last entry is done; one of which nothing was is no step, and all is as before it."""
        entry.skipped, self.unfinished = skipped, None
        if not entry.is_void:
            entry.text = text
        elif entry.redoes is None:
            self.steps.pop()
            self._done.pop()
            self._undone = self._given_up
        elif self._redone:
            self._done.pop()
            self._undone.append(self._redone)

    def _take(self, entry: Entry) -> None:
        """A new last entry: what can be undone and done again after it."""
        self._last_id, self.unfinished = max(self._last_id, entry.id), entry
        if entry.undoes is not None:
            _pass_on(self._done, self._undone, entry.undoes, entry)
        elif entry.redoes is not None:
            self._redone = _pass_on(self._undone, self._done, entry.redoes, entry)
        else:
            self.steps.append(entry)
            self._done.append((entry, entry))
            self._given_up, self._undone = self._undone, []


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes | None, int, bool]]:
    """Each line, its length, and whether it has an end; None for one that is longer than ours."""
    while line := stream.readline(MOST_LINE):
        part, length = line, len(line)
        while len(part) == MOST_LINE and not part.endswith(b"\n"):
            part = stream.readline(MOST_LINE)
            length += len(part)
        is_whole = (part or line).endswith(b"\n")
        yield line if length == len(line) else None, length, is_whole


def _is_begun(line: bytes) -> bool:
    """Whether a line that has no end is one of ours."""
    return any(line.startswith(each[: len(line)]) for each in (b'{"id": ', b'{"done": '))


_FIELDS: tuple[tuple[str, Any], ...] = (
    *(("id", int), ("time", str), ("text", str)),
    *(("undoes", int | None), ("redoes", int | None)),
)


def _field(value: dict[str, Any], name: str, kind: Any) -> Any:
    if not isinstance(value[name], kind) or (name == "time" and not is_line(value[name])):
        raise ValueError(f"no {name}")
    return value[name]


def _pass_on(
    source: list[tuple[Entry, Entry]],
    target: list[tuple[Entry, Entry]],
    step_id: int,
    entry: Entry,
) -> tuple[Entry, Entry] | None:
    """Moves the step on top of one pile to the other, done or undone by `entry`.

    Returns what lay there, None for another step, which stays.
    """
    if not source or source[-1][0].id != step_id:
        return None
    before = source.pop()
    target.append((before[0], entry))
    return before


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"  # a path that is no text becomes an escape
