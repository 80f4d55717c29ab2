"""A method on one draw of one set: some cells of the accuracy table. Prints a line of JSON for each
budget, or for each of several methods that search nothing.

`python -m benchmarks.one_run --method gauss-newton --set DIR --seed 0 --budgets 5000`
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablations import VARIANTS
from benchmarks.accuracy import NO_QUERY
from benchmarks.opponents import OPPONENTS, fitted
from benchmarks.sets import load_problem, preferred, with_method
from edge_sharpzo.classifier.heads import HEADS
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.photos.labelled import joined
from edge_sharpzo.pipeline import Found, Prepared, assess, finish, objective_of
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.system.memory import peak_mb
from edge_sharpzo.tuning.budget import Budget
from edge_sharpzo.tuning.loop import Watch, run_loop
from edge_sharpzo.tuning.loss import accuracy, share_right
from edge_sharpzo.tuning.methods.plan import Plan, Preset, Request
from edge_sharpzo.tuning.methods.registry import METHODS, plan
from edge_sharpzo.tuning.records import Record

Result = dict[str, Any]
ENSEMBLE = [
    "a photo of a {}.",
    "a photo of the {}.",
    "a bad photo of a {}.",
    "a close-up photo of a {}.",
    "itap of a {}.",
    "a {}.",
    "{}.",
]


def zero_shot(problem: Prepared, templates: list[str]) -> np.ndarray:
    """Mean text features [K, D] of the class names in `templates`, normalised."""
    clip, names = problem.task.clip, problem.task.found.names
    towers = (TextTower(clip, clip.prompts.as_written(names, t), 0) for t in templates)
    mean = sum(template_features(tower, clip.card.text.width) for tower in towers)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


def closed_form(name: str, problem: Prepared) -> Result:
    """Methods that search nothing."""
    splits, template = problem.splits, problem.task.options.template
    scale = problem.task.clip.card.logit_scale
    text = zero_shot(problem, [template])
    if name == "prompt-ensemble":
        several = zero_shot(problem, [template, *ENSEMBLE])
        logits = fitted(OPPONENTS["zero-shot"], several, splits, scale)
    elif name in HEADS:
        logits = HEADS[name](*joined(splits.train, splits.borrowed), text).logits
    elif name == NO_QUERY:
        context = np.zeros((0, problem.task.clip.card.text.width), np.float32)
        logits = finish(problem, Found(context, text, text, text)).prompt.logits
    else:
        logits = fitted(OPPONENTS[name], text, splits, scale)
    return {"held_out": share_right(logits(splits.test.features), splits.test.labels)}


def searched(
    chosen: Plan,
    problem: Prepared,
    budgets: Sequence[int] = (),
    context_tokens: int | None = None,
) -> list[Result]:
    """A run of a registry's method, for each of `budgets`; for the whole run alone without any.

    Accuracies of the best prompt by then, its curve, the mix with a head. Fewer queries than the
    run's own make sense for methods that plan nothing by them.
    """
    problem = with_method(problem, chosen, context_tokens)
    objective, seed = objective_of(problem), problem.task.options.seed
    # Best prompts so far: record, text features, processor seconds.
    looks: list[tuple[Record, np.ndarray, float]] = []
    started = time.process_time()

    def look(record: Record, text: np.ndarray) -> None:
        if record.best or not looks:
            looks.append((record, text, time.process_time() - started))

    outcome = run_loop(
        objective,
        chosen.make(objective.dim, objective.loss, seed),
        problem.splits.val,
        Budget(chosen.budget),
        chosen.criterion,
        watch=Watch(on_record=look),
    )
    seconds, used = time.process_time() - started, objective.queries.total()
    as_written = zero_shot(problem, [problem.task.options.template])
    results = []
    for budget in budgets or [used]:
        seen = [look for look in looks if look[0].queries <= budget]
        record, last = seen[-1][:2]
        if budget >= used and outcome.state.before_refit:
            record, last = outcome.validated.record, outcome.validated.text
        found = Found(objective.initial_context, seen[-1][1], last, as_written)
        results.append(
            {
                **_scores(problem, found, seen),
                "loss": seen[-1][0].loss,
                "val_loss": record.val_loss,
                "queries": min(budget, used),
                "cpu_seconds": round(seconds * min(1.0, budget / used), 2),
            }
        )
    return results


def _scores(
    problem: Prepared, found: Found, seen: list[tuple[Record, np.ndarray, float]]
) -> Result:
    """Accuracies on held-out photos: of the finished classifier, and of each prompt `seen`."""
    finished, test = finish(problem, found), problem.splits.test
    assessed = assess(problem, found, finished)
    scores = assessed.accuracy
    # Held-out photos are looked at for the curve alone: nothing is chosen by them.
    curve = [(r.queries, round(s, 2), accuracy(t, *test)) for r, t, s in seen]
    return {
        "held_out": scores.tuned.test,
        "validated_held_out": accuracy(finished.validated_text, *test),
        "head": scores.head.name,
        "head_held_out": scores.head.test,
        "fused_held_out": scores.classifier.test,
        "calibration_error": assessed.calibration.error,
        "curve": curve[:: max(1, len(curve) // 60)],
    }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--method", required=True, help="or several, comma-separated, that search nothing"
    )
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, default=Path("models/lite-clip/clip.onnx"))
    parser.add_argument(
        "--source",
        default="local-dir:models/lite-clip",
        help="the same model for open_clip; gradients need it",
    )
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--budgets",
        default="0",
        help="comma-separated; several of methods that plan nothing by their budget",
    )
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    clip = ClipOnnx(options.onnx, options.threads)
    problem = load_problem(clip, options.set, options.shots, options.seed)
    budgets = [int(budget) for budget in options.budgets.split(",")]
    request = Request(budget=max(budgets) or None)
    if options.method == "gradient":
        from benchmarks.gradient import coop

        results: list[Result] = [coop(options.source, problem)]
    elif options.method == "sharpzo-paper":
        published = plan("sharpzo", replace(request, preset=Preset.PAPER))
        results = searched(published, problem, budgets)
    elif options.method in METHODS:
        results = searched(preferred(clip, options.method, request), problem, budgets)
    elif variant := VARIANTS.get(options.method):
        results = searched(variant.plan(max(budgets)), problem, budgets, variant.context_tokens)
    else:
        results = [closed_form(name, problem) for name in options.method.split(",")]
    for result in results:
        print(json.dumps({**result, "peak_rss_mb": peak_mb(), "model_sha256": clip.sha256}))


if __name__ == "__main__":
    main()
