"""A method on one draw of one set: some cells of the accuracy table. Prints a line of JSON for each budget.

`python -m benchmarks.one_run --method gauss-newton --set DIR --seed 0 --budgets 5000`
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does; before NumPy is loaded

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablations import VARIANTS
from benchmarks.sets import Problem, load_problem
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.features import Split
from edge_sharpzo.fusion import fuse, settled
from edge_sharpzo.heads import HEADS
from edge_sharpzo.loss import accuracy, share_right
from edge_sharpzo.machine import usable_cores
from edge_sharpzo.memory import peak_mb
from edge_sharpzo.methods.registry import METHODS, Plan, plan
from edge_sharpzo.objective import PromptObjective
from edge_sharpzo.text_tower import TextTower
from edge_sharpzo.tuner import Record, tune

Result = dict[str, Any]
ENSEMBLE = ["a photo of a {}.", "a photo of the {}.", "a bad photo of a {}.", "a close-up photo of a {}.", "itap of a {}.", "a {}.", "{}."]
TIP_BETAS, TIP_ALPHAS = (1.0, 3.0, 5.5, 8.0, 12.0), (0.0, 0.3, 1.0, 3.0, 10.0, 30.0)


def zero_shot(clip: ClipOnnx, problem: Problem, templates: list[str]) -> np.ndarray:
    """Mean text features [K, D] of the class names in `templates`, normalised."""
    mean = sum(TextTower(clip, clip.prompts.as_written(problem.names, t), 0).as_written() for t in templates)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


def tip_adapter(text: np.ndarray, problem: Problem, scale: float) -> float:
    """Held-out accuracy of training-free Tip-Adapter (Zhang et al., ECCV 2022); alpha and beta chosen on validation."""
    keys, labels = problem.splits.train
    values = np.eye(len(text))[labels]

    def logits(features: np.ndarray, alpha: float, beta: float) -> np.ndarray:
        return scale * features @ text.T + alpha * np.exp(-beta * (1 - features @ keys.T)) @ values

    def right(split: Split, alpha: float, beta: float) -> float:
        return share_right(logits(split.features, alpha, beta), split.labels) or 0.0

    alpha, beta = max(((a, b) for a in TIP_ALPHAS for b in TIP_BETAS), key=lambda ab: right(problem.splits.val, *ab))
    return right(problem.splits.test, alpha, beta)


def closed_form(name: str, clip: ClipOnnx, problem: Problem) -> Result:
    """Methods that search nothing."""
    if name in HEADS:
        return {
            "held_out": share_right(
                HEADS[name](*problem.splits.train, len(problem.names)).logits(problem.splits.test.features), problem.splits.test.labels
            )
        }
    text = zero_shot(clip, problem, [problem.template])
    if name == "zero-shot":
        held_out = accuracy(text, *problem.splits.test)
    elif name == "prompt-ensemble":
        held_out = accuracy(zero_shot(clip, problem, [problem.template, *ENSEMBLE]), *problem.splits.test)
    else:
        held_out = tip_adapter(text, problem, clip.card.logit_scale)
    return {"held_out": held_out}


def searched(
    chosen: Plan, clip: ClipOnnx, problem: Problem, seed: int, budgets: Sequence[int] = (), context_tokens: int | None = None
) -> list[Result]:
    """A run of a registry's method: for each of `budgets` the accuracies of the best prompt by then, its curve, the mix with a head.

    Without `budgets` for the whole run alone. Fewer queries than the run's own make sense for methods that plan nothing by them.
    """
    objective = PromptObjective(
        clip,
        problem.names,
        *problem.splits.train,
        template=problem.template,
        context_tokens=context_tokens or chosen.context_tokens,
        dim=chosen.dim,
        projection_std=chosen.projection_std,
        seed=seed,
        later=problem.splits.borrowed,
        integer=chosen.integer,
    )
    looks: list[tuple[Record, np.ndarray, float]] = []  # best prompts so far: record, text features, processor seconds
    started = time.process_time()

    def look(record: Record, text: np.ndarray) -> None:
        if record.best or not looks:
            looks.append((record, text, time.process_time() - started))

    optimizer = chosen.make(objective.dim, objective.loss, seed)
    outcome = tune(objective, optimizer, problem.splits.val, chosen.budget, early_stop=chosen.early_stop, on_record=look)
    seconds, used, scale = time.process_time() - started, objective.queries.total(), clip.card.logit_scale
    as_written = zero_shot(clip, problem, [problem.template])
    features, labels = problem.splits.test
    results = []
    for budget in budgets or [used]:
        whole = budget >= used
        seen = [look for look in looks if look[0].queries <= budget]
        validated = outcome.progress.validated if whole and outcome.progress.validated else None
        record, last = (validated.record, validated.text) if validated else seen[-1][:2]
        validated_text, text = settled(last, seen[-1][1], as_written, problem.splits, scale)
        fusion = fuse("ensemble", scale, validated_text, text, problem.splits)
        prompt = scale * features @ text.T
        # Held-out photos are looked at for the curve alone: nothing is chosen by them.
        curve = [(r.queries, round(s, 2), accuracy(t, features, labels)) for r, t, s in seen]
        results.append(
            {
                "held_out": share_right(prompt, labels),
                "validated_held_out": accuracy(validated_text, features, labels),
                "head": fusion.alone.name,
                "head_held_out": share_right(fusion.alone.logits(features), labels),
                "fused_held_out": share_right(fusion.logits(prompt, features), labels),
                "loss": seen[-1][0].loss,
                "val_loss": record.val_loss,
                "queries": min(budget, used),
                "cpu_seconds": round(seconds * min(1.0, budget / used), 2),
                "curve": curve[:: max(1, len(curve) // 60)],
            }
        )
    return results


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", required=True)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, default=Path("models/lite-clip/clip.onnx"))
    parser.add_argument("--source", default="local-dir:models/lite-clip", help="the same model for open_clip; gradients need it")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budgets", default="0", help="comma-separated; several of methods that plan nothing by their budget")
    options = parser.parse_args()
    clip = ClipOnnx(options.onnx, usable_cores())
    problem = load_problem(clip, options.set, options.shots, options.seed)
    budgets = [int(budget) for budget in options.budgets.split(",")]
    if options.method == "gradient":
        from benchmarks.gradient import coop

        results: list[Result] = [coop(clip, options.source, problem)]
    elif options.method == "sharpzo-paper":
        results = searched(plan("sharpzo", "paper", "dtd", max(budgets), timed=False), clip, problem, options.seed, budgets)
    elif options.method in METHODS:
        results = searched(plan(options.method, "default", "dtd", max(budgets), timed=False), clip, problem, options.seed, budgets)
    elif variant := VARIANTS.get(options.method):
        results = searched(variant.plan(), clip, problem, options.seed, budgets, variant.context_tokens)
    else:
        results = [closed_form(options.method, clip, problem)]
    for result in results:
        print(json.dumps({**result, "peak_rss_mb": peak_mb(), "model_sha256": clip.sha256}))


if __name__ == "__main__":
    main()
