"""What a sweep is asked for, and the runs that come of it."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import product
from math import prod
from operator import index
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.runs.folder import RUNS
from edge_sharpzo.runs.options import TuneOptions, info_of
from edge_sharpzo.sweeping.options import Names, Numbers, SweepOptions
from edge_sharpzo.system.errors import UserError, not_one_of
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.registry import METHODS, plan

MOST_RUNS = 10_000
MOST_WORKERS = 1024
OUT = RUNS / "sweep"
MOST_NAME, MOST_PATH = 255, 4096  # bytes, where the system does not say
BESIDE = 6  # bytes that the name of a folder beside a run's has more, while it is being made
IN_A_RUN = 64  # bytes of the longest path within a run's folder, at most


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    set: str  # the name of the folder of photos
    method: str
    shots: int
    seed: int
    budget: int | None = None  # queries; None: as the method has it

    @property
    def name(self) -> str:
        """Of the run's folder."""
        queries = "" if self.budget is None else f"-{self.budget}"
        return f"{self.set}-{self.method}-{self.shots}shots-seed{self.seed}{queries}"


@dataclass(frozen=True)
class Sweep:
    """What is asked for, checked."""

    sets: dict[str, Path]  # absolute
    cells: list[Cell]
    shared: TuneOptions  # what all runs have; its axes mean nothing
    out: Path
    workers: int  # on this machine; 0: one for each core
    engine: str  # LOCAL, or the address of a scheduler

    def options(self, cell: Cell) -> TuneOptions:
        """Of one of the runs."""
        return replace(
            self.shared,
            data=self.sets[cell.set],
            out=self.out / cell.name,
            shots=cell.shots,
            seed=cell.seed,
            method=cell.method,
            budget=cell.budget,
        )

    def queries(self, cell: Cell) -> int:
        """That the run will take, looks at validation aside; 0 where time ends it."""
        return planned(self.options(cell)).planned or 0


def planned(options: TuneOptions) -> Plan:
    """How the method of a run is made ready. Raises UserError."""
    timed = options.minutes is not None
    request = Request(options.budget, timed, options.preset, options.paper_task)
    return plan(options.method, request)


def sweep_of(asked: SweepOptions, shared: TuneOptions) -> Sweep:
    """Checks what is `asked` for; `shared` are the options that all runs have.

    Raises UserError.
    """
    sets = _sets(asked.data)
    axes: list[Sequence[Any]] = [
        list(sets),
        _methods(asked.methods),
        numbers(asked.shots, "shots", "shots"),
        numbers(asked.seeds, "seeds", "seed"),
        [None] if asked.budgets is None else numbers(asked.budgets, "budgets", "budget"),
    ]
    if (count := prod(map(len, axes))) > MOST_RUNS:
        raise UserError(
            f"that is {count:,} runs: a sweep has {MOST_RUNS:,} at most; take fewer `seeds`, "
            "`shots`, `methods` or `budgets`, or several sweeps",
            field="seeds",
        )
    cells = [Cell(*axis) for axis in product(*axes)]
    shared = replace(shared, threads=asked.threads).with_absolute_paths()
    for method, budget in {(cell.method, cell.budget): None for cell in cells}:
        one = replace(shared, method=method, budget=budget)
        one.check_new()
        planned(one.checked())
    _check_workers(asked)
    out = _out(asked, sets)
    _check_names(cells, sets, out)
    return Sweep(sets, cells, shared, out, asked.workers, asked.engine)


def _check_names(cells: Iterable[Cell], sets: Mapping[str, Path], out: Path) -> None:
    """Raises UserError where the folder of a run, or a file in it, cannot be called as it would."""
    longest = max(cells, key=lambda cell: len(os.fsencode(cell.name)))
    size = len(os.fsencode(longest.name)) + BESIDE
    most, most_of_path = _longest_names(out)
    if size > most:
        raise UserError(
            f"{sets[longest.set]} has too long a name: a folder '{longest.name}' would be "
            f"{size - most} bytes too long; rename it, or give `data` a link with a short name",
            field="data",
        )
    path = len(os.fsencode(out)) + size + IN_A_RUN
    if path > most_of_path:
        raise UserError(
            f"{out} has too long a path: those of runs in it would be {path - most_of_path} bytes "
            "too long; choose an `out` with a shorter one",
            field="out",
        )


def _longest_names(out: Path) -> tuple[int, int]:
    """Bytes that the name of a file, and its path, may have where `out` will be."""
    for there in (out, *out.parents):
        with suppress(AttributeError, OSError, ValueError):  # Windows knows no such question
            return os.pathconf(there, "PC_NAME_MAX"), os.pathconf(there, "PC_PATH_MAX")
    return MOST_NAME, MOST_PATH


def _check_workers(asked: SweepOptions) -> None:
    if not 0 <= asked.workers <= MOST_WORKERS:
        raise UserError(
            f"`workers={asked.workers}`: give the number of runs at once, or 0 for one on "
            "each core",
            field="workers",
        )
    if asked.workers and asked.engine != LOCAL:
        raise UserError(
            f"`workers` is for runs on this machine, and {asked.engine} has its own: leave it out",
            field="workers",
        )


def _out(asked: SweepOptions, sets: Mapping[str, Path]) -> Path:
    out = (asked.out or OUT).absolute()
    for folder in sets.values():
        if out.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{out} lies among the photos of {folder}: choose another `out`", field="out"
            )
    return out


def _sets(data: Sequence[Path]) -> dict[str, Path]:
    """Folders by name. Raises UserError for one that is missing, has no name, or one twice."""
    if not data:
        raise UserError("give `data`, a folder of photos, once or several times", field="data")
    sets = dict[str, Path]()
    for given in data:
        folder = given.absolute()
        if not folder.is_dir():
            raise UserError(f"{given} is not a folder: give `data` a folder of photos", "data")
        name = folder.name if folder.name not in ("", "..") else folder.resolve().name
        if not name:
            raise UserError(f"{given} has no name that runs could have: move the photos", "data")
        if any(folder.samefile(other) for other in sets.values()):
            raise UserError(f"`data`: {given} is there twice; name it once", "data")
        if name in sets:
            raise UserError(
                f"{sets[name]} and {folder} are both called '{name}', as their runs would be: give "
                "each `data` once, under a name of its own",
                field="data",
            )
        sets[name] = folder
    return sets


def _methods(given: Names) -> list[str]:
    named = given.split(",") if isinstance(given, str) else list(given)
    methods = [method.strip() for method in named]
    for method in methods:
        if method not in METHODS:
            raise not_one_of(METHODS, "methods", method)
    _check_once(methods, "methods")
    return methods


def numbers(given: Numbers, field: str, option: str) -> list[int]:
    """The numbers of `0-4` and `1,4,16`, or those that are given as such.

    `option` is what they are of a run. Raises UserError, which names `field`.
    """
    if isinstance(given, str):
        found = list(_numbers_of(given, field))
    else:
        every = list(given) if isinstance(given, Iterable) else [given]
        if not every or not all(_is_whole(number) for number in every):
            raise _no_numbers(str(given), field)
        found = [index(number) for number in every]
    for number in found:
        if not (info := info_of(option)).allowed(number):
            raise UserError(f"`{field}={number}`: {info.cure}", field=field)
    _check_once([str(number) for number in found], field)
    return found


def _is_whole(number: object) -> bool:
    return hasattr(number, "__index__") and not isinstance(number, bool)


def _numbers_of(text: str, field: str) -> Iterator[int]:
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,16})(?:\s*-\s*([0-9]{1,16}))?\s*", part)
        if match is None:
            raise _no_numbers(text, field)
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise UserError(
                f"`{field}={text}`: {first}-{last} goes downwards; write {last}-{first}", field
            )
        if last - first >= MOST_RUNS:
            raise UserError(
                f"`{field}={text}`: {last - first + 1:,} numbers, and a sweep has {MOST_RUNS:,} "
                "runs at most",
                field,
            )
        yield from range(first, last + 1)


def _no_numbers(given: str, field: str) -> UserError:
    return UserError(f"`{field}={given}`: write numbers as 0-4 or 1,4,16", field=field)


def _check_once(given: Sequence[str], field: str) -> None:
    if twice := [each for i, each in enumerate(given) if each in given[:i]]:
        raise UserError(f"`{field}`: {twice[0]} is there twice; name it once", field=field)


def as_arguments(options: TuneOptions) -> tuple[str, ...]:
    """The options as the command line takes them, but for `out`.

    The embedded model is left out: each machine has its own copy.
    """
    made = []
    for each in fields(options):
        value = getattr(options, each.name)
        hidden = not info_of(each.name).shown or each.name == "out"
        if hidden or value is None or value is False:
            continue
        if each.name == "onnx" and value == EMBEDDED_MODEL:
            continue
        flag = f"--{each.name.replace('_', '-')}"
        text = value.value if isinstance(value, StrEnum) else str(value)
        made.append(flag if value is True else f"{flag}={text}")
    return tuple(made)
