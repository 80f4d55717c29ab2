"""Flags that several commands share, and those that a dataclass of options turns into."""

import inspect
import os
from collections.abc import Callable
from dataclasses import Field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.terminal import say
from edge_sharpzo.runs.options import CHECK_OPTIONS, SWEEP_AXES, THREADS_HELP, TuneOptions, info_of
from edge_sharpzo.sweeping.options import SweepOptions, flag_type
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.watching.options import WatchOptions

if TYPE_CHECKING:
    from edge_sharpzo.classify import Classifier

ThreadsFlag = Annotated[int, typer.Option(help=THREADS_HELP)]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="print the result as JSON on stdout, nothing else")
]


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the flags that say how a run is opened; it passes them on to `opened`."""
    flags = list(inspect.signature(opened).parameters.values())[1:]
    return _with_flags(command, [], flags)


def opened(
    run: Path,
    *,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="more classes, comma-separated, that the run has seen no photo of; they answer "
            "by their names; may be given several times"
        ),
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="exported model; the run's own if not given")
    ] = None,
    threads: ThreadsFlag = 0,
    engine: Annotated[
        str | None,
        typer.Option(
            help="service where the model runs, as in `tune`; the run's own if it was tuned with "
            "--send-photos",
            show_default=False,
        ),
    ] = None,
    send_photos: Annotated[
        bool,
        typer.Option(
            "--send-photos",
            help="with --engine, for a run that was tuned without it: photos may be sent there to "
            "be encoded",
        ),
    ] = False,
) -> "Classifier":
    """The classifier of a run."""
    from edge_sharpzo.classify import Classifier

    names = _names(also or [])
    return Classifier.load(
        run, onnx, threads, names, engine=engine, send_photos=send_photos, tell=tell
    )


def tell(text: str, warning: bool) -> None:
    """Says what happens to an engine that is elsewhere."""
    say(f"{'warning' if warning else 'note'}: {text}")


def _names(given: list[str]) -> list[str]:
    """The names between commas. Raises UserError for one that is a file: it would hold names."""
    names = [name.strip() for each in given for name in each.split(",")]
    if files := [name for name in names if os.path.isfile(name)]:  # noqa: PTH113 - takes any text
        raise UserError(
            f"`also` takes names, and {files[0]} is a file: give the names themselves. Files of "
            "names are for `more_classes` of `edge-sharpzo tune`",
            field="also",
        )
    return names


def with_tune_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each shown field of `TuneOptions`.

    `command` takes their values as keyword arguments, beside flags of its own. Choices and limits
    are checked by the options themselves, so that Python users hear the same.
    """
    flags = [_flag(each) for each in fields(TuneOptions) if info_of(each.name).shown]
    return _with_flags(command, flags, [])


def with_sweep_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each field of `SweepOptions`, and for those that runs share."""
    own = [_flag(each, flag_type(each.type)) for each in fields(SweepOptions)]
    own[0] = own[0].replace(default=inspect.Parameter.empty)
    names = (*SWEEP_AXES, *(flag.name for flag in own))
    shared = [each for each in fields(TuneOptions) if each.name not in names]
    return _with_flags(command, own, [_flag(each) for each in shared if info_of(each.name).shown])


def with_watch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each field of `WatchOptions`, and those of `with_run_options`."""
    own = [_flag(each) for each in fields(WatchOptions)]
    own[0] = own[0].replace(default=inspect.Parameter.empty)
    opening = list(inspect.signature(opened).parameters.values())[1:]
    return _with_flags(command, [], [*own, *opening])


def with_station_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the flags of a station's runs; None where one is not given."""
    return _with_flags(command, [], list(inspect.signature(_of_station).parameters.values()))


def _of_station(
    *,
    onnx: Annotated[
        Path | None, typer.Option(help="exported model; the small embedded one if not given")
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(
            help="photos per class to learn from; 0: all but a fifth, kept apart to judge by; "
            "those of the run that is there, or 0, if not given"
        ),
    ] = None,
    threads: ThreadsFlag = 0,
    max_memory: Annotated[
        int | None, typer.Option(help="MB that the process may hold at most")
    ] = None,
) -> None:
    """Has the flags."""


def with_check_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each of those fields that a look at photos needs."""
    known = {each.name: each for each in fields(TuneOptions)}
    flags = [_flag(known[name]) for name in CHECK_OPTIONS]
    flags[0] = flags[0].replace(  # there is nothing without photos
        default=inspect.Parameter.empty,
        annotation=Annotated[Path, typer.Option(help=info_of("data").help)],
    )
    return _with_flags(command, flags, [])


def _with_flags(
    command: Callable[..., None],
    before: list[inspect.Parameter],
    behind: list[inspect.Parameter],
) -> Callable[..., None]:
    """The command with flags before and behind those of its own."""
    plain = inspect.signature(command)
    own = [p for p in plain.parameters.values() if p.kind is not p.VAR_KEYWORD]
    signature = plain.replace(parameters=[*before, *own, *behind])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def _flag(option: Field[Any], kind: Any = None) -> inspect.Parameter:
    """The flag of a field of options; of the field's type, or of the `kind` in its place."""
    name, default, info = option.name, option.default, option.metadata["info"]
    kind = kind or option.type
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        kind, default = str, default.value
    if default is None:
        kind = kind | None
    named = [f"--{name.replace('_', '-')}"] if kind is bool else []  # without a `--no-` beside it
    flag = typer.Option(*named, help=info.help, show_default=info.default_shown)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, flag],
    )
