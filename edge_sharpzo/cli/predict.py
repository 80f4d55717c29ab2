"""`edge-sharpzo predict`: classifies photos with a finished run."""

import codecs
import os
import sys
from collections.abc import Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.flags import JsonFlag, opened, with_run_options
from edge_sharpzo.cli.terminal import is_terminal, out, out_csv, out_json_list, say
from edge_sharpzo.photos.left_out import grouped, told
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import percent, rounded_down

if TYPE_CHECKING:
    from edge_sharpzo.classify import Classifier

STDIN = Path("-")


@with_run_options
def command(
    run: Annotated[Path, typer.Argument(help="run folder")],
    images: Annotated[
        list[Path],
        typer.Argument(help="photos, folders of photos, or - for a list on standard input"),
    ],
    top: Annotated[int, typer.Option(help="classes to name for each photo")] = 3,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="print file, class and probability as CSV for spreadsheets"),
    ] = False,
    as_json: JsonFlag = False,
    **opening: Any,
) -> None:
    """Classifies photos with a tuned prompt."""
    with user_errors():
        if as_json and as_csv:
            raise UserError("--json and --csv: choose one")
        if top < 1:
            raise UserError(f"`top={top}`: ask for at least one class", field="top")

        from edge_sharpzo.evaluation import CANNOT_REFUSE

        classifier = opened(run, **opening)
        if not classifier.can_refuse:
            say(f"note: {CANNOT_REFUSE}")
        with closing(_rows(classifier, listed_photos(images), top)) as rows:
            if as_json:
                out_json_list(rows)
            elif as_csv:
                out_csv(["file", "class", "probability", "sure", "known", "error"], rows)
            else:
                for row in rows:
                    if "error" not in row:
                        out(_line(row))


def _rows(classifier: "Classifier", photos: list[Path], top: int) -> Generator[dict[str, Any]]:
    """For each photo `{file, class, probability, sure, known, top}`, or `{file, error}`.

    Raises UserError at the end if none could be read.
    """
    from edge_sharpzo.cli.display import Display

    any_readable, display = False, Display()

    def progress(done: int) -> None:
        display.photos(done, len(photos))

    # On one terminal the answers are progress enough, and a bar would come between them.
    is_shown = is_terminal(sys.stderr) and not is_terminal(sys.stdout)
    with display if is_shown else nullcontext():
        answers = classifier.stream(photos, progress if is_shown else lambda done: None)
        for photo, answer in zip(photos, answers, strict=True):
            if isinstance(answer, str):
                display.skipped(photo, answer)
                yield {"file": str(photo), "error": answer}
                continue
            any_readable = True
            likely = list(answer.probabilities.items())[:top]
            best = [{"class": name, "probability": rounded_down(p, 6)} for name, p in likely]
            told = {"sure": answer.sure, "known": answer.known}
            yield {"file": str(photo), **best[0], **told, "top": best}
    if not any_readable:
        raise UserError(f"none of the {len(photos)} files is a photo that can be read")


def _line(row: dict[str, Any]) -> str:
    def said(entry: dict[str, Any]) -> str:
        return f"{entry['class']} {percent(rounded_down(entry['probability'], 3))}"

    others = ", ".join(said(entry) for entry in row["top"][1:])
    doubt = "" if row["sure"] else "not sure: "
    if row["known"] is False:
        doubt = "none of these; nearest: "
    return f"{row['file']}: {doubt}{said(row)}" + (f"  ({others})" if others else "")


def _listed_on_stdin() -> list[Path]:
    """One path per line; bytes that are no text stay what they are. Raises UserError."""
    if sys.stdin is None or sys.stdin.closed:
        raise UserError("standard input is closed: give photos as arguments, or a list through it")
    content = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
    if b"\0" in content:
        raise UserError("standard input holds NUL bytes: give one path on each line, as UTF-8")
    lines = os.fsdecode(content.removeprefix(codecs.BOM_UTF8)).split("\n")
    return [Path(line.removesuffix("\r")) for line in lines if line.strip()]


def listed_photos(images: list[Path]) -> list[Path]:
    """The files among `images`, the photos in its folders, and those that `-` names.

    `-` is standard input, with one path per line. Raises UserError for a folder without photos.
    """
    from edge_sharpzo.photos.scan import SUFFIXES, Scan

    found, scan = list[Path](), Scan()
    for image in images:
        if image == STDIN:
            found += _listed_on_stdin()
        elif image.is_dir():
            photos = scan.photos_under(image)
            if not photos:
                kinds = ", ".join(sorted(SUFFIXES)[:4])
                raise UserError(f"{image} holds no photos ({kinds} ...)")
            found += photos
        else:
            found.append(image)
    if not found:
        raise UserError("standard input names no photos: give one path on each line")
    if not_used := told(grouped(scan.left_out)):
        say(f"note: {not_used}")
    return found
