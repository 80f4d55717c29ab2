"""Shows a run while it goes: a live bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_sharpzo.tuner import Record

PLAIN_EVERY = 5.0  # seconds between plain lines


class Display:
    """Progress of one `tune`; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._photos = self._progress.add_task("photos", total=None, status="", visible=False)
        self._queries = self._progress.add_task("queries", total=None, status="", visible=False)
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """One line for the user."""
        self._console.print(text, markup=False, soft_wrap=True)

    def photos(self, done: int, total: int) -> None:
        """`done` of `total` photos are encoded."""
        self._progress.update(self._photos, completed=done, total=total, visible=done < total)
        if not self._live and self._is_due(done == total):
            self.say(f"photos {done}/{total}")

    def start_tuning(self, planned: int | None, seconds: float | None, seconds_a_query: float) -> None:
        """Tuning begins, to end after `planned` queries or so many `seconds`, None where that ends nothing. Says how long it will take."""
        affordable = math.inf if seconds is None else max(0.0, seconds) / seconds_a_query
        total = min(affordable, math.inf if planned is None else planned)
        self._total = int(total) if math.isfinite(total) else None
        self._progress.update(self._queries, total=self._total, visible=True)
        if self._total is not None:
            takes = self._total * seconds_a_query
            about = f"{takes:.0f} s" if takes < 100 else f"{takes / 60:.0f} min"
            self.say(f"about {about}: {self._total:,} queries at {1000 * seconds_a_query:.1f} ms")

    def queries(self, used: int, stage: str) -> None:
        """`used` queries so far."""
        self._progress.update(self._queries, completed=used, description=stage)

    def record(self, record: Record) -> None:
        """A validated moment."""
        parts = [f"loss {record.loss:.3f}"]
        if record.val_accuracy is not None:
            parts.append(f"validation {100 * record.val_accuracy:.1f} %")
        status = "  ".join(parts)
        self._progress.update(self._queries, status=status)
        if not self._live and self._is_due(False):
            of = f"/{self._total}" if self._total else ""
            self.say(f"{record.stage}  {record.queries}{of} queries  {status}")

    def _is_due(self, last: bool) -> bool:
        now = time.monotonic()
        if last or now - self._last_line >= PLAIN_EVERY:
            self._last_line = now
            return True
        return False
