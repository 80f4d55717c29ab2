"""A sweep's folder: the plan, the runs in it, and the table of what came out."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import known_as
from edge_sharpzo.runs.folder import FILES, is_finished
from edge_sharpzo.runs.json_files import SCHEMA_VERSION, as_json, read_record
from edge_sharpzo.runs.options import MOST_THREADS, SWEEP_AXES, TuneOptions, info_of, recorded
from edge_sharpzo.runs.records import Summary
from edge_sharpzo.runs.run_config import CONFIG, RunConfig
from edge_sharpzo.sweeping.fleet import SAME
from edge_sharpzo.sweeping.plan import Cell, Sweep
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import versions
from edge_sharpzo.system.storage import PART, write_text

PLAN, TABLE = "sweep.json", "sweep.md"
PLACES = ("data", "out", "onnx")  # options that say where, and not what


class State(StrEnum):
    """How far a run of the sweep is."""

    NEW = "new"
    BEGUN = "begun"
    FINISHED = "finished"


@dataclass(frozen=True)
class Record:
    """`sweep.json`: all that has been asked for in a folder, and the table."""

    options: dict[str, Any]  # those that all runs share
    model_sha256: str
    versions: dict[str, str]
    sets: dict[str, str]  # absolute folders by name
    runs: list[Cell]
    table: list[dict[str, Any]] = field(default_factory=list)  # as `table.rows` makes them
    failed: dict[str, str] = field(default_factory=dict)  # why, by the run's name
    # Of all photos of a set, as `encode.Seen` has it, by the set's name; none until they are seen.
    photos_sha256: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def write(self, out: Path) -> None:
        """Writes it to the sweep's folder."""
        text = json.dumps(as_json(self), indent=1, ensure_ascii=True)
        write_text(out / PLAN, text + "\n")


def read(out: Path) -> Record | None:
    """What the folder has, None where no sweep has begun. Raises UserError."""
    file = out / PLAN
    if not file.exists():
        return None
    try:
        record = read_record(file, Record)
        _check(record)
        return record
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} is damaged, or made by another version ({error}): move it away, and the same "
            "command goes on with the runs beside it"
        ) from error


def _check(record: Record) -> None:
    """Raises ValueError for what no sweep writes and later ones would take over."""
    threads = record.options.get("threads", 1)
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        raise ValueError("its threads are no number of threads")
    for cell in record.runs:
        if cell.set not in record.sets or Path(cell.name).name != cell.name:
            raise ValueError("a run of it is of no set")


def shared_options(options: TuneOptions) -> dict[str, Any]:
    """The options that all runs of a sweep have, as they are recorded."""
    given = {**options.given(), "preset": str(options.preset)}
    return {name: value for name, value in given.items() if name not in (*SWEEP_AXES, "onnx")}


def record_of(sweep: Sweep, model_sha256: str) -> Record:
    """What the sweep is."""
    every = versions()
    return Record(
        options=shared_options(sweep.shared),
        model_sha256=known_as(model_sha256),
        versions={package: every[package] for package in SAME},
        sets={name: recorded(folder) for name, folder in sweep.sets.items()},
        runs=sweep.cells,
    )


def together(before: Record | None, now: Record, out: Path) -> Record:
    """What has been asked for in the folder, then and now.

    Raises UserError where results could not be compared.
    """
    if before is None or not (before := _accepted(before, out)).runs:
        return now
    found = [(f"`{name}`", a, b) for name, a, b in _differing(before.options, now.options)]
    found += _differing(before.versions, now.versions)
    sets = {name: now.sets[name] for name in now.sets if name in before.sets}
    found += _differing({name: before.sets[name] for name in sets}, sets)
    if before.model_sha256 != now.model_sha256:
        found.append(("`onnx`", before.model_sha256[:12], now.model_sha256[:12]))
    if found:
        told = "; ".join(f"{name} was {_said(a)} and is {_said(b)}" for name, a, b in found)
        raise UserError(
            f"the runs in {out} could not be compared with these ({told}): give what they were "
            "made with, or choose another `out`",
            field="out",
        )
    runs = [*before.runs, *(cell for cell in now.runs if cell not in before.runs)]
    return replace(
        now,
        sets=before.sets | now.sets,
        runs=runs,
        failed=before.failed,
        photos_sha256=before.photos_sha256,
    )


def _accepted(record: Record, out: Path) -> Record:
    """The record without sets whose photos were refused, or were not yet looked at."""
    seen = record.photos_sha256
    return _of(record, [c for c in record.runs if c.set in seen or _has_begun(out / c.name)])


def without_new(record: Record, before: Record | None, failed: Iterable[str], out: Path) -> Record:
    """The record without runs that have neither begun nor `failed`, but for those of `before`.

    For a command that is refused: what it has asked for is not to be waited for.
    """
    kept = {cell.name for cell in before.runs} if before else set[str]()
    kept |= set(failed)
    return _of(record, [c for c in record.runs if c.name in kept or _has_begun(out / c.name)])


def _of(record: Record, runs: list[Cell]) -> Record:
    sets = {name: record.sets[name] for name in dict.fromkeys(cell.set for cell in runs)}
    return replace(record, runs=runs, sets=sets)


def _has_begun(place: Path) -> bool:
    with suppress(OSError):
        return (place / CONFIG).exists()
    return False


def with_photos(record: Record, name: str, sha256: str, out: Path) -> Record:
    """The record with what the photos of the set `name` are now.

    Raises UserError where finished runs of the set were made of other photos.
    """
    known = record.photos_sha256.get(name, sha256)
    runs = [out / cell.name for cell in record.runs if cell.set == name]
    if known != sha256 and (finished := [run for run in runs if _is_of_others(run, sha256)]):
        raise UserError(
            f"the photos in {record.sets[name]} are not those that {finished[0]} was made of: "
            "results could not be compared; put the photos back, or choose another `out`",
            field="out",
        )
    return replace(record, photos_sha256={**record.photos_sha256, name: sha256})


def _is_of_others(run: Path, sha256: str) -> bool:
    """Whether there are results of other photos; such that cannot be read are no results."""
    with suppress(UserError, OSError):
        return is_finished(run) and RunConfig.read(run).photos_sha256 != sha256
    return False


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys([*before, *now])
    pairs = [(name, before.get(name), now.get(name)) for name in names]
    return [(name, a, b) for name, a, b in pairs if a != b]


def _said(value: Any) -> str:
    return "not given" if value is None else f"'{value}'"


def state_of(folder: Path, options: TuneOptions) -> State:
    """How far the run in `folder` is. Raises UserError where that is another run, or damaged."""
    if _config_of(folder, options) is None:
        return State.NEW
    return State.FINISHED if is_finished(folder) else State.BEGUN


def result(place: Path, options: TuneOptions, record: Record, name: str) -> Summary | None:
    """What came of the run in `place`, on the set `name`; None where it is not finished.

    Raises UserError where that is another run, damaged, or made of something else than the others;
    OSError.
    """
    config = _config_of(place, options)
    if config is None or not is_finished(place):
        return None
    other = ""
    if known_as(config.model_sha256) != record.model_sha256:
        other = "another model"
    elif record.photos_sha256.get(name, config.photos_sha256) != config.photos_sha256:
        other = "other photos or class names"
    if other:
        raise UserError(
            f"it was made of {other} than the sweep began with, and is left out: put those of then "
            f"back, and {again(place)}"
        )
    return Summary.read(place)


def again(place: Path) -> str:
    """How a run in a sweep's folder is tuned again."""
    return f"move {place} away: a sweep that asks for this run then makes it anew"


def _config_of(folder: Path, options: TuneOptions) -> RunConfig | None:
    """Of the run in `folder`; None where there is none. Raises UserError where it is another."""
    if not (folder / CONFIG).exists():
        return None
    config = RunConfig.read(folder)
    stored = config.options
    for each in fields(TuneOptions):
        wanted, has = recorded(getattr(options, each.name)), recorded(getattr(stored, each.name))
        if each.name not in PLACES and wanted is not None and str(wanted) != str(has):
            shown = f"`{each.name}`" if info_of(each.name).shown else each.name
            raise UserError(
                f"{folder} holds another run ({shown} was {_said(has)} and is {_said(wanted)}): "
                "move it away, or choose another `out`",
                field="out",
            )
    return config


def files_of(folder: Path) -> dict[str, bytes]:
    """What a run that has begun holds, by name."""
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes the run's folder of files that a worker has brought: whole, or not at all.

    Raises OSError.
    """
    if CONFIG not in files:  # it had not begun
        return
    beside = folder.with_name(f".{folder.name}{PART}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in FILES:
        if name in files:
            with (beside / name).open("wb") as stream:
                stream.write(files[name])
                stream.flush()
                os.fsync(stream.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def clear_remains(out: Path) -> None:
    """Deletes what a killed process was making of files that a worker had brought."""
    for beside in out.glob(f".*{PART}"):
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
