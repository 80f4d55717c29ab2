"""`edge-sharpzo predict`: classifies photos with a finished run."""

import codecs
import csv
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.cli.boundary import print_json, user_errors
from edge_sharpzo.cli.flags import JsonFlag, OnnxFlag, ThreadsFlag
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import percent

STDIN = Path("-")


def command(
    run: Annotated[Path, typer.Argument(help="run folder")],
    images: Annotated[
        list[Path],
        typer.Argument(help="photos, folders of photos, or - for a list on standard input"),
    ],
    top: Annotated[int, typer.Option(help="classes to name for each photo")] = 3,
    onnx: OnnxFlag = None,
    threads: ThreadsFlag = 0,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="print file, class and probability as CSV")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Classifies photos with a tuned prompt."""
    with user_errors():
        if as_json and as_csv:
            raise UserError("--json and --csv: choose one")
        if top < 1:
            raise UserError(f"`top={top}`: ask for at least one class", field="top")
        from edge_sharpzo.classify import Classifier

        rows = _rows(Classifier.load(run, onnx, threads), images, top)
        if as_json:
            print_json(rows)
        elif as_csv:
            columns = ["file", "class", "probability", "sure", "error"]
            writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        else:
            for row in rows:
                if "error" not in row:
                    print(_line(row))


def _rows(classifier: Any, images: list[Path], top: int) -> list[dict[str, Any]]:
    """For each photo `{file, class, probability, sure, top}`, or `{file, error}`."""
    from edge_sharpzo.cli.display import Display

    photos, display = listed_photos(images), Display()
    errors: dict[int, str] = {}
    features, readable = classifier.encode(photos, errors.__setitem__)
    if not readable.any():
        index, reason = next(iter(errors.items()))
        raise UserError(
            f"none of the {len(photos)} files is a photo that can be read "
            f"({photos[index]}: {reason})"
        )
    answers = iter(classifier.answers(features[readable]))
    rows: list[dict[str, Any]] = []
    for index, photo in enumerate(photos):
        if index in errors:
            display.skipped(photo, errors[index])
            rows.append({"file": str(photo), "error": errors[index]})
            continue
        answer = next(answers)
        likely = list(answer.probabilities.items())[:top]
        best = [{"class": name, "probability": round(p, 6)} for name, p in likely]
        rows.append({"file": str(photo), **best[0], "sure": answer.sure, "top": best})
    return rows


def _line(row: dict[str, Any]) -> str:
    def said(entry: dict[str, Any]) -> str:
        return f"{entry['class']} {percent(entry['probability'])}"

    others = ", ".join(said(entry) for entry in row["top"][1:])
    doubt = "" if row["sure"] else "not sure: "
    return f"{row['file']}: {doubt}{said(row)}" + (f"  ({others})" if others else "")


def _listed_on_stdin() -> list[Path]:
    """One path per line; bytes that are no text stay what they are. Raises UserError."""
    if sys.stdin is None or sys.stdin.closed:
        raise UserError("standard input is closed: give photos as arguments, or a list through it")
    content = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
    lines = os.fsdecode(content.removeprefix(codecs.BOM_UTF8)).splitlines()
    return [Path(line) for line in lines if line.strip()]


def listed_photos(images: list[Path]) -> list[Path]:
    """The files among `images`, the photos in its folders, and those that `-` names.

    `-` is standard input, with one path per line. Raises UserError for a folder without photos.
    """
    from edge_sharpzo.photos.scan import SUFFIXES, Scan

    found: list[Path] = []
    for image in images:
        if image == STDIN:
            found += _listed_on_stdin()
        elif image.is_dir():
            photos = Scan().photos_under(image)
            if not photos:
                kinds = ", ".join(sorted(SUFFIXES)[:4])
                raise UserError(f"{image} holds no photos ({kinds} ...)")
            found += photos
        else:
            found.append(image)
    if not found:
        raise UserError("standard input names no photos: give one path on each line")
    return found
