"""Everything that a command prints: what others wrote never steers a terminal or a spreadsheet.

File names, class names and what files hold come from anybody. `say` and `out` print a line of
them with `shown`, so no other module needs to think of it.
"""

import csv
import errno
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import shown

GONE = (errno.EPIPE, errno.EIO)  # nobody reads a pipe, a terminal is closed
GAP = 2  # between the columns of a table
FORMULA = "=+-@"  # what a spreadsheet computes begins with one of these


def prepare() -> None:
    """Makes the standard streams fit for any text. To be called once, before files are opened.

    A character that the encoding lacks is printed as an escape. A stream that is closed gets its
    number taken, which the next file would have otherwise, and what is printed would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at it."""
    return stream is not None and stream.isatty()


def out(line: str) -> None:
    """One line of a result, on stdout. Raises as `write` does."""
    write(f"{shown(line)}\n")


def write(text: str) -> None:
    """Text that is fit for a terminal, on stdout, at once.

    Raises BrokenPipeError where nobody reads on or stdout is closed, UserError for a full disk.
    """
    if sys.stdout is None:
        raise BrokenPipeError(errno.EBADF, "standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        drop(sys.stdout)
        if error.errno in GONE:
            raise BrokenPipeError(errno.EPIPE, "nobody reads on") from error
        raise UserError(
            f"cannot write to standard output ({error.strerror}): send it elsewhere"
        ) from error


def say(line: str) -> None:
    """One line about what goes on, on stderr; dropped where nobody can hear it."""
    stream = Patient(sys.stderr)
    stream.write(f"{shown(line)}\n")
    stream.flush()


class Patient(io.TextIOBase):
    """A stream that drops what is written once its terminal or pipe is gone, and never fails."""

    def __init__(self, stream: TextIO | None):
        """None is a stream that was closed from the beginning."""
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return getattr(self._stream, "encoding", None) or "ascii"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        """Never fails."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except OSError:
            self._leave()
        return len(text)

    def flush(self) -> None:
        """Never fails."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError:
            self._leave()

    def _leave(self) -> None:
        if self._stream is not None:
            drop(self._stream)
            self._stream = None


def drop(stream: TextIO) -> None:
    """Sends what `stream` still holds, and all that follows, nowhere: it takes no more."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError:  # a stream without a file
        pass


def out_json(value: Any) -> None:
    """On stdout. Raises as `write` does."""
    write(f"{_json(value)}\n")


def out_json_line(value: Any) -> None:
    """On one line of stdout. Raises as `write` does."""
    text = json.dumps(value, ensure_ascii=False)
    is_plain = _fits(text) and shown(text) == text
    write(f"{text if is_plain else json.dumps(value)}\n")


def out_json_list(values: Iterable[Any]) -> None:
    """A list, each value as soon as it is there. It is closed where an interrupt ends it, too.

    Raises as `write` does.
    """
    begun = False
    try:
        for value in values:
            text = _json(value).replace("\n", "\n ")
            write(f"{',' if begun else '['}\n {text}")
            begun = True
    finally:
        if begun:
            write("\n]\n")
    if not begun:
        write("[]\n")


def _json(value: Any) -> str:
    """Readable where that is safe; JSON's own escapes keep every other name exactly as it is."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    is_plain = _fits(text) and all(shown(line) == line for line in text.split("\n"))
    return text if is_plain else json.dumps(value, indent=1)


def _fits(text: str) -> bool:
    """Whether stdout's encoding has all of it."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf8")
    except UnicodeEncodeError:
        return False
    return True


def out_table(lines: Sequence[Sequence[str]]) -> None:
    """A table, its head first; nothing of it is cut off. Raises as `write` does.

    Where a terminal is too narrow, even with a head of several lines, there is a block for each
    line, a cell below the other.
    """
    from rich.cells import cell_len
    from rich.console import Console

    head, *body = [[shown(cell) for cell in line] for line in lines]
    most = Console().width if is_terminal(sys.stdout) else None
    needed = [max(map(cell_len, column)) for column in zip(head, *body, strict=True)]
    words = [max(map(cell_len, cell.split()), default=0) for cell in head]
    below = [
        max(cell_len(cells[i]) for cells in [*body, [""] * len(head)]) for i in range(len(head))
    ]
    wrapped = list(map(max, words, below))
    for widths in (needed, wrapped):
        if most is None or sum(widths) + GAP * len(widths) <= most:
            _out_columns(head, body, widths)
            return
    for cells in body:
        for number, (name, cell) in enumerate(zip(head, cells, strict=True)):
            out(f"{'  ' if number else ''}{f'{name}: ' if name else ''}{cell}")


def _out_columns(head: Sequence[str], body: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    columns = zip(map(Text, head), widths, strict=True)
    table = Table(
        *(Column(name, width=width, overflow="fold") for name, width in columns), box=None
    )
    for cells in body:
        table.add_row(*map(Text, cells))
    # Drawn apart from the terminal, which may be narrower.
    drawn = Console(file=io.StringIO(), width=sum(widths) + GAP * len(widths))
    with drawn.capture() as capture:
        drawn.print(table)
    for line in capture.get().splitlines():
        out(line.rstrip())


def out_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A table, each row as soon as it is there; other keys of a row are left out.

    Raises as `write` does.
    """
    for text in csv_lines(columns, rows):
        write(text)


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of such a table, each with its end."""
    line = io.StringIO()
    table = csv.writer(line)

    def whole_lines() -> Iterator[list[Any]]:
        yield list(columns)
        for row in rows:
            yield [_cell(row.get(column, "")) for column in columns]

    for cells in whole_lines():
        table.writerow(cells)
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and does not compute; our own numbers stay as they are."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    # Wide forms of the signs count in some spreadsheets.
    is_formula = text and unicodedata.normalize("NFKC", text[0]) in FORMULA
    return f"'{text}" if is_formula else text
