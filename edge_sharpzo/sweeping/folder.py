"""A sweep's folder: the plan, the runs in it, and the table of what came out."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import known_as
from edge_sharpzo.runs.folder import FILES, is_finished
from edge_sharpzo.runs.json_files import SCHEMA_VERSION, as_json, read_record
from edge_sharpzo.runs.options import SWEEP_AXES, TuneOptions, info_of, recorded
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
        return read_record(file, Record)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} is damaged, or made by another version ({error}): move it away, and the same "
            "command goes on with the runs beside it"
        ) from error


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
    if before is None:
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
    return replace(now, sets=before.sets | now.sets, runs=runs, photos_sha256=before.photos_sha256)


def with_photos(record: Record, name: str, sha256: str, out: Path) -> Record:
    """The record with what the photos of the set `name` are now.

    Raises UserError where finished runs of the set were made of other photos.
    """
    known = record.photos_sha256.get(name, sha256)
    runs = [out / cell.name for cell in record.runs if cell.set == name]
    if known != sha256 and (finished := [run for run in runs if is_finished(run)]):
        raise UserError(
            f"the photos in {record.sets[name]} are not those that {finished[0]} was made of: "
            "results could not be compared; put the photos back, or choose another `out`",
            field="out",
        )
    return replace(record, photos_sha256={**record.photos_sha256, name: sha256})


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys([*before, *now])
    pairs = [(name, before.get(name), now.get(name)) for name in names]
    return [(name, a, b) for name, a, b in pairs if a != b]


def _said(value: Any) -> str:
    return "not given" if value is None else f"'{value}'"


def state_of(folder: Path, options: TuneOptions) -> State:
    """How far the run in `folder` is. Raises UserError where that is another run, or damaged."""
    if not (folder / CONFIG).exists():
        return State.NEW
    stored = RunConfig.read(folder).options
    for each in fields(TuneOptions):
        wanted, has = recorded(getattr(options, each.name)), recorded(getattr(stored, each.name))
        if each.name not in PLACES and wanted is not None and str(wanted) != str(has):
            shown = f"`{each.name}`" if info_of(each.name).shown else each.name
            raise UserError(
                f"{folder} holds another run ({shown} was {_said(has)} and is {_said(wanted)}): "
                "move it away, or choose another `out`",
                field="out",
            )
    return State.FINISHED if is_finished(folder) else State.BEGUN


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


def clear_dead(folder: Path) -> None:
    """Deletes a run that failed before its first checkpoint: nothing of it could go on."""
    if folder.is_dir() and [path.name for path in folder.iterdir()] == [CONFIG]:
        (folder / CONFIG).unlink()
        folder.rmdir()


def clear_remains(out: Path) -> None:
    """Deletes what a killed process was making of files that a worker had brought."""
    for beside in out.glob(f".*{PART}"):
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
