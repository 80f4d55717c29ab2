"""`edge-sharpzo collect`: the results of many runs, such as a fleet's, in one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.flags import JsonFlag
from edge_sharpzo.cli.terminal import csv_lines, out, out_json, out_table, say
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import listed, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_sharpzo.runs.collecting import Collected
    from edge_sharpzo.runs.side_by_side import Row

MOST_LINES = 20  # of a kind, on a terminal; JSON has all
MOST_VALUES = 3  # of one setting, likewise
AXES = ("set", "model", "method", "start", "shots", "budget", "classes", "head")


def command(
    runs: Annotated[list[Path], typer.Argument(help="run folders, or folders that hold some")],
    csv: Annotated[
        Path | None, typer.Option(help="file for a table with a row for each run")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Shows the results of many runs, and which of them stand out."""
    with user_errors():
        from edge_sharpzo.runs.collecting import collect

        if csv:
            _check_file(csv)
        collected = collect(runs)
        if csv:
            _write_csv(csv, collected)
        if as_json:
            out_json(collected.as_dict())
        else:
            _print(collected)


def _check_file(csv: Path) -> None:
    """Raises UserError where there can be no such file."""
    if csv.is_dir():
        raise UserError(f"`csv={csv}` is a folder: name a file in it", "csv")
    if not csv.absolute().parent.is_dir():
        raise UserError(
            f"`csv={csv}`: there is no folder {csv.parent}; make it, or choose another place", "csv"
        )


def _write_csv(file: Path, collected: "Collected") -> None:
    from edge_sharpzo.system.storage import write_text

    rows = [{**row, **row["versions"]} for row in collected.rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.remove("versions")
    cells = ({name: _text(value) for name, value in row.items()} for row in rows)
    write_text(file, "".join(csv_lines(columns, cells)))


def _text(value: Any) -> Any:
    """A list as one cell, and an empty cell where there is nothing."""
    return ", ".join(value) if isinstance(value, list) else "" if value is None else value


def _print(collected: "Collected") -> None:
    from edge_sharpzo.runs.outliers import FIGURES, SHARES

    timed = any(group["minutes"] for group in collected.groups)
    engines = len({engine for group in collected.groups for engine in group["engines"]}) > 1
    head = [*AXES, *["minutes"] * timed, *["engines"] * engines, "runs"]
    lines = [[*head, *(f"{name}, %" if name in SHARES else name for name in FIGURES)]]
    for group in collected.groups:
        figures = [_spread(group[name], name in SHARES) for name in FIGURES]
        lines.append([*(_axis(group[name]) for name in head), *figures])
    out("median (least to most) of the runs that can be held against each other")
    out_table(lines)
    for group in collected.groups:
        _print_notes(group)
    if by_seed := [group for group in collected.groups if group["seeds alone"]]:
        names = dict.fromkeys(name for group in by_seed for name in group["differing"])
        where = f"in {len(by_seed)} of {len(collected.groups)} groups the runs differ in"
        out(f"{where} {', '.join(names)} alone, the same for each seed{_accuracies(names)}")
    _some([each.told() for each in collected.outliers], "figures that stand out", out)
    left = [f"{run}: {why}" for run, why in collected.left_out.items()]
    _some(left, "folders that are left out", say)


def _print_notes(group: "Row") -> None:
    """What a line of the table has no room for."""
    axes = f"{group['method']}, {group['shots']} shots, budget {_axis(group['budget'])}"
    runs = "1 run" if group["runs"] == 1 else f"{group['runs']:,} runs"
    out(f"{_axis(group['set'])}, {axes}, {runs}: {_counted(group['versions'])}")
    differing = group["differing"]
    if differing and not group["seeds alone"]:  # which is told once, for all groups
        told = (f"{name} ({_counted(counts)})" for name, counts in differing.items())
        out(f"  not the same in all of them: {', '.join(told)}{_accuracies(differing)}")
    if group["refused most"] is not None:
        most = percent(group["refused, held-out"]["most"])
        out(f"  refused most held-out photos, {most}: {group['refused most']}")


def _accuracies(differing: "Iterable[str]") -> str:
    """What follows where runs were not measured on the same photos."""
    if {"held-out photos", "contents of held-out photos"}.isdisjoint(differing):
        return ""
    return "; their held-out photos differ: so their accuracies do, whatever was tuned"


def _counted(counts: "Mapping[str, int]") -> str:
    """Values with their runs; their number alone where they are many."""
    if len(counts) > MOST_VALUES:
        return f"{len(counts):,} values"
    return ", ".join(f"{value}: {count:,}" for value, count in counts.items())


def _axis(value: Any) -> str:
    if isinstance(value, dict):
        return listed(list(value), MOST_VALUES)
    return f"{value:,}" if isinstance(value, int) else str(value or "-")


def _some(lines: list[str], title: str, tell: Any) -> None:
    if lines:
        tell(f"{title}: {len(lines)}")
    for line in lines[:MOST_LINES]:
        tell(f"  {line}")
    if (more := len(lines) - MOST_LINES) > 0:
        tell(f"  and {more:,} more: `--json` has all")


def _spread(spread: dict[str, float] | None, is_share: bool) -> str:
    if spread is None:
        return "-"
    median, least, most = (
        f"{100 * value:.1f}" if is_share else f"{value:,.1f}".removesuffix(".0")
        for value in spread.values()
    )
    return median if least == most else f"{median} ({least} to {most})"
