"""What a sweep is asked for, beside the options that all its runs share; light, for `--help`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.runs.options import option
from edge_sharpzo.tuning.methods.registry import DEFAULT_METHOD

Numbers = str | int | Iterable[int]
Names = str | Iterable[str]


@dataclass(frozen=True)
class SweepOptions:
    """There is a run for each folder, method, number of shots, seed and budget."""

    data: list[Path] = option(None, "folder of photos; for several, several times")
    seeds: Numbers = option("0", "of the runs, such as 0-4 or 0,7")
    shots: Numbers = option("16", "training photos per class, such as 1,4,16")
    methods: Names = option(DEFAULT_METHOD, "comma-separated")
    budgets: Numbers | None = option(
        None, "queries of a run, such as 1000,5000; as the method has it if not given"
    )
    out: Path | None = option(
        None, "folder for all runs; runs/sweep if not given", default_shown=False
    )
    workers: int = option(0, "runs at once on this machine; 0: one for each core")
    threads: int = option(
        0,
        "threads of each run; 0: as the sweep began with, at first the cores divided by --workers, "
        "or 1 without that, however few runs there are, and on a fleet",
    )
    engine: str = option(LOCAL, f"{LOCAL}, or a Dask scheduler with workers: dask://HOST:8786")


def flag_type(kind: Any) -> Any:
    """What the command line takes for a field: numbers and names come as text there."""
    plain = {Numbers: str, Names: str, Numbers | None: str | None}
    return plain.get(kind, kind)
