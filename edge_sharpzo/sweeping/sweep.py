"""A sweep from its plan to its table: what is missing is run, what is there is kept."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.engines.dask_client import check_extra, scheduler_of
from edge_sharpzo.events import Listener, Note, RunEnded
from edge_sharpzo.runs.folder import clear_dead
from edge_sharpzo.runs.lock import locked
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.records import Summary
from edge_sharpzo.sweeping import encode, folder, table
from edge_sharpzo.sweeping.crew import Crew, local_crew
from edge_sharpzo.sweeping.encode import Seen
from edge_sharpzo.sweeping.encode_there import encode_on_machines
from edge_sharpzo.sweeping.fleet import fleet_crew
from edge_sharpzo.sweeping.folder import Record, State
from edge_sharpzo.sweeping.plan import Cell, Sweep, as_arguments
from edge_sharpzo.sweeping.task import Ended, Job
from edge_sharpzo.system.errors import UserError, os_errors_told
from edge_sharpzo.system.machine import check_device, usable_cores
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.system.storage import write_text
from edge_sharpzo.system.text import percent, some

SCRATCH = ".workers"  # what Dask writes while workers are there
INTERRUPTED = 130  # what a run that was asked to end exits with
ONLY_BEGUN = "it was interrupted: the same command again goes on with it"
NO_RESULTS = "it has not come to its end: a sweep that asks for it goes on with it"


@dataclass(frozen=True)
class Swept:
    """What came of a sweep."""

    folder: Path
    runs: dict[str, Summary]  # finished runs by the name of their folder
    table: list[dict[str, Any]]  # see `sweeping.table.rows`
    failed: dict[str, str] = field(default_factory=dict)  # why, by the name of the run's folder


def sweep(asked: Sweep, listen: Listener, stop: Stop) -> Swept:
    """Does the runs that are missing and writes `sweep.json` and `sweep.md`.

    Raises UserError; Cancelled where `stop` asks for it, and what has begun goes on next time.
    """
    check_device()
    check_extra()
    if asked.engine != LOCAL:
        scheduler_of(asked.engine)
    with os_errors_told(), locked(asked.out), stop:
        before = folder.read(asked.out)
        asked = replace(asked, shared=replace(asked.shared, threads=_threads(asked, before)))
        now = folder.record_of(asked, encode.model_sha256(asked.shared))
        record = folder.together(before, now, asked.out)
        record.write(asked.out)
        folder.clear_remains(asked.out)
        work = _Sweeping(asked, record, listen, stop)
        try:
            work.run()
        except UserError:
            work.record = folder.without_new(work.record, before, work.failed, asked.out)
            raise
        finally:
            swept = _result(asked, work)
    others = {name: why for name, why in swept.failed.items() if name not in work.failed}
    if told := some([f"{name} ({why})" for name, why in others.items()], 5):
        listen(Note(f"in the plan, and without results: {told}", warning=True))
    return swept


def _threads(asked: Sweep, before: Record | None) -> int:
    """Threads of each run: as asked, else as the sweep began with; they show in the last digits."""
    if asked.shared.threads != 0:
        return asked.shared.checked().threads
    if before and isinstance(known := before.options.get("threads"), int) and known > 0:
        return known
    if asked.engine != LOCAL:
        return 1
    return max(1, usable_cores() // (asked.workers or usable_cores()))


def _result(asked: Sweep, work: "_Sweeping") -> Swept:
    """Reads all runs of the folder, and writes the table of those that can be compared."""
    done, failed = dict[Cell, Summary](), dict[str, str]()
    sets = {name: Path(place) for name, place in work.record.sets.items()}
    every = replace(asked, sets=sets)
    for cell in work.record.runs:
        if not (why := work.failed.get(cell.name)):
            try:
                with os_errors_told():
                    summary = work.result(every, cell)
            except UserError as error:
                why = _with_cure(str(error), asked.out / cell.name)
            else:
                if summary:
                    done[cell] = summary
                    continue
                why = work.record.failed.get(cell.name, NO_RESULTS)
        failed[cell.name] = why
    rows = table.rows(done)
    replace(work.record, table=rows, failed=failed).write(asked.out)
    write_text(asked.out / folder.TABLE, table.markdown(rows))
    return Swept(asked.out, {cell.name: done[cell] for cell in done}, rows, failed)


def _with_cure(why: str, place: Path) -> str:
    """Why a run failed, with a cure for a sweep in the place of that for a run alone."""
    return why.replace("tune again", folder.again(place))


class _Sweeping:
    """The runs that are missing."""

    def __init__(self, asked: Sweep, record: Record, listen: Listener, stop: Stop):
        self._asked, self._listen, self._stop = asked, listen, stop
        self.record = record
        self._on_fleet = asked.engine != LOCAL
        self._cells = {cell.name: cell for cell in asked.cells}
        self._done = 0
        self.failed = dict[str, str]()

    def run(self) -> None:
        """Does them. Raises UserError, Cancelled."""
        jobs = [job for cell in self._asked.cells if (job := self._job(cell))]
        if self._done:
            are = "is" if self._done == 1 else "are"
            all_runs = "1 run" if len(self._cells) == 1 else f"{len(self._cells):,} runs"
            self._listen(Note(f"{self._done:,} of {all_runs} {are} there already"))
        if not jobs:  # what is there may have been made of other photos
            self._encode_here()
            return
        with self._crew(jobs) as crew:
            workers, threads = sum(crew.slots().values()), self._asked.shared.threads
            self._listen(Note(f"runs at once: {workers}, threads of each: {threads}"))
            if self._on_fleet:
                self._encode_there(crew)
            # The longest begin first, or one of them would be left over for a single worker.
            crew.run(sorted(jobs, key=self._queries, reverse=True), self._finished, self._stop)

    def _keep(self, name: str, seen: Seen) -> None:
        """Records what the photos of a set are. Raises UserError where they have changed."""
        out = self._asked.out
        self.record = folder.with_photos(self.record, name, seen.photos_sha256, out)
        self.record.write(out)

    def _crew(self, jobs: list[Job]) -> AbstractContextManager[Crew]:
        if self._on_fleet:
            return fleet_crew(self._asked.engine, self._needed(), self._listen, self._stop)
        asked = self._asked.workers or max(1, usable_cores() // self._asked.shared.threads)
        scratch = self._asked.out / SCRATCH
        return local_crew(min(asked, len(jobs)), scratch, self._listen, self._encode_here)

    def _queries(self, job: Job) -> int:
        return self._asked.queries(self._cells[job.name])

    def _job(self, cell: Cell) -> Job | None:
        """What there is to do for a run; None where nothing is."""
        options, place = self._asked.options(cell), self._asked.out / cell.name
        try:
            with os_errors_told():
                state = folder.state_of(place, options.checked())
                begun = self._on_fleet and state is State.BEGUN
                files = folder.files_of(place) if begun else {}
        except UserError as error:
            self._fail(cell.name, str(error))
            return None
        if state is State.FINISHED:
            self._done += 1
            return None
        return Job(
            name=cell.name,
            module="edge_sharpzo",
            arguments=("tune", *as_arguments(options), "--out="),
            resume=("tune", "--resume="),
            folder=None if self._on_fleet else place,
            files=files,
        )

    def _finished(self, job: Job, ended: Ended) -> None:
        place = self._asked.out / job.name
        try:
            with os_errors_told():
                if job.folder is None:
                    folder.put(place, ended.files)
                if ended.code:
                    raise UserError(ONLY_BEGUN if ended.code == INTERRUPTED else ended.why)
                if not (summary := self.result(self._asked, self._cells[job.name])):
                    raise UserError(NO_RESULTS)
        except UserError as error:
            if ended.code != INTERRUPTED:
                with suppress(OSError):
                    clear_dead(place)
            self._fail(job.name, str(error))
            return
        score = summary.accuracy.classifier.test
        held_out = "nothing is held out" if score is None else f"held-out {percent(score)}"
        self._tell(
            job.name,
            f"{held_out}, {summary.queries.total:,} queries, {summary.seconds.tuning:.1f} s",
        )

    def result(self, asked: Sweep, cell: Cell) -> Summary | None:
        """What came of a run of `asked`; None where it is not finished. Raises UserError, OSError.

        It is compared with what the sweep knows of its photos, which may change meanwhile.
        """
        options = asked.options(cell)
        assert options.out
        return folder.result(options.out, options.checked(), self.record, cell.set)

    def _fail(self, name: str, why: str) -> None:
        self.failed[name] = _with_cure(why, self._asked.out / name)
        self._tell(name, self.failed[name])

    def _tell(self, name: str, told: str) -> None:
        self._done += 1
        failed = name in self.failed
        self._listen(RunEnded(name, self._done, len(self._cells), told, failed))

    def _one_of_each_set(self) -> Iterator[tuple[str, TuneOptions]]:
        """The sets by name, with the options of a run on each.

        Also those whose runs are finished: they were made of the photos of then.
        """
        for cell in {cell.set: cell for cell in self._asked.cells}.values():
            yield cell.set, self._asked.options(cell)

    def _needed(self) -> list[Path]:
        """What every worker has to have under the same path as this machine."""
        options = self._asked.shared
        files = [options.class_names, options.more_classes, options.background]
        files += [] if options.onnx == EMBEDDED_MODEL else [options.onnx]
        return [*self._asked.sets.values(), *(file for file in files if file)]

    def _encode_here(self) -> None:
        for name, options in self._one_of_each_set():
            self._keep(name, encode.encode(replace(options, threads=0), self._listen, self._stop))

    def _encode_there(self, crew: Crew) -> None:
        sets = dict(self._one_of_each_set())
        for name, seen in encode_on_machines(crew, sets, self._listen, self._stop).items():
            self._keep(name, seen)
