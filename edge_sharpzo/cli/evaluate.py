"""`edge-sharpzo eval`: measures a finished run on labelled photos."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.cli.boundary import as_flags, user_errors
from edge_sharpzo.cli.flags import JsonFlag, opened, with_run_options
from edge_sharpzo.cli.terminal import out, out_json
from edge_sharpzo.photos.left_out import told
from edge_sharpzo.system.text import percent


@with_run_options
def command(
    run: Annotated[Path, typer.Argument(help="run folder")],
    data: Annotated[
        Path | None, typer.Option(help="labelled photos: DIR/test/<class>/* or DIR/<class>/*")
    ] = None,
    foreign: Annotated[
        Path | None,
        typer.Option(help="photos of none of the classes: which share of them is refused"),
    ] = None,
    class_names: Annotated[
        Path | None,
        typer.Option(
            help="file with lines 'folder = class of the run', for photos whose folders are "
            "called otherwise"
        ),
    ] = None,
    as_json: JsonFlag = False,
    **opening: Any,
) -> None:
    """Measures a tuned prompt on labelled photos."""
    with user_errors():
        from edge_sharpzo.cli.display import Display

        classifier = opened(run, **opening)
        with Display() as display:
            result = classifier.evaluate(
                data, class_names, display.photos, display.skipped, foreign=foreign
            )
            for note in (*result.notes, told(result.left_out)):
                if note:
                    display.say(f"note: {as_flags(note)}")
        if as_json:
            out_json(asdict(result))
            return
        if result.photos:
            out(f"accuracy {percent(result.accuracy)} on {result.photos} photos")
        if result.refused is not None:
            out(
                f"{percent(result.refused)} of these photos are taken for none of the classes; the "
                "accuracy is of the class that is named all the same"
            )
        bare = result.without_photos
        if bare and result.photos:
            out(bare.told(len(classifier.labels), result.photos))
        for name, value in result.by_class.items():
            mark = "  (name only)" if bare and name in bare.classes else ""
            out(f"  {percent(value):>7}  {name}{mark}")
        if result.foreign_refused is not None:
            share = percent(result.foreign_refused)
            out(f"{share} of {result.foreign} photos of none of the classes are refused")
