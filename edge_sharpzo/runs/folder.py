"""A run's folder on disk: how one starts, goes on and is finished."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_sharpzo.classifier.tuned import CLASSIFIER, LABELS, PROMPT, TunedPrompt
from edge_sharpzo.clip.embedded import model_file
from edge_sharpzo.engines.address import is_address
from edge_sharpzo.runs.checkpoint import FILE, Checkpoints
from edge_sharpzo.runs.json_files import json_line
from edge_sharpzo.runs.lock import LOCK, locked, unwritable
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.records import SUMMARY, Summary
from edge_sharpzo.runs.report import REPORT
from edge_sharpzo.runs.run_config import CONFIG, RunConfig
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import clear_half_written, write_text
from edge_sharpzo.system.text import some
from edge_sharpzo.tuning.records import Record, StopReason

HISTORY = "history.jsonl"
FILES = (SUMMARY, HISTORY, PROMPT, FILE, CONFIG, CLASSIFIER, LABELS, REPORT)  # that a run writes
RUNS = Path("runs")  # where runs without a folder of their own go


def new_folder() -> Path:
    """A folder for a run that was given none, named after the time; it exists afterwards.

    Raises UserError where it cannot be made.
    """
    try:
        RUNS.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(RUNS, error) from error
    return _made(RUNS / time.strftime("%Y-%m-%d_%H-%M-%S")).absolute()


def beside(folder: Path) -> Path:
    """A new folder for results that cannot go to a run's own; it exists afterwards.

    It lies beside that one, or where nothing can be made there, where temporary files lie.
    """
    folder = folder.absolute()  # `.` has no name
    try:
        return _made(folder.with_name(f"{folder.name}-rescued"))
    except UserError:
        return Path(tempfile.mkdtemp(prefix=f"{folder.name}-rescued-"))


def _made(wanted: Path) -> Path:
    """The folder `wanted`, or with a number behind its name where that one is there already."""
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise unwritable(wanted.parent, error) from error
    raise UserError(f"{wanted.parent} is full of {wanted.name}: give another `out`", field="out")


def clear_remains(folder: Path) -> None:
    """Deletes what a killed process was writing in a run's folder."""
    for name in FILES:
        clear_half_written(folder / name)


def clear_dead(folder: Path) -> None:
    """Deletes a run that failed or was killed before its first checkpoint: nothing could go on."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {LOCK} == {CONFIG}:
        with suppress(UserError, OSError):  # it lives, or may not be deleted
            with locked(folder):
                (folder / CONFIG).unlink()
            folder.rmdir()


def start_afresh(folder: Path, overwrite: bool) -> None:
    """Makes sure that nothing of an earlier run is in `folder`.

    With `overwrite` it is deleted, file by file: only what runs write. Raises UserError otherwise.
    """
    left = [name for name in FILES if (folder / name).exists()]
    if CONFIG in left and not overwrite:
        try:
            RunConfig.read(folder)
        except UserError as error:
            raise UserError(
                f"{folder / CONFIG} is not a file of edge-sharpzo: choose another `out`", "out"
            ) from error
    if left and not overwrite:
        goes_on = CONFIG in left and (SUMMARY not in left or FILE in left)
        go_on = f", go on with it by `resume={folder}`" if goes_on else ""
        raise UserError(
            f"{folder} already holds a run ({left[0]}): choose another `out`{go_on}, or give "
            "`overwrite`",
            "out",
        )
    for name in sorted(left, key=lambda name: name == CONFIG):  # last: it says that a run is here
        (folder / name).unlink()


def write_config(folder: Path, config: RunConfig) -> None:
    """Starts a run in `folder`. Raises UserError where it cannot be written to."""
    try:
        config.write(folder)
    except OSError as error:
        raise unwritable(folder, error) from error


def is_finished(folder: Path) -> bool:
    """Whether nothing is left to resume: results and report are there, and no checkpoint.

    An interrupted run has results too; one whose checkpoint was deleted starts over.
    """
    return (
        (folder / SUMMARY).exists()
        and (folder / REPORT).exists()  # written last
        and not Checkpoints(folder).path.exists()
        and Summary.read(folder).stopped_because != StopReason.INTERRUPTED
    )


def resumed_options(folder: Path, again: Mapping[str, Any] | None = None) -> TuneOptions:
    """The options that the run in `folder` was started with, but for those given `again`.

    Raises UserError if it is finished.
    """
    config = RunConfig.read(folder)
    if is_finished(folder):
        raise UserError(f"{folder} is finished: tune again with another `out`", "resume")
    model = model_file(config.options.onnx, config.model_sha256)
    return replace(config.options, out=folder, onnx=model, **(again or {}))


def another_model(folder: Path, engine: str) -> UserError:
    """What to tell where the model is not the one that the run in `folder` began with.

    `engine` is where it runs now.
    """
    what, cure = "the model file is another one", "put that one back"
    if is_address(engine):
        what = f"what {engine} serves is another model"
        cure = "give `engine` where the run's own model is served"
    return UserError(
        f"cannot go on with {folder}: {what} than the run was started with: {cure}, or tune again",
        field="resume",
    )


def check_unchanged(folder: Path, stored: RunConfig, config: RunConfig) -> None:
    """Compares the run's settings as they are `stored` in `folder` with what they are now.

    Raises UserError when the model, the class names, or the photos where they are drawn, are not
    those that the run started with.
    """
    cause, started = None, "the run was started with"
    if stored.model != config.model:
        raise another_model(folder, config.options.engine)
    if changed := _changed_products(stored, config):
        cure = "go on with it where it was started, or on a processor of that kind"
        raise UserError(f"cannot go on with {folder}: {changed}: {cure}, or tune again", "resume")
    if config.tuned_on and (changed := _changed_photos(stored, config)):
        cause = f"the photos are not those that {started} ({changed}): put them back"
    elif stored.names != config.names:
        cause = _changed_classes(stored, config)
    elif config.tuned_on and sorted(stored.background_sha256) != sorted(config.background_sha256):
        cause = (
            f"the background photos are not those that {started} ("
            f"{len(stored.background_sha256)} then, {len(config.background_sha256)} now): put "
            "them back"
        )
    if cause:
        raise UserError(f"cannot go on with {folder}: {cause}, or tune again", "resume")


def _changed_products(stored: RunConfig, config: RunConfig) -> str | None:
    """What a tower would compute in another way now; None where nothing is known to."""
    if stored.in_integers is None or config.in_integers is None:
        return None
    before, now = set(stored.in_integers), set(config.in_integers)
    if not (changed := sorted(before ^ now)):
        return None
    ways = ("floating point", "integers")
    was, is_now = (ways[changed[0] in towers] for towers in (before, now))
    return (
        f"the model's 8-bit weights were multiplied in {was} when the run was started, and would "
        f"be in {is_now} here ({', '.join(changed)} tower), which gives other numbers"
    )


def _changed_classes(stored: RunConfig, config: RunConfig) -> str:
    """What differs, and what to put back."""
    started = "those that the run was started with"
    before, now = set(stored.folders), set(config.folders)
    if gone := sorted(before - now):
        return f"the classes are not {started}: put the photos of '{gone[0]}' back"
    if new := sorted(now - before):
        return f"the classes are not {started}: move the new folder '{new[0]}' away"
    return f"the class names are not {started}: put them back"


def _changed_photos(stored: RunConfig, config: RunConfig) -> str | None:
    """What differs, by content where both know it; None where nothing does."""
    before, now = stored.photos(), config.photos()
    known = bool(stored.tuned_on_sha256)
    if [digest for _, digest in before] == [digest for _, digest in now] and known:
        return None  # the same photos, wherever they lie
    if not known and [path for path, _ in before] == [path for path, _ in now[: len(before)]]:
        return None  # version 0.1.0 kept no digests
    old, new = dict(before), dict(now)
    edited = [path for path in old if path in new and old[path] != new[path] and known]
    gone = [path for path in old if path not in new]
    added = [path for path in new if path not in old and (known or path in config.tuned_on)]
    changes = (("edited", edited), ("new", added), ("gone, unreadable or a copy", gone))
    parts = [f"{what}: {some(paths, 1)}" for what, paths in changes if paths]
    return "; ".join(parts) or "in another order"


def finish(folder: Path, summary: Summary, records: Sequence[Record], prompt: TunedPrompt) -> None:
    """Writes the results; the summary last, so that where it is, the others are too.

    Raises OSError where it cannot.
    """
    prompt.save(folder)
    write_text(folder / HISTORY, "".join(f"{json_line(record)}\n" for record in records))
    summary.write(folder)


@contextmanager
def writing_results(folder: Path) -> Iterator[None]:
    """Raises UserError where the results cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write the results to {folder} ({error}): make room there and go on with "
            f"`resume={folder}`"
        ) from error
