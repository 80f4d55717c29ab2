"""The command `edge-sharpzo`. Heavy packages are imported inside commands, so `--help` is quick."""

import os
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from edge_sharpzo.cli import (
    check,
    collect,
    compare,
    doctor,
    evaluate,
    info,
    predict,
    station,
    sweep,
    tune,
    watch,
)
from edge_sharpzo.cli.boundary import INTERRUPTED, user_errors
from edge_sharpzo.cli.terminal import drop, prepare, say, write
from edge_sharpzo.system.errors import os_error_text

# NumPy's threads would wait actively on the cores that onnxruntime computes on, which doubles the
# time per query, and their number shows in a run's last digits: it is the same whatever the
# environment says. Set before NumPy is imported, which no command has done yet.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_variable] = "1"

NAME = "edge-sharpzo"
HELP = "Fine-tunes CLIP's prompt on the device it runs on, with forward passes only."
# What typer raises for an option that it does not know, and its like.
_UsageError: Any = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """All commands; what is wrong on the command line is told in one line, like all else."""

    def main(self, *args: Any, **more: Any) -> NoReturn:
        """Runs the command that the arguments name, the process's own by default, and exits."""
        prepare()
        try:
            code = super().main(*args, **{**more, "prog_name": NAME, "standalone_mode": False})
        except _UsageError as error:
            context = error.ctx
            where = NAME if context is None else context.command_path
            say(f"{NAME}: {error.format_message().rstrip('.')}. Try: {where} --help")
            code = 2
        except OSError as error:  # `--help` meets a full disk
            drop(sys.stdout)
            say(f"{NAME}: {os_error_text(error)}")
            code = 2
        except (KeyboardInterrupt, typer.Abort):
            say(f"{NAME}: interrupted")
            code = INTERRUPTED
        sys.exit(code)


app = typer.Typer(
    cls=Commands,
    help=HELP,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("tune")(tune.command)
app.command("predict")(predict.command)
app.command("watch")(watch.command)
app.command("eval")(evaluate.command)
app.command("check")(check.command)
app.command("info")(info.command)
app.command("compare")(compare.command)
app.command("station")(station.command)
app.command("sweep")(sweep.command)
app.command("collect")(collect.command)
app.command("doctor")(doctor.command)


def _version(show: bool) -> None:
    if show:
        from edge_sharpzo import __version__

        with user_errors():
            write(f"{__version__}\n")
        raise typer.Exit


@app.callback(help=HELP)
def main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """What comes before every command."""
    del version  # its callback has printed it
    warnings.simplefilter("ignore")  # pillow's about odd metadata, pycma's about plotting
    if context.invoked_subcommand is None:
        with user_errors():
            write(f"{context.get_help()}\n")
        raise typer.Exit(2)
