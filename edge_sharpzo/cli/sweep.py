"""`edge-sharpzo sweep`: many runs, over sets, methods, shots, seeds and budgets."""

from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import typer

from edge_sharpzo.cli.boundary import INTERRUPTED, as_flags, user_errors
from edge_sharpzo.cli.flags import JsonFlag, with_sweep_options
from edge_sharpzo.cli.interrupts import Interrupts
from edge_sharpzo.cli.terminal import out, out_json, out_table, say
from edge_sharpzo.sweeping.options import SweepOptions
from edge_sharpzo.system.errors import Cancelled
from edge_sharpzo.system.text import some

if TYPE_CHECKING:
    from edge_sharpzo.sweeping.sweep import Swept


@with_sweep_options
def command(*, as_json: JsonFlag = False, **options: Any) -> None:
    """Tunes over sets, methods, shots, seeds and budgets; started again, it goes on."""
    with user_errors() as signals:
        from edge_sharpzo.cli.display import Display
        from edge_sharpzo.runs.options import TuneOptions
        from edge_sharpzo.sweeping.plan import sweep_of
        from edge_sharpzo.sweeping.sweep import sweep

        own = {each.name: options.pop(each.name) for each in fields(SweepOptions)}
        asked = sweep_of(SweepOptions(**own), TuneOptions(**options))
        try:
            with Display() as display:
                swept = sweep(asked, display.hear, Interrupts(signals))
        except (KeyboardInterrupt, Cancelled):
            signals.end()
            say("interrupted; the same command goes on with what has begun")
            raise typer.Exit(INTERRUPTED) from None
        with suppress(BrokenPipeError):  # all is in the folder, whoever listens
            if as_json:
                out_json(_record(swept))
            else:
                _print(swept)
        if failed := list(swept.failed):
            say(f"edge-sharpzo: {len(failed)} of the runs failed, as told: {some(failed, 5)}")
            raise typer.Exit(2)


def _record(swept: "Swept") -> dict[str, Any]:
    return {
        "sweep": str(swept.folder),
        "table": swept.table,
        "runs": sorted(swept.runs),
        "failed": swept.failed,
    }


def _print(swept: "Swept") -> None:
    from edge_sharpzo.sweeping.table import TITLE, cells, notes

    if swept.table:
        out(TITLE)
        out_table(cells(swept.table))
    for note in notes(swept.table):
        out(as_flags(note))
    out(f"sweep: {swept.folder}")
