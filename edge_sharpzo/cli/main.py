"""The command `edge-sharpzo`. Heavy packages are imported inside commands, so `--help` is quick."""

import io
import os
import sys
import warnings
from typing import Annotated

import typer

from edge_sharpzo.cli import compare, doctor, evaluate, info, predict, tune

# NumPy's threads would wait actively on the cores that onnxruntime computes on, which doubles the
# time per query. Set before NumPy is imported, which no command has done yet.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

app = typer.Typer(
    help="Fine-tunes CLIP's prompt on the device it runs on, with forward passes only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("tune")(tune.command)
app.command("predict")(predict.command)
app.command("eval")(evaluate.command)
app.command("info")(info.command)
app.command("compare")(compare.command)
app.command("doctor")(doctor.command)


def _version(show: bool) -> None:
    if show:
        from edge_sharpzo import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Fine-tunes CLIP's prompt on the device it runs on, with forward passes only."""
    del version  # its callback has printed it
    warnings.simplefilter("ignore")  # pillow's about odd metadata, pycma's about plotting
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names that are no text come out as they are.
            stream.reconfigure(errors="surrogateescape")
