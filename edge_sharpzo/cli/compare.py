"""`edge-sharpzo compare`: finished runs side by side."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.flags import JsonFlag
from edge_sharpzo.cli.terminal import out, out_json
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import percent, shown

if TYPE_CHECKING:
    from edge_sharpzo.runs.records import AnyScores, Summary

WITHOUT = "classes without photos"
ALONE = "classifier without their names, held-out"  # as if such classes were not there
BACKGROUND = "background photos"
OF_SOME = {  # what concerns only runs that have something else
    ALONE: WITHOUT,
    BACKGROUND: BACKGROUND,
    "background refused, left out": BACKGROUND,
    "foreign refused, held-out": "foreign refused, held-out",
}
UNMIXED = " (not mixed in)"


def command(
    runs: Annotated[list[Path], typer.Argument(help="run folders")],
    as_json: JsonFlag = False,
) -> None:
    """Shows finished runs side by side."""
    with user_errors():
        if len(runs) < 2:
            raise UserError("give two or more run folders to compare")
        from edge_sharpzo.runs.records import Summary

        rows = [_flat(run, Summary.read(run)) for run in runs]
        if as_json:
            out_json(rows)
            return
        _print_table(rows)
        if names := _differing(rows):
            out(f"these runs differ in {names}: their accuracies cannot be compared")


def _flat(run: Path, summary: "Summary") -> dict[str, Any]:
    """What runs are compared by."""
    from edge_sharpzo.classifier.heads import NO_HEAD

    known = summary.known
    preset = "" if summary.preset == "default" else f" ({summary.preset})"
    accuracy = summary.accuracy
    scores: dict[str, AnyScores] = {
        "zero-shot": accuracy.zero_shot,
        "tuned": accuracy.tuned,
        "head": accuracy.head,
        "classifier": accuracy.classifier,
    }
    return {
        "run": str(run),
        "method": summary.method + preset,
        "start": summary.start,
        "seed": summary.seed,
        "model": summary.model.name,
        "classes": summary.data.classes,
        WITHOUT: sorted(bare.classes) if (bare := summary.without_photos) else [],
        "shots": summary.data.shots,
        "head": accuracy.head.name + ("" if accuracy.classifier.head != NO_HEAD else UNMIXED),
        "held-out photos": summary.data.test,
        **{f"{name}, held-out": score.test for name, score in scores.items()},
        ALONE: summary.comparable.classifier.test,
        "refused, held-out": None if known is None or known.kept is None else 1 - known.kept,
        BACKGROUND: known.background if known else 0,
        "background refused, left out": known.background_refused if known else None,
        "foreign refused, held-out": known.foreign_refused if known else None,
        **{f"{name}, validation": score.val for name, score in scores.items()},
        "queries": summary.queries.total,
        "tuning seconds": summary.seconds.tuning,
        "peak memory, MB": summary.peak_rss_mb,
        "stopped": summary.stopped_because,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    import io

    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def cells(values: Iterable[object]) -> list[Text]:
        return [Text(shown(str(value))) for value in values]

    names = cells(Path(row["run"]).name for row in rows)
    table = Table("", *(Column(name) for name in names), box=None)
    for name in list(rows[0])[1:]:
        if name not in OF_SOME or any(row[OF_SOME[name]] for row in rows):
            table.add_row(name, *cells(_cell(name, row[name]) for row in rows))
    # Drawn apart from the terminal, of whose width alone it makes use.
    drawn = Console(file=io.StringIO(), width=Console().width)
    with drawn.capture() as capture:
        drawn.print(table)
    for line in capture.get().splitlines():
        out(line.rstrip())


def _cell(name: str, value: Any) -> Any:
    """A value for the table: shares as percents, classes by their number."""
    if name == WITHOUT:
        return len(value)
    return percent(value) if name.endswith((", held-out", ", validation", ", left out")) else value


def _differing(rows: list[dict[str, Any]]) -> str:
    """The settings that are not the same in all runs; empty where accuracies can be compared."""
    same = ("model", "classes", WITHOUT, "held-out photos")
    return ", ".join(name for name in same if len({json.dumps(row[name]) for row in rows}) > 1)
