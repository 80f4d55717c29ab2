"""How far a tuning is, as its events tell."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_sharpzo.events import Event, Note, PhotosEncoded, QueriesSpent, SolutionSeen, TuningStarts
from edge_sharpzo.tuning.records import Record


@dataclass(frozen=True)
class TuneState:
    """How far a tuning is."""

    state: str  # "idle", "encoding", "tuning", "done", "failed", "elsewhere"
    queries: int = 0  # spent; photos, while they are encoded
    of: int | None = None  # that it takes at most
    seconds_left: float | None = None
    stage: str | None = None
    history: list[Record] = field(default_factory=list)
    why: str | None = None  # it failed
    told: list[str] = field(default_factory=list)
    stopped: Path | None = None  # a run that was stopped
    resumable: bool = False  # it goes on
    why_not_resumable: str | None = None  # it was stopped, and would begin anew
    up_to_date: bool = False  # the finished run is of the photos, names and template as they are


class Progress:
    """What a tuning has told of itself."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.history: list[Record] = []
        self._state = TuneState("encoding")
        self._began, self._before = 0.0, 0

    def hear(self, event: Event) -> None:
        """See `edge_sharpzo.events`."""
        match event:
            case PhotosEncoded(done, total):
                self._state = TuneState("encoding", done, total)
            case Note(text, True):
                self.told.append(text)
            case TuningStarts(queries, done, seconds, each):
                by_time = None if seconds is None else done + int(max(0.0, seconds) / each)
                known = [number for number in (queries, by_time) if number is not None]
                of = min(known, default=None)
                left = None if of is None else max(0, of - done) * each
                self._began, self._before = time.monotonic(), done
                self._state = TuneState("tuning", done, of, left)
            case QueriesSpent(used, stage):
                of, spent = self._state.of, used - self._before
                left = None
                if of is not None and spent > 0:
                    each = (time.monotonic() - self._began) / spent
                    left = round(max(0, of - used) * each, 1)
                self._state = replace(self._state, queries=used, stage=stage, seconds_left=left)
            case SolutionSeen(record):
                self.history.append(record)

    def state(self) -> TuneState:
        """How far it is."""
        return replace(self._state, history=list(self.history), told=list(self.told))
