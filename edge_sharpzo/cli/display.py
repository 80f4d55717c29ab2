"""Shows a run while it goes on: a live bar on a terminal, plain lines elsewhere; on stderr."""

import math
import sys
import time
from pathlib import Path
from typing import IO, Self, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_sharpzo.cli.boundary import as_flags
from edge_sharpzo.cli.terminal import Patient
from edge_sharpzo.events import (
    Event,
    Note,
    PhotosEncoded,
    PhotoSkipped,
    QueriesSpent,
    RunBegins,
    RunEnded,
    SolutionSeen,
    TuningStarts,
)
from edge_sharpzo.system.text import percent, shown
from edge_sharpzo.tuning.records import Record

PLAIN_EVERY = 5.0  # seconds between plain lines


class Display:
    """What a command shows of its progress; a context manager."""

    def __init__(self) -> None:
        self._console = Console(file=cast(IO[str], Patient(sys.stderr)), highlight=False)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
            transient=True,
            redirect_stdout=False,  # results are no part of the display
            redirect_stderr=False,
        )
        self._photos = self._bars.add_task("photos", total=None, status="", visible=False)
        self._queries = self._bars.add_task("queries", total=None, status="", visible=False)
        self._runs = self._bars.add_task("runs", total=None, status="", visible=False)
        self._planned: int | None = None
        self.folder: Path | None = None  # of the run, once it can be resumed
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def hear(self, event: Event) -> None:
        """Shows what a run tells."""
        match event:
            case RunBegins(folder):
                self.folder = folder
            case Note(text, warning):
                self.say(f"warning: {as_flags(text)}" if warning else as_flags(text))
            case PhotoSkipped(path, reason):
                self.skipped(path, reason)
            case PhotosEncoded(done, total):
                self.photos(done, total)
            case TuningStarts():
                self._start(event)
            case QueriesSpent(used, stage):
                self._bars.update(self._queries, completed=used, description=shown(stage))
            case SolutionSeen(record):
                self._record(record)
            case RunEnded(name, done, total, told, failed):
                self._bars.update(self._runs, completed=done, total=total, visible=True)
                result = f"failed: {as_flags(told)}" if failed else told
                self.say(f"{done}/{total} {name}: {result}")

    def say(self, text: str) -> None:
        """One line for the user."""
        self._console.print(shown(text), markup=False, soft_wrap=True)

    def skipped(self, path: Path, reason: str) -> None:
        """A photo that cannot be read."""
        self.say(f"skipped {path}: {reason}")

    def photos(self, done: int, total: int) -> None:
        """`done` of `total` photos are encoded."""
        self._bars.update(self._photos, completed=done, total=total, visible=done < total)
        if not self._live and self._is_due(done == total):
            self.say(f"photos {done}/{total}")

    def _start(self, event: TuningStarts) -> None:
        """Says how long tuning will take, where that is known."""
        affordable = math.inf
        if event.seconds is not None:
            affordable = max(0.0, event.seconds) / event.seconds_per_query
        by_time = event.done + affordable
        total = min(by_time, math.inf if event.queries is None else event.queries)
        self._planned = int(total) if math.isfinite(total) else None
        self._bars.update(self._queries, total=self._planned, visible=True)
        if self._planned is not None:
            left = max(0, self._planned - event.done)
            takes = left * event.seconds_per_query
            about = f"{takes:.0f} s" if takes < 100 else f"{takes / 60:.0f} min"
            pace = f"{1000 * event.seconds_per_query:.1f} ms"
            self.say(f"about {about}: {left:,} queries at {pace}")

    def _record(self, record: Record) -> None:
        parts = [f"loss {record.loss:.3f}"]
        if record.val_accuracy is not None:
            parts.append(f"validation {percent(record.val_accuracy)}")
        status = "  ".join(parts)
        self._bars.update(self._queries, status=status)
        if not self._live and self._is_due(False):
            of = f"/{self._planned}" if self._planned else ""
            self.say(f"{record.stage}  {record.queries}{of} queries  {status}")

    def _is_due(self, last: bool) -> bool:
        now = time.monotonic()
        if last or now - self._last_line >= PLAIN_EVERY:
            self._last_line = now
            return True
        return False
