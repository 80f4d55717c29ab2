"""What the station's run folder holds while nobody tunes into it here."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import msgspec

from edge_sharpzo.classifier.tuned import PROMPT, TunedPrompt
from edge_sharpzo.runs.checkpoint import FILE, Checkpoints
from edge_sharpzo.runs.folder import HISTORY, clear_dead, is_finished
from edge_sharpzo.runs.lock import LOCK, is_locked, locked
from edge_sharpzo.runs.records import SUMMARY, Summary
from edge_sharpzo.runs.run_config import CONFIG, RunConfig
from edge_sharpzo.station.look import Look, MadeOf
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import as_type, read_text
from edge_sharpzo.tuning.records import Record

MOST_RUNS = 10_000  # that are kept beside each other


@dataclass(frozen=True)
class RunState:
    """A run folder as it was found."""

    finished: bool = False
    has_results: bool = False  # of a run that was stopped too
    can_resume: bool = False
    has_checkpoint: bool = False  # else it starts over
    validation: tuple[float | None, float | None, int] | None = None  # prompt, classifier; photos
    made_of: MadeOf | None = None  # without photos, of a run that has not got as far
    learnt_from: frozenset[str] = frozenset()  # digests of photos
    prompt: TunedPrompt | None = None  # of a run with results
    history: list[Record] = field(default_factory=list)
    queries: int = 0
    why: str | None = None  # what is wrong with it

    def is_of(self, look: Look | None) -> bool:
        """Whether it is made of the photos, names and template of `look`."""
        return look is not None and look.made_of == self.made_of


class RunFolder:
    """A run folder, and the one beside it where the next run is made until it has results.

    So there is a classifier all the while: the next run takes the place of the first at once.
    """

    def __init__(self, folder: Path):
        self.folder, self.next = folder, folder.with_name(f"{folder.name}-next")
        self._seen, self._seen_next = _Seen(folder), _Seen(self.next)
        self._lock = Lock()  # of renaming: every page asks for the state

    def is_elsewhere(self) -> bool:
        """Whether another process tunes into it. To be asked while this one does not."""
        return is_locked(self.folder) or is_locked(self.next)

    def state(self) -> RunState:
        """What it holds; nothing of it is an error."""
        return self._seen.state()

    @property
    def begun(self) -> Path:
        """The run that goes on, if one does: the next one, where it has begun."""
        return self.next if (self.next / CONFIG).exists() else self.folder

    def begun_state(self) -> RunState:
        """What that one holds."""
        return self.state() if self.begun == self.folder else self._seen_next.state()

    def place(self) -> tuple[Path, list[str]]:
        """Where a run is to begin anew, and what is to be told of runs that were put away for it.

        Raises UserError where something else lies there, or another process tunes into it.
        """
        with self._lock:
            _check_run(self.folder)
            has_results = (self.folder / SUMMARY).exists()
            place = self.next if has_results else self.folder
            away = _put_away(place, self.folder.name)
        return place, _told(away)

    def brought_back(self, results: Path, place: Path) -> str:
        """Has results for which `place` was lost in mid-run take it, where it is free; tells.

        Raises OSError.
        """
        if os.path.lexists(place):
            return (
                f"the results stay there, since {place} is something else's now: move that away, "
                f"and rename {results} to {place}"
            )
        shutil.move(results, place)  # they may be on another disk
        return f"{place} was free again: the results were moved there"

    def adopt(self) -> list[str]:
        """Has the next run take its place once it has results; to be asked when nothing tunes.

        One that was stopped takes the place of no run that has ended on the same photos.

        Tells where the run of before is. Raises UserError as `place` does.
        """
        with self._lock:
            clear_dead(self.next)
            if not (self.next / SUMMARY).exists() or is_locked(self.next):
                return []
            now, coming = self.state(), self._seen_next.state()
            if now.finished and not coming.finished and now.made_of == coming.made_of:
                return []
            away = _put_away(self.folder, self.folder.name)
            self.next.rename(self.folder)
        return _told(away)


class _Seen:
    """Reads a run folder again when its files have changed."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._stamp: object = None
        self._state = RunState()

    def state(self) -> RunState:
        """See `RunFolder.state`."""
        stamp = [_stamp(self._folder / name) for name in (CONFIG, SUMMARY, FILE, PROMPT, HISTORY)]
        if stamp != self._stamp:
            try:
                self._state = _read(self._folder)
            except (UserError, OSError, ValueError) as error:
                self._state = RunState(why=str(error))
            self._stamp = stamp
        return self._state


def _told(away: Path | None) -> list[str]:
    if not away:
        return []
    name, _, number = away.name.rpartition("-")
    kept = [away.with_name(f"{name}-{n}") for n in range(1, int(number) + 1)]
    files = [file for run in kept if run.is_dir() for file in run.iterdir() if file.is_file()]
    together = sum(file.stat().st_size for file in files) / 1e6
    return [
        f"the run of before is in {away.parent.name}/{away.name}; the runs of before take "
        f"{together:,.0f} MB together: delete those that you do not need"
    ]


def _put_away(folder: Path, name: str) -> Path | None:
    """Renames a run to `name` and a number; returns its new place, None where there is none.

    One that has nothing to go on with is deleted.
    """
    clear_dead(folder)
    _check_run(folder)
    if not (folder / CONFIG).exists():
        return None
    with locked(folder):
        for number in range(1, MOST_RUNS):
            place = folder.with_name(f"{name}-{number}")
            if not place.exists():
                folder.rename(place)
                (place / LOCK).unlink(missing_ok=True)
                return place
    raise UserError(f"{folder.parent} is full of runs: choose another `run`", field="run")


def _check_run(folder: Path) -> None:
    """Raises UserError where something lies there that is no run: it is left alone."""
    if (folder / CONFIG).exists():
        RunConfig.read(folder)
    elif holds_something(folder):
        raise UserError(
            f"{folder} holds something that is no run ({CONFIG} is not there): move it away, or "
            "choose another `run`",
            field="run",
        )


def holds_something(folder: Path) -> bool:
    """Whether something that is seen lies there: in the folder, or as a file in its place."""
    if not folder.is_dir():
        return folder.exists()
    return any(not each.name.startswith(".") for each in folder.iterdir())


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _read(folder: Path) -> RunState:
    if not (folder / CONFIG).exists():
        return RunState()
    config, finished, history = RunConfig.read(folder), is_finished(folder), _history(folder)
    # A run that died while it wrote its results is gone on with, and has none till then.
    has_results = finished or all((folder / name).exists() for name in (SUMMARY, PROMPT))
    summary = Summary.read(folder) if has_results else None
    queries = [summary.queries.total] if summary else []
    return RunState(
        finished=finished,
        has_results=has_results,
        can_resume=not finished,
        has_checkpoint=(folder / FILE).exists(),
        validation=_validation(summary) if summary else None,
        made_of=MadeOf.run(config),
        learnt_from=frozenset(config.learnt_from()),
        prompt=TunedPrompt.load(folder) if has_results else None,
        history=history,
        queries=max([*queries, *(record.queries for record in history[-1:])], default=0),
    )


def _validation(summary: Summary) -> tuple[float | None, float | None, int]:
    """Accuracies on the run's validation photos, 0 to 1, and how many these are."""
    scores = summary.accuracy
    return scores.tuned.val, scores.classifier.val, summary.data.val


def _history(folder: Path) -> list[Record]:
    """The looks of a run so far: from its checkpoint, or as it ended."""
    if stored := Checkpoints(folder).read():
        return stored[0].records
    if not (folder / HISTORY).exists():
        return []
    lines = read_text(folder / HISTORY).splitlines()
    return [as_type(msgspec.json.decode(line), Record) for line in lines]
