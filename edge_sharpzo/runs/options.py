"""The options of a tuning run: the one list that the command line and the Python API read."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.providers import AUTO, Provider, resolve
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.photos.shots import ALL_SHOTS, SHOTS_CURE
from edge_sharpzo.system.errors import UserError, not_one_of
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.system.text import is_text
from edge_sharpzo.tuning.methods.plan import Preset
from edge_sharpzo.tuning.methods.presets import PAPER_TASKS
from edge_sharpzo.tuning.methods.registry import DEFAULT_METHOD, METHODS
from edge_sharpzo.tuning.start import Start


@dataclass(frozen=True)
class OptionInfo:
    """What else is known of an option; the metadata of a field of `TuneOptions`."""

    help: str
    allowed: Callable[[Any], bool] = lambda value: True
    cure: str = ""  # what to do about a value that is not allowed
    choices: Callable[[], Iterable[str]] | None = None
    shown: bool = True  # as a flag of the command line
    default_shown: bool = True  # in its help


def option(default: Any, help: str, **more: Any) -> Any:  # noqa: A002 - as typer calls it
    """A field of a dataclass of options; `more` are fields of `OptionInfo`."""
    return field(default=default, metadata={"info": OptionInfo(help, **more)})


def usable_threads(asked: int) -> int:
    """Threads for what was `asked` for: 0 is all cores that this process may use, -1 all but one.

    Raises UserError.
    """
    if not -1 <= asked <= MOST_THREADS:
        raise UserError(
            f"`threads={asked}`: use 0 for all cores, -1 for all but one, or a positive number",
            field="threads",
        )
    return asked if asked > 0 else max(1, usable_cores() + asked)


# What a run may be given anew when it goes on.
RESUME_OPTIONS = ("engine", "send_photos")


def check_source(data: object, resume: object, given: Iterable[str]) -> None:
    """Raises UserError unless there are photos, or a run to go on with.

    That takes no other option that was `given` than `RESUME_OPTIONS`.
    """
    given = [name for name in given if name not in RESUME_OPTIONS]
    if (data is None) == (resume is None):
        raise UserError(
            "give `data`, a folder of photos, or `resume`, the folder of an interrupted run, and "
            "not both",
            field="data",
        )
    if resume is not None and (named := ", ".join(f"`{name}`" for name in given)):
        raise UserError(
            f"`resume` goes on under the options that the run was started with: leave {named} out",
            field="resume",
        )


def as_path(kind: Any, value: Any) -> Any:
    """For msgspec: a path, where one is wanted, from text. Raises ValueError for anything else."""
    if kind is Path and isinstance(value, str | PathLike):
        if "\0" in (text := os.fsdecode(value)):
            raise ValueError("a path cannot hold a null byte")
        return Path(text)
    raise ValueError(f"expected a path, got {type(value).__name__}")


MOST_QUERIES = 2**53  # whole numbers that a float still tells apart
MOST_THREADS = 4096  # more than any machine has
THREADS_HELP = "threads of onnxruntime; 0: all cores this process may use, -1: all but one"
PROVIDER_HELP = f"execution provider: {AUTO}, {', '.join(Provider)}"


@dataclass(frozen=True)
class TuneOptions:
    """What a tuning run is asked for."""

    data: Path = option(
        None,
        "folder of photos: DIR/<class>/*, or DIR/train/<class>/* with optional val/ and test/",
        default_shown=False,
    )
    onnx: Path = option(
        EMBEDDED_MODEL,
        "exported model; the small embedded one if not given",
        default_shown=False,
    )
    out: Path | None = option(
        None, "folder for the results; runs/<time> if not given", default_shown=False
    )
    shots: int = option(
        16,
        "training photos per class; 0: all but a fifth, kept apart as held-out photos",
        allowed=lambda n: n >= ALL_SHOTS,
        cure=SHOTS_CURE,
    )
    seed: int = option(
        0,
        "of everything random",
        allowed=lambda n: n >= 0,
        cure="use 0 or a positive number",
    )
    template: str = option(
        "a photo of a {}.",
        "prompt, {} is the class name; a search that starts from words tunes those before it",
        allowed=lambda text: text.count("{}") == 1 and is_text(text),
        cure='it needs the class name\'s place once, as in "a photo of a {}."',
    )
    context_tokens: int | None = option(
        None,
        "context vectors to tune; 8 for gauss-newton if not given, for others as many as the "
        "template's words",
        allowed=lambda n: 1 <= n <= 4096,
        cure="ask for at least one, and for no more than the model reads",
    )
    start: str | None = option(
        None,
        "where the search starts: learned (from the model file; for gauss-newton the default where "
        "there is one), or the template's words",
        choices=lambda: list(Start),
        default_shown=False,
    )
    class_names: Path | None = option(
        None,
        "file with lines 'folder = name', or '# comment'; without it underscores in folders read "
        "as spaces",
    )
    more_classes: Path | None = option(
        None,
        "file with a name per line: classes without photos, which answer by their names alone; "
        "lines that begin with '# ' are comments",
    )
    background: Path | None = option(
        None,
        "folder of photos of none of the classes, any depth; besides, _background/ beside the "
        "class folders is one",
    )
    keep_known: float = option(
        0.95,
        'share of photos of the classes that "none of these" is to leave alone',
        allowed=lambda share: 0.5 <= share <= 0.999,
        cure="give a share between 0.5 and 0.999, such as 0.95",
    )
    method: str | None = option(
        None,
        f"{DEFAULT_METHOD} (the default), {', '.join(m for m in METHODS if m != DEFAULT_METHOD)}",
        choices=lambda: METHODS,
        default_shown=False,
    )
    preset: Preset = option(
        Preset.DEFAULT,
        "default, or paper: SharpZO's published settings",
        choices=lambda: list(Preset),
    )
    paper_task: str = option(
        "dtd",
        "whose column of the paper's Table 8: dtd, eurosat, pets ...",
        choices=lambda: PAPER_TASKS,
    )
    budget: int | None = option(
        None,
        "queries to spend; a query is one loss evaluation of one candidate",
        allowed=lambda n: 1 <= n <= MOST_QUERIES,
        cure="give the number of queries to spend, at least 1",
    )
    minutes: float | None = option(
        None,
        "time to spend on tuning",
        allowed=lambda n: 0 < n < float("inf"),
        cure="give a positive number",
    )
    threads: int = option(0, THREADS_HELP)
    max_memory: int | None = option(
        None,
        "MB that the process may hold at most",
        allowed=lambda n: n >= 1,
        cure="give a number of MB",
        default_shown=False,
    )
    provider: str = option(Provider.CPU.value, PROVIDER_HELP)
    head: str = option(
        "text-gda",
        "closed-form head to mix in: none, prototypes, ridge, gda, or text-gda, which is gda "
        "that leans on the template's text features where photos are few",
    )
    plain_classifier: bool = option(
        False,
        "classifier.onnx takes prepared pixels (pixel_values) in place of a decoded photo, for "
        "engines whose Resize has no antialias, such as TensorRT or OpenVINO",
        default_shown=False,
    )
    drop_duplicates: bool = option(
        False, "keep one of photos that are nearly the same, as bursts give them"
    )
    engine: str = option(
        LOCAL,
        "where the text tower runs: kserve://HOST:PORT/MODEL (gRPC), kserve+http://, with +tls:// "
        "or +https://; several between commas; or a fleet's scheduler, dask://HOST:PORT",
        default_shown=False,
    )
    send_photos: bool = option(
        False, "let the engine encode the photos too: they leave this device"
    )

    def checked(self) -> "TuneOptions":
        """These options with threads, provider and enums resolved.

        Raises UserError for the first one that cannot be.
        """
        for each in fields(self):
            value, info = getattr(self, each.name), info_of(each.name)
            if value is None or (each.name == "paper_task" and self.preset != Preset.PAPER):
                continue
            if info.choices and value not in (known := list(info.choices())):
                raise not_one_of(known, each.name, value)
            if not info.allowed(value):
                raise UserError(f"`{each.name}={value}`: {info.cure}", field=each.name)
        return replace(
            self,
            preset=Preset(self.preset),
            threads=usable_threads(self.threads),
            provider=resolve(self.provider),
        )

    def check_new(self) -> None:
        """Raises UserError for what a new run must not ask for, though an old one may have."""
        if self.paper_task != _default("paper_task") and self.preset != Preset.PAPER:
            raise UserError(
                f"`paper_task={self.paper_task}` goes with `preset=paper`: add that",
                field="paper_task",
            )
        if self.start == Start.LEARNED and self.preset == Preset.PAPER:
            raise UserError(
                "`start=learned` is no part of the paper's settings: leave it out, or "
                "`preset=paper`",
                field="start",
            )

    def with_absolute_paths(self) -> "TuneOptions":
        """The same wherever the process goes."""
        absolute: dict[str, Any] = {
            name: value.absolute() for name, value in vars(self).items() if isinstance(value, Path)
        }
        return replace(self, **absolute)

    def given(self) -> dict[str, Any]:
        """The options that have a value, as they are recorded."""
        return {name: recorded(value) for name, value in vars(self).items() if value is not None}


# Those of a look at photos without tuning; `data` comes first.
CHECK_OPTIONS = (
    "data",
    "onnx",
    "template",
    "class_names",
    "threads",
    "max_memory",
    "provider",
    "engine",
    "send_photos",
)

# Those in whose place a sweep has lists of its own, or that differ between its runs.
SWEEP_AXES = ("data", "out", "shots", "seed", "method", "budget", "engine", "send_photos")


def info_of(name: str) -> OptionInfo:
    """What else is known of the option `name`."""
    found: OptionInfo = TuneOptions.__dataclass_fields__[name].metadata["info"]
    return found


def _default(name: str) -> Any:
    """The default of the option `name`."""
    return TuneOptions.__dataclass_fields__[name].default


def recorded(value: Any) -> Any:
    """An option's value for JSON: paths absolute, as text."""
    if isinstance(value, Path):
        return str(value.resolve())
    return value.value if isinstance(value, StrEnum) else value
