"""`edge-sharpzo tune`: from a folder of photos to a tuned prompt."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import INTERRUPTED, as_flags, user_errors
from edge_sharpzo.cli.flags import JsonFlag, with_tune_options
from edge_sharpzo.cli.interrupts import Interrupts, Signals
from edge_sharpzo.cli.terminal import out, out_json, say
from edge_sharpzo.photos.left_out import told
from edge_sharpzo.runs.options import RESUME_OPTIONS, check_source
from edge_sharpzo.system.errors import Cancelled
from edge_sharpzo.system.text import listed, percent

if TYPE_CHECKING:
    from edge_sharpzo.cli.display import Display
    from edge_sharpzo.runs.records import Accuracies, AnyScores, Summary


@with_tune_options
def command(
    *,
    context: typer.Context,
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
    with user_errors() as signals:
        given = [name for name in options if _was_given(context, name)]
        check_source(options["data"], resume, given)
        from edge_sharpzo import run
        from edge_sharpzo.cli.display import Display
        from edge_sharpzo.runs.folder import resumed_options
        from edge_sharpzo.runs.options import TuneOptions
        from edge_sharpzo.system.memory import return_large_arrays_at_once
        from edge_sharpzo.tuning.records import StopReason

        again = {name: options[name] for name in RESUME_OPTIONS if name in given}
        chosen = resumed_options(resume, again) if resume else TuneOptions(**options)
        return_large_arrays_at_once()
        display = Display()
        with _hint_of_resuming(display, resume, signals):
            with display:
                folder, summary = run.tune(
                    chosen,
                    display.hear,
                    Interrupts(signals),
                    resume=resume is not None,
                    overwrite=overwrite,
                )
            with suppress(BrokenPipeError):  # all is in the run's folder, whoever listens
                if as_json:
                    out_json({"run": str(folder), **summary.as_dict()})
                else:
                    _print_summary(summary, folder)
            if summary.stopped_because == StopReason.INTERRUPTED:
                raise Cancelled


@contextmanager
def _hint_of_resuming(display: "Display", resume: Path | None, signals: Signals) -> Iterator[None]:
    """An interrupt says how to go on, where the run has begun and there is something left to do."""
    from edge_sharpzo.runs.folder import is_finished

    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        signals.end()
        folder = display.folder or resume
        if folder is None or is_finished(folder):
            raise
        again = f"edge-sharpzo tune --resume {quote(str(_from_here(folder)))}"
        say(f"interrupted; go on with: {again}")
        raise typer.Exit(INTERRUPTED) from None


def _from_here(folder: Path) -> Path:
    """The folder as one would type it."""
    try:
        here = Path.cwd()
    except OSError:  # it is deleted
        return folder
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _was_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _print_summary(summary: "Summary", folder: Path) -> None:
    data, accuracy, seconds = summary.data, summary.comparable, summary.seconds
    out(
        f"{data.classes} classes; {data.train} training, {data.val} validation, "
        f"{data.test} held-out photos"
    )
    if bare := summary.without_photos:
        out(f"without photos, answering by name: {listed(bare.classes)}")
        out("the table is among the other classes, as if these names were not there")
    if not_used := told(data.left_out):
        out(not_used)
    rows: dict[str, AnyScores] = {
        "zero-shot": accuracy.zero_shot,
        **({"tuned prompt": accuracy.tuned} if summary.is_searched else {}),
        f"{accuracy.head.name} head": accuracy.head,
        "classifier": accuracy.classifier,
    }
    for label, scores in rows.items():
        val, test = percent(scores.val), percent(scores.test)
        out(f"{label:16} validation {val:>7}   held-out {test:>7}")
    out(_verdict(accuracy))
    if bare and data.test:
        out(f"the classifier on held-out photos, {bare.told(data.classes, data.test)}")
    for line in summary.known.told() if summary.known else ():
        out(line)
    kinds = ", ".join(
        f"{count:,} {kind.replace('_', '-')}" for kind, count in summary.queries.by_kind.items()
    )
    out(f"{summary.queries.total:,} queries ({kinds})" if kinds else "no queries")
    out(
        f"{seconds.features:.1f} s for photos, {seconds.tuning:.1f} s tuning; "
        f"stopped: {summary.stopped_because}"
    )
    if summary.dropped:
        out(f"{summary.dropped}. Try more shots or photos")
    before, after = accuracy.zero_shot.val, accuracy.tuned.val
    if before is not None and after is not None and after < before:
        out(
            "tuning lost to the template as written on validation photos: "
            "try more shots, or keep the template"
        )
    for line in summary.photo_check.told() if summary.photo_check else ():
        out(as_flags(line))
    out(f"run: {_from_here(folder)}")


def _verdict(accuracy: "Accuracies") -> str:
    """Which of prompt and closed-form head did better, and what the classifier is made of."""
    prompt, head, where = accuracy.tuned.test, accuracy.head.test, "held-out"
    if prompt is None:
        prompt, head, where = accuracy.tuned.val, accuracy.head.val, "validation"
    from edge_sharpzo.runs.records import TEMPLATE

    is_template = accuracy.classifier.prompt == TEMPLATE
    text = "template as written" if is_template else "tuned prompt"
    made = f"the classifier is the {text} alone"
    if accuracy.classifier.head != "none":
        made = f"the classifier mixes the {text} with the {accuracy.classifier.head} head"
    if prompt is None or head is None:
        return made
    if prompt == head:
        won = f"{text} and closed-form head are level"
    else:
        won = f"the {text} alone did" if prompt > head else "the closed-form head alone did"
        won += f" better than the {'head' if prompt > head else text}"
    return f"on {where} photos {won}; {made}"
