"""Flags that several commands share, and those that a dataclass of options turns into."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.runs.options import THREADS_HELP, TuneOptions, info_of

OnnxFlag = Annotated[Path | None, typer.Option(help="exported model; the run's own if not given")]
ThreadsFlag = Annotated[int, typer.Option(help=THREADS_HELP)]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="print the result as JSON on stdout, nothing else")
]


def with_tune_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each shown field of `TuneOptions`.

    `command` takes their values as keyword arguments, beside flags of its own. Choices and limits
    are checked by the options themselves, so that Python users hear the same.
    """
    flags = [_flag(each.name, each.type, each.default) for each in fields(TuneOptions)]
    plain = inspect.signature(command)
    own = [p for p in plain.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown = [flag for flag in flags if info_of(flag.name).shown]
    signature = plain.replace(parameters=[*shown, *own])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def _flag(name: str, kind: Any, default: Any) -> inspect.Parameter:
    info = info_of(name)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        kind, default = str, default.value
    if default is None:
        kind = kind | None
    option = typer.Option(help=info.help, show_default=info.default_shown)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )
