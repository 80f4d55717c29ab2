"""`edge-sharpzo compare`: finished runs side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.flags import JsonFlag
from edge_sharpzo.cli.terminal import out, out_json, out_table, say
from edge_sharpzo.runs.side_by_side import ALONE, BACKGROUND, WITHOUT, Row, differing, flat
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import listed, percent

OF_SOME = {  # what concerns only runs that have something else
    ALONE: WITHOUT,
    BACKGROUND: BACKGROUND,
    "background refused, left out": BACKGROUND,
    "foreign refused, held-out": "foreign refused, held-out",
}


def command(
    runs: Annotated[list[Path], typer.Argument(help="run folders")],
    as_json: JsonFlag = False,
) -> None:
    """Shows finished runs side by side."""
    with user_errors():
        if files := [run for run in runs if run.is_file()]:
            are = "is a file" if len(files) == 1 else "are files"
            say(f"note: {listed([str(file) for file in files])} {are} and no run: left out")
        runs = [run for run in runs if run not in files]
        if len(runs) < 2:
            raise UserError(
                "give two or more run folders to compare; those of a sweep are its folder's: "
                "`edge-sharpzo compare runs/sweep/*`"
            )
        from edge_sharpzo.runs.records import Summary

        rows = [flat(str(run), Summary.read(run)) for run in runs]
        if as_json:
            out_json(rows)
            return
        _print_table(rows)
        if names := differing(rows):
            out(f"these runs differ in {names}: their accuracies cannot be compared")


def _print_table(rows: list[Row]) -> None:
    lines = [["", *(Path(row["run"]).name for row in rows)]]
    for name in list(rows[0])[1:]:
        if name not in OF_SOME or any(row[OF_SOME[name]] for row in rows):
            lines.append([name, *(str(_cell(name, row[name])) for row in rows)])
    out_table(lines)


def _cell(name: str, value: Any) -> Any:
    """A value for the table: shares as percents, classes by their number."""
    if name == WITHOUT:
        return len(value)
    return percent(value) if name.endswith((", held-out", ", validation", ", left out")) else value
