"""`edge-sharpzo tune`: from a folder of photos to a tuned prompt."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_sharpzo import run_folder
from edge_sharpzo.checkpoint import FILE, Checkpoints
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.dataset import Dataset, load_dataset
from edge_sharpzo.display import Display
from edge_sharpzo.errors import UserError
from edge_sharpzo.features import encode_photos
from edge_sharpzo.heads import HEADS, LinearHead, choose_head
from edge_sharpzo.interrupts import Interrupts
from edge_sharpzo.loss import accuracy
from edge_sharpzo.machine import peak_rss_mb, versions
from edge_sharpzo.methods.gauss_newton import GaussNewtonSettings
from edge_sharpzo.methods.registry import Plan, plan
from edge_sharpzo.noise import difference_step
from edge_sharpzo.objective import PromptObjective
from edge_sharpzo.text_tower import TextTower
from edge_sharpzo.tuner import Outcome, Progress, tune

SHORTEST_DIFFERENCE = GaussNewtonSettings.difference  # float32 allows it everywhere so far


@dataclass(frozen=True)
class TuneOptions:
    """The command's options; see `edge-sharpzo tune --help`."""

    onnx: Path
    data: Path
    out: Path
    shots: int
    seed: int
    template: str
    context_tokens: int | None
    class_names: Path | None
    method: str | None
    preset: str
    paper_task: str
    budget: int | None
    minutes: float | None
    threads: int
    provider: str
    head: str


@dataclass(frozen=True)
class Split:
    """Image features [N, D] and labels [N] of one split."""

    features: np.ndarray
    labels: np.ndarray


def resumed_options(folder: Path) -> TuneOptions:
    """The options that the run in `folder` was started with. Raises UserError when it cannot go on."""
    config = run_folder.load_config(folder)
    if (summary := folder / run_folder.SUMMARY).exists() and not (folder / FILE).exists():
        raise UserError(f"{folder} is finished ({summary.name} is there): tune again with another --out")
    stored = config.get("options")
    try:
        if not isinstance(stored, dict):
            raise TypeError("no options")
        paths = {name: Path(stored[name]) for name in ("onnx", "data")}
        names = Path(stored["class_names"]) if stored["class_names"] else None
        return TuneOptions(**{**stored, **paths, "class_names": names, "out": folder})
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / run_folder.CONFIG} does not hold this version's options ({error}): tune again") from error


def run_tune(options: TuneOptions, display: Display, resume: bool = False) -> dict[str, Any]:
    """Runs the whole command and returns the summary that it also wrote; `resume` goes on from the run's checkpoint.

    Raises UserError.
    """
    started = time.monotonic()
    _check(options)
    chosen = plan(options.method, options.preset, options.paper_task, options.budget, timed=options.minutes is not None)
    clip = ClipOnnx(options.onnx, options.threads, options.provider)
    dataset = load_dataset(options.data, options.shots, options.seed, options.class_names)
    # A name too long fails before the photos are encoded.
    clip.prompts.for_tuning(dataset.names, options.template, options.context_tokens)
    rows = clip.prompts.as_written(dataset.names, options.template)
    config = _config(options, chosen, clip, dataset)
    if resume:
        _check_unchanged(options.out, config)
    else:
        run_folder.create(options.out, config)
    checkpoints = Checkpoints(options.out)
    for note in dataset.notes:
        display.say(f"note: {note}")

    splits, skipped = _encode(clip, dataset, display)
    features_seconds = time.monotonic() - started
    train, val, test = splits["train"], splits["val"], splits["test"]
    if len(missing := set(range(len(dataset.names))) - set(train.labels.tolist())):
        raise UserError(f"no training photo of '{dataset.folders[missing.pop()]}' can be read: replace its photos")

    objective = PromptObjective(
        clip,
        dataset.names,
        train.features,
        train.labels,
        template=options.template,
        context_tokens=options.context_tokens,
        dim=chosen.dim,
        projection_std=chosen.projection_std,
        seed=options.seed,
    )
    as_written = TextTower(clip, rows, 0).as_written()
    objective.queries["zero_shot"] += 1
    difference, noise = difference_step(lambda points: objective.text_features(points, "noise"), objective.dim, SHORTEST_DIFFERENCE, options.seed)
    display.say(f"the text tower answers to {noise:.0e}; finite differences take a step of {difference:.2g}")
    display.start_tuning(chosen.planned)
    optimizer = chosen.make(objective.dim, objective.loss, options.seed, difference if difference > SHORTEST_DIFFERENCE else 0.0)
    progress = None
    if resume and (stored := checkpoints.read()):
        progress, state = stored
        optimizer.restore(state)
        display.say(f"going on after {sum(progress.queries.values()):,} queries")

    def step(progress: Progress) -> None:
        display.queries(sum(progress.queries.values()), optimizer.stage)
        checkpoints.offer(progress, optimizer.state)

    with Interrupts() as interrupts:
        outcome = tune(
            objective,
            optimizer,
            (val.features, val.labels),
            budget=chosen.budget,
            seconds=60 * options.minutes if options.minutes else None,
            progress=progress,
            interrupts=interrupts,
            on_record=lambda record, _: display.record(record),
            on_step=step,
        )
    best, history = outcome.progress.best, outcome.progress.records
    if outcome.stopped_because == "interrupted":
        checkpoints.write(outcome.progress, optimizer.state())
    seconds = {"features": features_seconds, "tuning": time.monotonic() - started - features_seconds}

    alone, added = _heads(options.head, best.text, clip.card.logit_scale, train, val)
    tuned = run_folder.TunedPrompt(
        context=objective.contexts(best.point[None])[0],
        text_features=best.text,
        folders=dataset.folders,
        names=dataset.names,
        template=options.template,
        logit_scale=clip.card.logit_scale,
        model_sha256=clip.sha256,
        head=added,
    )
    summary = _summary(options, chosen, clip, dataset, splits, skipped, objective, outcome)
    # Test photos are looked at here for the first time, when nothing is left to choose.
    summary["accuracy"] = {
        "zero_shot": {"val": accuracy(as_written, *_pair(val)), "test": accuracy(as_written, *_pair(test))},
        "tuned": {"val": best.record.val_accuracy, "test": accuracy(best.text, *_pair(test))},
        "head": {"name": alone.name, **{name: _share_right(alone.logits, part) for name, part in (("val", val), ("test", test))}},
        "classifier": {
            "head": added.name if added else "none",
            **{n: _share_right(tuned.logits, part) for n, part in (("val", val), ("test", test))},
        },
    }
    summary["seconds"] = {k: round(v, 2) for k, v in {**seconds, "total": time.monotonic() - started}.items()}
    summary["peak_rss_mb"] = peak_rss_mb()
    run_folder.finish(options.out, summary, [asdict(record) for record in history], tuned)
    if outcome.stopped_because != "interrupted":
        checkpoints.delete()
    return summary


def _check_unchanged(folder: Path, config: dict[str, Any]) -> None:
    """Raises UserError when the model or the photos are not those that the run was started with."""
    stored = run_folder.load_config(folder)
    causes = {
        "model_sha256": "the model file is another one than the run was started with: put that one back",
        "tuned_on": "the photos are not those that the run was started with: put them back",
        "names": "the class names are not those that the run was started with: put them back",
    }
    for name, cause in causes.items():
        if stored.get(name) != config[name]:
            raise UserError(f"cannot go on with {folder}: {cause}, or tune again")


def _heads(choice: str, text: np.ndarray, scale: float, train: Split, val: Split) -> tuple[LinearHead, LinearHead | None]:
    """The best closed-form head alone, and the one to add to the prompt's logits, None for `--head none`."""
    names = ["gda"] if choice == "gda" else list(HEADS)
    alone, added = choose_head(names, lambda features: scale * features @ text.T, _pair(train), _pair(val), len(text))
    return alone, None if choice == "none" or added.name == "none" else added


def _share_right(logits: Callable[[np.ndarray], np.ndarray], split: Split) -> float | None:
    """Accuracy of a classifier on a split; None without photos."""
    return float((logits(split.features).argmax(axis=1) == split.labels).mean()) if len(split.labels) else None


def _check(options: TuneOptions) -> None:
    if options.head not in ("none", "gda", "auto"):
        raise UserError(f"--head {options.head}: choose none, gda or auto")
    if options.template.count("{}") != 1:
        raise UserError(f"--template '{options.template}' needs the class name's place once, as in \"a photo of a {{}}.\"")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: use 0 or a positive number")
    if options.context_tokens is not None and options.context_tokens < 1:
        raise UserError(f"--context-tokens {options.context_tokens}: ask for at least one")
    if options.budget is not None and options.budget < 1:
        raise UserError(f"--budget {options.budget}: give the number of queries to spend, at least 1")
    if options.minutes is not None and not options.minutes > 0:
        raise UserError(f"--minutes {options.minutes}: give a positive number")


def _encode(clip: ClipOnnx, dataset: Dataset, display: Display) -> tuple[dict[str, Split], int]:
    """Features of the three splits, in one pass of the image tower, and how many photos were skipped."""
    photos = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    skipped = 0

    def skip(path: Path, reason: str) -> None:
        nonlocal skipped
        skipped += 1
        display.say(f"skipped {path}: {reason}")

    paths = [path for part in photos.values() for path in part.paths]
    features, readable = encode_photos(clip, paths, dataset.root, display.photos, skip)
    splits, start = {}, 0
    for name, part in photos.items():
        rows = slice(start, start + len(part))
        splits[name] = Split(features[rows][readable[rows]], part.labels[readable[rows]])
        start += len(part)
    return splits, skipped


def _pair(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return split.features, split.labels


def _config(options: TuneOptions, chosen: Plan, clip: ClipOnnx, dataset: Dataset) -> dict[str, Any]:
    paths: Callable[[Any], Any] = lambda v: str(v.resolve()) if isinstance(v, Path) else v  # noqa: E731
    return {
        "options": {name: paths(value) for name, value in asdict(options).items()},
        "preset": {
            "name": chosen.preset,
            "method": chosen.method,
            "dim": chosen.dim,
            "projection_std": chosen.projection_std,
            "budget": chosen.budget,
            "settings": chosen.settings if isinstance(chosen.settings, dict) else asdict(chosen.settings),
        },
        "model_sha256": clip.sha256,
        "folders": dataset.folders,
        "names": dataset.names,
        "tuned_on": [str(path.resolve()) for path in (*dataset.train.paths, *dataset.val.paths)],
    }


def _summary(
    options: TuneOptions,
    chosen: Plan,
    clip: ClipOnnx,
    dataset: Dataset,
    splits: dict[str, Split],
    skipped: int,
    objective: PromptObjective,
    outcome: Outcome,
) -> dict[str, Any]:
    return {
        "method": chosen.method,
        "preset": chosen.preset,
        "paper_task": options.paper_task if chosen.preset == "paper" else None,
        "seed": options.seed,
        "model": {"name": clip.card.name, "weights": clip.card.weights, "sha256": clip.sha256},
        "data": {
            "classes": len(dataset.names),
            **{name: len(split.labels) for name, split in splits.items()},
            "shots": options.shots,
            "skipped": skipped,
        },
        "accuracy": {},
        "loss": {"start": outcome.progress.records[0].loss, "end": outcome.progress.best.record.loss},
        "queries": {"total": objective.queries.total(), "by_kind": dict(objective.queries)},
        "seconds": {},
        "peak_rss_mb": None,
        "stopped_because": outcome.stopped_because,
        "provider": options.provider,
        "threads": options.threads,
        "versions": versions(),
    }
