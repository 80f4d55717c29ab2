"""A run's folder on disk: how one starts, goes on and is finished."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError

from edge_sharpzo.classifier.tuned import PROMPT, TunedPrompt
from edge_sharpzo.runs.checkpoint import Checkpoints
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.records import CONFIG, SUMMARY, RunConfig, Summary, json_line
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import write_text
from edge_sharpzo.tuning.records import Record

HISTORY = "history.jsonl"
RUNS = Path("runs")  # where runs without a folder of their own go


def new_folder() -> Path:
    """A folder for a run that was given none, named after the time; it exists afterwards.

    Raises UserError where it cannot be made.
    """
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        RUNS.mkdir(exist_ok=True)
        for number in range(1, 1000):
            folder = RUNS / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:  # a run of the same second
                continue
            return folder
    except OSError as error:
        raise _unwritable(RUNS, error) from error
    raise UserError(f"{RUNS} is full of runs of this second: give another `out`", field="out")


def create(folder: Path, config: RunConfig) -> None:
    """Starts a run in `folder`. Raises UserError if it holds results already or is unwritable."""
    if any((folder / name).exists() for name in (PROMPT, HISTORY, SUMMARY)):
        raise UserError(f"{folder} already holds a run: choose another `out`, or delete it", "out")
    if (folder / CONFIG).exists():
        try:
            RunConfig.read(folder)
        except UserError as error:
            raise UserError(
                f"{folder / CONFIG} is not a file of edge-sharpzo: choose another `out`", "out"
            ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.write(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to {folder} ({error.strerror}): choose another `out`", "out")


def resumed_options(folder: Path) -> TuneOptions:
    """The options that the run in `folder` was started with. Raises UserError if it is finished."""
    config = RunConfig.read(folder)
    if (folder / SUMMARY).exists() and not Checkpoints(folder).path.exists():
        raise UserError(
            f"{folder} is finished ({SUMMARY} is there): tune again with another `out`", "resume"
        )
    return replace(config.options, out=folder)


def check_unchanged(folder: Path, config: RunConfig) -> None:
    """Raises UserError when the model or the photos are not those that the run started with."""
    stored = RunConfig.read(folder)
    started = "the run was started with"
    causes = [
        (
            stored.model_sha256 == config.model_sha256,
            f"the model file is another one than {started}: put that one back",
        ),
        (
            stored.tuned_on == config.tuned_on,
            f"the photos are not those that {started}: put them back",
        ),
        (
            stored.names == config.names,
            f"the class names are not those that {started}: put them back",
        ),
    ]
    for same, cause in causes:
        if not same:
            raise UserError(f"cannot go on with {folder}: {cause}, or tune again", "resume")


def finish(folder: Path, summary: Summary, records: Sequence[Record], prompt: TunedPrompt) -> None:
    """Writes the results; the summary last, so that its presence means a whole run.

    Raises UserError where it cannot.
    """
    with writing_results(folder):
        prompt.save(folder)
        write_text(folder / HISTORY, "".join(f"{json_line(record)}\n" for record in records))
        summary.write(folder)


@contextmanager
def writing_results(folder: Path) -> Iterator[None]:
    """Raises UserError where the results cannot be written."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write the results to {folder} ({error}): make room there and go on with "
            f"`resume={folder}`"
        ) from error
