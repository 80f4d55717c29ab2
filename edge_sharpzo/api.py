"""`edge_sharpzo.tune`: what the command `edge-sharpzo tune` does, for a script.

No terminal, no signals, no global state; any thread may call it, and several at once.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sharpzo.runs.options import SWEEP_AXES, TuneOptions, as_path, check_source
from edge_sharpzo.sweeping.options import SweepOptions
from edge_sharpzo.system.errors import UserError, os_errors_told
from edge_sharpzo.system.stopping import StopWhen

if TYPE_CHECKING:
    from edge_sharpzo.checking import CheckedPhotos
    from edge_sharpzo.events import Event
    from edge_sharpzo.runs.records import Summary
    from edge_sharpzo.sweeping.sweep import Swept

OWN = ("data",)  # options that `tune` takes by position


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Run:
    """A tuned run."""

    folder: Path  # `Classifier.load` opens it
    summary: "Summary"  # accuracies, queries, seconds; what `summary.json` holds

    @property
    def interrupted(self) -> bool:
        """Whether it was cancelled; `tune(resume=run.folder)` goes on with it."""
        from edge_sharpzo.tuning.records import StopReason

        return self.summary.stopped_because == StopReason.INTERRUPTED


def _quiet(event: "Event") -> None:
    pass


def tune(
    data: str | PathLike[str] | None = None,
    *,
    resume: str | PathLike[str] | None = None,
    overwrite: bool = False,
    on_progress: Callable[["Event"], object] = _quiet,
    cancelled: Callable[[], bool] = _never,
    **options: Any,
) -> Run:
    """Tunes a prompt on the labelled photos in the folder `data` and writes a run folder.

    `resume` goes on with the interrupted run in that folder instead, under the options it was
    started with. `overwrite` deletes an earlier run in `out`, which is refused otherwise.
    `on_progress` hears what happens, see `edge_sharpzo.events`. `cancelled` is asked between steps:
    once it says True, the run ends with the best prompt so far and a checkpoint.

    `options` are the command's: onnx, out, shots, seed, template, context_tokens, start,
    class_names, more_classes, method, preset, paper_task, budget (queries), minutes, threads,
    max_memory (MB), provider, head, plain_classifier, send_photos; and engine, the address of where
    the towers run, or the name of a registered text encoder. `resume` takes the last two anew.

    Raises UserError for whatever the caller can mend, TypeError for an option that does not exist,
    Cancelled where it is cancelled before the search has begun.

    Example:
        >>> run = edge_sharpzo.tune("imgs", onnx="clip.onnx", shots=16, budget=5000)
        >>> run.summary.accuracy.classifier.test
        0.823
        >>> run.folder
        PosixPath('runs/2026-11-25_21-13-17')
    """
    from edge_sharpzo import run
    from edge_sharpzo.runs.folder import resumed_options

    check_source(data, resume, options)
    for name, function in (("on_progress", on_progress), ("cancelled", cancelled)):
        if not callable(function):
            raise UserError(
                f"`{name}`: expected a function, got {type(function).__name__}", field=name
            )
    with os_errors_told():
        if resume is not None:
            again = vars(options_from(**options))
            chosen = resumed_options(
                Path(resume).absolute(), {name: again[name] for name in options}
            )
        else:
            chosen = options_from(data=data, **options).with_absolute_paths()
        folder, summary = run.tune(
            chosen,
            on_progress,
            StopWhen(cancelled),
            resume=resume is not None,
            overwrite=overwrite,
        )
    return Run(folder, summary)


def check(
    data: str | PathLike[str], *, on_progress: Callable[["Event"], object] = _quiet, **options: Any
) -> "CheckedPhotos":
    """Looks for photos that hurt in the folder `data`, without tuning.

    `options` are some of those of `tune`: onnx, template, class_names, threads, max_memory (MB),
    provider. `on_progress` hears what happens, see `edge_sharpzo.events`.

    Raises UserError for whatever the caller can mend, TypeError for an option that does not exist.

    Example:
        >>> found = edge_sharpzo.check("imgs", onnx="clip.onnx").found
        >>> [(each.photo, each.label, each.looks_like) for each in found.suspects]
        [('imgs/shirt/12.jpg', 'shirt', 't-shirt')]
    """
    from edge_sharpzo.checking import check_photos
    from edge_sharpzo.runs.options import CHECK_OPTIONS

    if unknown := [name for name in options if name not in CHECK_OPTIONS]:
        raise TypeError(f"check() has no option '{unknown[0]}'. It has: {', '.join(CHECK_OPTIONS)}")
    if not callable(on_progress):
        raise UserError(
            f"`on_progress`: expected a function, got {type(on_progress).__name__}", "on_progress"
        )
    with os_errors_told():
        return check_photos(options_from(data=data, **options), on_progress)


def sweep(
    data: "str | PathLike[str] | Iterable[str | PathLike[str]]",
    *,
    on_progress: Callable[["Event"], object] = _quiet,
    cancelled: Callable[[], bool] = _never,
    **options: Any,
) -> "Swept":
    """Tunes once for each folder of photos in `data`, method, number of shots, seed and budget.

    `options` are `seeds`, `shots`, `budgets` (numbers in a list, or text such as "0-4" or
    "1,4,16"), `methods`, `out` (the folder for all runs), `workers` (runs at once on this machine;
    0: one for each core), `engine` ("local", or "dask://HOST:8786", a scheduler whose workers do
    the runs), and those of `tune` that all runs share.

    Runs are processes of their own. What is finished in `out` is not run again, what has begun goes
    on. A run that fails is in `failed` of what is returned, and the others go on.

    Raises UserError for whatever the caller can mend, TypeError for an option that does not exist,
    Cancelled where it is cancelled.

    Example:
        >>> swept = edge_sharpzo.sweep("imgs", seeds="0-4", shots=[1, 16], out="runs/shots")
        >>> [(row["shots"], row["classifier"]["mean"]) for row in swept.table]
        [(1, 0.512), (16, 0.823)]
    """
    from edge_sharpzo.sweeping.plan import sweep_of
    from edge_sharpzo.sweeping.sweep import sweep as run_sweep

    names = [each.name for each in fields(SweepOptions)]
    own = {name: options.pop(name) for name in names if name in options}
    shared = [each.name for each in fields(TuneOptions) if each.name not in SWEEP_AXES]
    if unknown := [name for name in options if name not in shared]:
        known = ", ".join(dict.fromkeys([*names, *shared]))
        raise TypeError(f"sweep() has no option '{unknown[0]}'. It has: {known}")
    folders = [data] if isinstance(data, str | PathLike) else list(data)
    own |= {"out": Path(own["out"])} if own.get("out") else {}
    asked = SweepOptions([Path(folder) for folder in folders], **own)
    return run_sweep(sweep_of(asked, options_from(**options)), on_progress, StopWhen(cancelled))


def options_from(**given: Any) -> TuneOptions:
    """The options of a run from keyword arguments; paths may be text.

    Raises TypeError for an option that does not exist, UserError for one of another type.
    """
    known = {each.name: each for each in fields(TuneOptions)}
    if unknown := [name for name in given if name not in known]:
        raise TypeError(f"tune() has no option '{unknown[0]}'. It has: {', '.join(known)}")
    import msgspec  # here, so that importing the package does not load it

    made: dict[str, Any] = {}
    for name, value in given.items():
        kind = known[name].type
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            kind = str  # its choices are checked, and told, where all options are
        plain = value.item() if type(value).__module__ == "numpy" and not value.shape else value
        try:
            made[name] = msgspec.convert(plain, kind, dec_hook=as_path)
        except msgspec.ValidationError as error:
            told = str(error)
            raise UserError(f"`{name}`: {told[0].lower()}{told[1:]}", field=name) from error
    return TuneOptions(**made)


def _signature() -> inspect.Signature:
    """With every option by name and default, for `help()` and editors."""
    plain = inspect.signature(tune)
    own = [p for p in plain.parameters.values() if p.kind is not p.VAR_KEYWORD]
    named = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if isinstance(each.default, Path) else each.default,
            annotation=str if each.type is Path else each.type,
        )
        for each in fields(TuneOptions)
        if each.name not in OWN
    ]
    return plain.replace(parameters=[*own, *named])


tune.__signature__ = _signature()  # type: ignore[attr-defined]
