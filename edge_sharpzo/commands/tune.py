"""`edge-sharpzo tune`: from a folder of photos to a tuned prompt."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_sharpzo import run_folder
from edge_sharpzo.calibration import calibration_error
from edge_sharpzo.checkpoint import FILE, Checkpoints
from edge_sharpzo.classifier import write_classifier
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.commands.run_record import TuneOptions, describe_run, summarise
from edge_sharpzo.dataset import Photos, load_dataset
from edge_sharpzo.display import Display
from edge_sharpzo.errors import UserError
from edge_sharpzo.features import encode_splits
from edge_sharpzo.fusion import fuse, settled
from edge_sharpzo.interrupts import Interrupts
from edge_sharpzo.loss import accuracy, share_right, softmax
from edge_sharpzo.machine import check_device
from edge_sharpzo.memory import MemoryLimit, give_back, keep_little, peak_mb
from edge_sharpzo.methods.gauss_newton import GaussNewtonSettings
from edge_sharpzo.methods.registry import plan
from edge_sharpzo.noise import NOISE_QUERIES, difference_step
from edge_sharpzo.objective import PromptObjective
from edge_sharpzo.providers import announcement
from edge_sharpzo.report import write_report
from edge_sharpzo.text_tower import TextTower
from edge_sharpzo.tuner import Progress, tune

SHORTEST_DIFFERENCE = GaussNewtonSettings.difference  # float32 allows it everywhere so far


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
    check_device()
    keep_little()
    _check(options)
    chosen = plan(options.method, options.preset, options.paper_task, options.budget, timed=options.minutes is not None)
    clip = ClipOnnx(options.onnx, options.threads, options.provider, MemoryLimit(options.max_memory))
    dataset = load_dataset(options.data, options.shots, options.seed, options.class_names)
    # A name too long fails before the photos are encoded.
    context_tokens = options.context_tokens or chosen.context_tokens
    clip.prompts.for_tuning(dataset.names, options.template, context_tokens)
    rows = clip.prompts.as_written(dataset.names, options.template)
    clip.let_go()
    config = describe_run(options, chosen, clip, dataset)
    if resume:
        _check_unchanged(options.out, config)
    else:
        run_folder.create(options.out, config)
    checkpoints = Checkpoints(options.out)
    display.say(f"{options.provider}, {options.threads} threads")
    for note in (announcement(options.provider), *dataset.notes):
        if note:
            display.say(f"note: {note}")

    skipped: set[Path] = set()

    def skip(path: Path, reason: str) -> None:
        skipped.add(path)
        display.say(f"skipped {path}: {reason}")

    splits = encode_splits(clip, dataset, display.photos, skip, lambda text: display.say(f"note: {text}"))
    train, val, test, borrowed = splits
    features_seconds = time.monotonic() - started
    if len(missing := set(range(len(dataset.names))) - set(train.labels.tolist())):
        raise UserError(f"no training photo of '{dataset.folders[missing.pop()]}' can be read: replace its photos")

    objective = PromptObjective(
        clip,
        dataset.names,
        train.features,
        train.labels,
        template=options.template,
        context_tokens=context_tokens,
        dim=chosen.dim,
        projection_std=chosen.projection_std,
        seed=options.seed,
        later=borrowed,
        integer=chosen.integer,
    )
    as_written = TextTower(clip, rows, 0).as_written()
    objective.queries["zero_shot"] += 1
    clock = time.monotonic()
    found = difference_step(lambda points: objective.text_features(points, "noise"), objective.dim, SHORTEST_DIFFERENCE, options.seed)
    display.say(f"the text tower answers to {found.noise:.0e}; finite differences take a step of {found.step:.2g}")
    if not (found.fit or chosen.integer):
        display.say(f"note: {100 * found.error:.0f} % of a finite difference would be noise here: take --method cma-es, or a provider that is exact")
    seconds_a_query = (time.monotonic() - clock) / NOISE_QUERIES

    def seconds_left() -> float | None:
        """Of the time for tuning, which began when the photos were done."""
        return 60 * options.minutes + started + features_seconds - time.monotonic() if options.minutes else None

    display.start_tuning(chosen.planned, seconds_left(), seconds_a_query)
    optimizer = chosen.make(objective.dim, objective.loss, options.seed, found.step if found.step > SHORTEST_DIFFERENCE else 0.0)
    give_back()
    progress = None
    if resume and (stored := checkpoints.read()):
        progress, state = stored
        try:
            optimizer.restore(state)
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"{checkpoints.path} is of another version ({error}): tune again") from error
        display.say(f"going on after {sum(progress.queries.values()):,} queries")

    def step(progress: Progress) -> None:
        display.queries(sum(progress.queries.values()), optimizer.stage)
        checkpoints.offer(progress, optimizer.state)

    with Interrupts() as interrupts:
        outcome = tune(
            objective,
            optimizer,
            val,
            budget=chosen.budget,
            seconds=seconds_left(),
            seconds_a_query=seconds_a_query,
            early_stop=chosen.early_stop,
            progress=progress,
            interrupts=interrupts,
            on_record=lambda record, _: display.record(record),
            on_step=step,
        )
    best = outcome.progress.best
    validated = outcome.progress.validated or best
    if outcome.stopped_because == "interrupted":
        checkpoints.write(outcome.progress, optimizer.state())
    seconds = {"features": features_seconds, "tuning": time.monotonic() - started - features_seconds}

    validated_text, text = settled(validated.text, best.text, as_written, splits, clip.card.logit_scale)
    fusion = fuse("gda" if options.head == "gda" else "ensemble", clip.card.logit_scale, validated_text, text, splits, mix=options.head != "none")
    tuned = run_folder.TunedPrompt(
        context=objective.contexts(best.point[None])[0],
        text_features=text,
        folders=dataset.folders,
        names=dataset.names,
        template=options.template,
        logit_scale=clip.card.logit_scale,
        model_sha256=clip.sha256,
        head=fusion.added,
        calibration=fusion.calibration,
    )
    summary = summarise(options, chosen, clip, dataset, splits, len(skipped), objective, outcome)
    # Validation accuracies are those of before any validation photo was learnt from.
    # Test photos are looked at here for the first time, when nothing is left to choose.
    summary["accuracy"] = {
        "zero_shot": {"val": accuracy(as_written, *val), "test": accuracy(as_written, *test)},
        "tuned": {"val": accuracy(validated_text, *val), "test": accuracy(text, *test)},
        "head": {
            "name": fusion.alone.name,
            "val": fusion.alone_val,
            "test": share_right(fusion.alone.logits(test.features), test.labels),
        },
        "classifier": {
            "head": fusion.added.name if fusion.added else "none",
            "val": fusion.mixed_val,
            "test": share_right(tuned.logits(test.features), test.labels),
        },
    }
    summary["seconds"] = {k: round(v, 2) for k, v in {**seconds, "total": time.monotonic() - started}.items()}
    summary["peak_rss_mb"] = peak_mb()
    logits = tuned.logits(test.features)
    summary["calibration"] = {
        **asdict(fusion.calibration),
        "error": calibration_error(softmax(logits), test.labels),
        "error_before": calibration_error(softmax(fusion.calibration.temperature * logits), test.labels),
    }
    with run_folder.writing_results(options.out):
        write_classifier(options.out, clip, tuned)
        photos = Photos([path for path in dataset.test.paths if path not in skipped], test.labels)
        write_report(options.out, summary, config, outcome.progress.records, tuned, photos, test.features)
    run_folder.finish(options.out, summary, [asdict(record) for record in outcome.progress.records], tuned)
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
