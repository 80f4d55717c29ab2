"""`edge-sharpzo tune`: from a folder of photos to a tuned prompt."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import print_json, user_errors
from edge_sharpzo.cli.flags import JsonFlag, with_tune_options
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import percent

if TYPE_CHECKING:
    from edge_sharpzo.runs.records import Accuracies, AnyScores, Summary


@with_tune_options
def command(
    *,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="go on with an interrupted run, under the options it was started with",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="delete an earlier run in --out")
    ] = False,
    as_json: JsonFlag = False,
    **options: Any,
) -> None:
    """Tunes the prompt on labelled photos and writes a run folder."""
    with user_errors():
        if (options["data"] is None) == (resume is None):
            raise UserError(
                "give `data` a folder of photos, or `resume` the folder of an interrupted run, "
                "and not both"
            )
        from edge_sharpzo import run
        from edge_sharpzo.cli.display import Display
        from edge_sharpzo.cli.interrupts import Interrupts, sigterm_as_interrupt
        from edge_sharpzo.runs.folder import resumed_options
        from edge_sharpzo.runs.options import TuneOptions
        from edge_sharpzo.system.memory import return_large_arrays_at_once

        chosen = resumed_options(resume) if resume else TuneOptions(**options)
        return_large_arrays_at_once()
        with sigterm_as_interrupt(), Display() as display:
            folder, summary = run.tune(
                chosen,
                display.hear,
                Interrupts(),
                resume=resume is not None,
                overwrite=overwrite,
            )
        if as_json:
            print_json({"run": str(folder), **summary.as_dict()})
        else:
            _print_summary(summary, folder)
        if summary.stopped_because == "interrupted":
            again = f"edge-sharpzo tune --resume {quote(str(folder))}"
            typer.echo(f"interrupted; go on with: {again}", err=True)
            raise typer.Exit(130)


def _print_summary(summary: "Summary", folder: Path) -> None:
    data, accuracy, seconds = summary.data, summary.accuracy, summary.seconds
    print(
        f"{data.classes} classes; {data.train} training, {data.val} validation, "
        f"{data.test} held-out photos"
    )
    rows: dict[str, AnyScores] = {
        "zero-shot": accuracy.zero_shot,
        "tuned prompt": accuracy.tuned,
        f"{accuracy.head.name} head": accuracy.head,
        "classifier": accuracy.classifier,
    }
    for label, scores in rows.items():
        val, test = percent(scores.val), percent(scores.test)
        print(f"{label:16} validation {val:>7}   held-out {test:>7}")
    print(_verdict(accuracy))
    kinds = ", ".join(
        f"{count:,} {kind.replace('_', '-')}" for kind, count in summary.queries.by_kind.items()
    )
    print(f"{summary.queries.total:,} queries ({kinds})")
    print(
        f"{seconds.features:.1f} s for photos, {seconds.tuning:.1f} s tuning; "
        f"stopped: {summary.stopped_because}"
    )
    before, after = accuracy.zero_shot.val, accuracy.tuned.val
    if before is not None and after is not None and after < before:
        print(
            "tuning lost to the template as written on validation photos: "
            "try more shots, or keep the template"
        )
    print(f"run: {folder}")


def _verdict(accuracy: "Accuracies") -> str:
    """Which of prompt and closed-form head won, and what the classifier is made of."""
    prompt, head, where = accuracy.tuned.test, accuracy.head.test, "held-out"
    if prompt is None:
        prompt, head, where = accuracy.tuned.val, accuracy.head.val, "validation"
    mixed = accuracy.classifier.head
    made = (
        "the tuned prompt alone" if mixed == "none" else f"the tuned prompt with the {mixed} head"
    )
    if prompt is None or head is None:
        return f"the classifier is {made}"
    if prompt == head:
        winner = "are level"
    else:
        winner = "prompt wins" if prompt > head else f"{accuracy.head.name} head wins"
    return f"prompt and closed-form head on {where} photos: {winner}; the classifier is {made}"
