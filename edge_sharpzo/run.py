"""A tuning run from its options to its folder: the pipeline's steps, checkpoints and results."""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_sharpzo import pipeline
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.clip.providers import announcement
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.events import Listener, Note, RunBegins
from edge_sharpzo.photos.left_out import UNREADABLE, grouped
from edge_sharpzo.pipeline import Assessed, Prepared, Searched, Task
from edge_sharpzo.runs import folder as run_folder
from edge_sharpzo.runs.checkpoint import Checkpoints
from edge_sharpzo.runs.json_files import settings_record
from edge_sharpzo.runs.lock import FolderLock, locked
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.records import (
    DataRecord,
    LossRecord,
    ModelRecord,
    QueryRecord,
    Seconds,
    Summary,
)
from edge_sharpzo.runs.report import Seen, write_report
from edge_sharpzo.runs.run_config import PlanRecord, RunConfig
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import check_device, versions
from edge_sharpzo.system.memory import peak_mb
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.tuning.methods.plan import Preset
from edge_sharpzo.tuning.records import Record, StopReason
from edge_sharpzo.tuning.start import Start

NO_FILE = (
    "there is no classifier.onnx, since the model's file is not here: `edge-sharpzo predict` asks "
    "the engine"
)
STARTS = ("start", "context_tokens")  # options at fault where a model's learned start does not fit


def tune(
    options: TuneOptions,
    listen: Listener,
    stop: Stop,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path, Summary]:
    """Runs the whole and returns the run's folder and summary.

    `resume` goes on from a checkpoint; `overwrite` deletes an earlier run in the folder.

    Raises UserError; Cancelled where `stop` asks for it before the search has begun.
    """
    check_device()
    if not resume:
        options.check_new()
    task = _opened(options.checked(), listen, resume)
    folder = options.out or run_folder.new_folder()
    task = replace(task, options=replace(task.options, out=folder))
    with locked(folder) as lock:
        run_folder.clear_remains(folder)
        if not resume:
            run_folder.start_afresh(folder, overwrite)
        listen(Note(_place(task)))
        listen(Note(task.start_told, warning=not task.clip.takes_contexts))
        if slow_start := announcement(task.options.provider):
            listen(Note(slow_start, warning=True))
        return _tune_in(folder, lock, task, listen, stop, resume)


def _opened(options: TuneOptions, listen: Listener, resume: bool) -> Task:
    """The task; where a run is to go on, only another model can lack the start it had."""
    bare = RunConfig.read(options.out).bare_names() if resume and options.out else None
    try:
        return pipeline.open_task(options, listen, bare)
    except UserError as error:
        lacks_start = error.field in STARTS and options.start == Start.LEARNED
        # Photos stay here, with a file that is not of what the engine serves.
        serves_other = error.field == "send_photos" and not options.send_photos
        if not resume or not (lacks_start or serves_other):
            raise
        assert options.out
        raise run_folder.another_model(options.out, options.engine) from error


def _tune_in(
    folder: Path, lock: FolderLock, task: Task, listen: Listener, stop: Stop, resume: bool
) -> tuple[Path, Summary]:
    """The run in its folder, which no other process writes to."""
    config, stored = _config(task), None
    if resume:
        stored = RunConfig.read(folder)
        run_folder.check_unchanged(folder, stored, config)
        if stored.options.engine != config.options.engine:
            before = f"the run began with the engine {stored.options.engine}"
            listen(Note(f"{before}: from here on last digits may differ", warning=True))
    else:
        run_folder.write_config(folder, config)
    listen(RunBegins(folder))
    with _told_to_resume(folder, task):
        return _tuned(folder, lock, task, listen, stop, config, stored)


@contextmanager
def _told_to_resume(folder: Path, task: Task) -> Iterator[None]:
    """Where an engine elsewhere fails, the error says how to go on."""
    try:
        yield
    except UserError as error:
        if error.field != "engine" or task.options.engine == LOCAL:
            raise
        raise UserError(
            f"{error}. Nothing is lost: go on with `resume={folder}`, also with another `engine`",
            field="engine",
        ) from error


def _tuned(
    folder: Path,
    lock: FolderLock,
    task: Task,
    listen: Listener,
    stop: Stop,
    config: RunConfig,
    stored: RunConfig | None,
) -> tuple[Path, Summary]:
    """The run from its photos on; `stored` is how it began, where it goes on."""
    prepared = pipeline.prepare(task, listen, stop)
    config = _with_photos(config, prepared)
    if stored and stored.tuned_on:
        run_folder.check_unchanged(folder, stored, config)
    elif lock.is_held():  # no run has come this far in this folder
        run_folder.write_config(folder, config)
    tagged = stored is None or stored.schema_version > 0
    is_there = _told_where_lost(lock, folder, listen)
    checkpoints = Checkpoints(folder, config.fingerprint if tagged else None, is_there)
    if task.clip.takes_contexts:
        searched = pipeline.search(prepared, listen, stop, checkpoints, stored is not None)
    else:
        searched = pipeline.no_search(prepared, listen)
    finished = pipeline.finish(prepared, searched.found)
    assessed = pipeline.assess(prepared, searched.found, finished)
    summary = _summary(prepared, searched, assessed)
    place = folder
    if not is_there():
        place = run_folder.beside(folder)
        listen(Note(f"the results are in {place}", True))
        listen(RunBegins(place))
    records, held_out = searched.outcome.state.records, prepared.splits.test.features
    seen = Seen(prepared.held_out, held_out, assessed.known_scores)
    if told := _write(place, task, config, summary, finished.prompt, records, seen):
        listen(Note(told, warning=True))
    if place == folder and searched.outcome.stopped_because is not StopReason.INTERRUPTED:
        checkpoints.delete()
    return place, summary


def _told_where_lost(lock: FolderLock, folder: Path, listen: Listener) -> Callable[[], bool]:
    """Whether the folder is still there; the first time that it is not, that is told at once."""
    told = False

    def is_there() -> bool:
        nonlocal told
        if lock.is_held():
            return True
        if not told:
            told = True
            lost = f"{folder} was deleted, renamed or replaced"
            goes_on = "the run goes on without checkpoints, and its results go elsewhere"
            listen(Note(f"{lost}: {goes_on}", True))
        return False

    return is_there


def _place(task: Task) -> str:
    """Where it is computed."""
    here = f"{task.options.provider}, {task.options.threads} threads"
    if task.options.engine == LOCAL:
        return here
    what = "text tower" if task.clip.takes_contexts else "texts and photos"
    return f"{what}: {task.clip.where}; here: {here}"


def _config(task: Task) -> RunConfig:
    """All that decides the run but its photos, which are not drawn yet."""
    chosen, found = task.plan, task.found
    return RunConfig(
        options=task.options,
        preset=PlanRecord(
            name=chosen.preset,
            method=chosen.method,
            dim=chosen.dim,
            context_tokens=chosen.context_tokens,
            projection_std=chosen.projection_std,
            budget=chosen.budget,
            settings=settings_record(chosen.settings),
        ),
        model_sha256=task.clip.sha256,
        in_integers=task.in_integers(),
        folders=found.folders,
        names=found.names,
        tuned_on=[],
        without_photos=found.folders[found.learnt :],
    )


def _with_photos(config: RunConfig, prepared: Prepared) -> RunConfig:
    tuned_on, held_out = prepared.tuned_on, prepared.held_out
    return replace(
        config,
        tuned_on=[str(path.resolve()) for path in tuned_on.paths],
        tuned_on_sha256=[file.digest.hex() for file in tuned_on.files],
        tuned_on_sketches=_as_text(prepared.sketches),
        held_out=[str(path.resolve()) for path in held_out.paths],
        held_out_sha256=[file.digest.hex() for file in held_out.files],
        background_sha256=[file.digest.hex() for file in prepared.background.photos.files],
        background_sketches=_as_text(prepared.background.sketches),
        photos_sha256=prepared.photos_sha256,
    )


def _as_text(sketches: np.ndarray) -> list[str]:
    return [base64.b64encode(each).decode() for each in sketches]


def _summary(prepared: Prepared, searched: Searched, assessed: Assessed) -> Summary:
    task, splits, outcome = prepared.task, prepared.splits, searched.outcome
    options, card = task.options, task.clip.card
    # Where nothing is searched, the head alone learns, from the borrowed photos too.
    refitted = outcome.state.before_refit is not None or not task.clip.takes_contexts
    return Summary(
        method=task.plan.method,
        preset=str(task.plan.preset),
        paper_task=options.paper_task if task.plan.preset is Preset.PAPER else None,
        seed=options.seed,
        start=task.plan.start,
        model=ModelRecord(card.name, card.weights, task.clip.sha256),
        data=DataRecord(
            classes=len(task.found.names),
            train=len(splits.train.labels),
            val=len(splits.val.labels),
            test=len(splits.test.labels),
            borrowed=len(splits.borrowed.labels) if refitted else 0,
            shots=options.shots,
            skipped=sum(file.reason == UNREADABLE for file in prepared.left_out),
            left_out=grouped(prepared.left_out),
        ),
        accuracy=assessed.accuracy,
        calibration=assessed.calibration,
        loss=LossRecord(outcome.state.records[0].loss, outcome.validated.record.loss),
        queries=QueryRecord(
            searched.queries.total(), {str(kind): n for kind, n in searched.queries.items()}
        ),
        seconds=Seconds(
            features=round(prepared.seconds, 2),
            tuning=round(searched.seconds, 2),
            total=round(searched.earlier + time.monotonic() - task.started, 2),
        ),
        peak_rss_mb=peak_mb(),
        stopped_because=str(outcome.stopped_because),
        provider=options.provider,
        engine=options.engine,
        threads=options.threads,
        versions=versions(),
        without_photos=assessed.without_photos,
        known=assessed.known,
        photo_check=pipeline.checked_run(prepared, searched.found.as_written),
    )


def _write(
    folder: Path,
    task: Task,
    config: RunConfig,
    summary: Summary,
    prompt: TunedPrompt,
    records: Sequence[Record],
    seen: Seen,
) -> str | None:
    """Writes everything that a run leaves; the report last, without which a run is whole.

    Returns what to tell of `classifier.onnx`, if there is anything. Raises UserError.
    """
    with run_folder.writing_results(folder):
        task.clip.check_unchanged()
        config.write(folder)
        told: str | None = NO_FILE
        if file := task.clip.file:
            from edge_sharpzo.classifier.onnx_file import write_classifier

            told = write_classifier(folder, file, prompt, task.options.plain_classifier)
        run_folder.finish(folder, summary, records, prompt)
        write_report(folder, summary, config, records, prompt, seen)
    return told
