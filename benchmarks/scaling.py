"""Milliseconds a query of ours, loss included, against classes, shots, context length and threads,
one of them changed at a time.

`python -m benchmarks.scaling [--model ViT-B-16,local-dir:models/lite-clip] [--out FILE.json]`
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exports import add_models, exported
from benchmarks.synthetic import class_names, photo_features
from benchmarks.timing import fastest, milliseconds, record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.tuning.objective import PromptObjective


@dataclass(frozen=True)
class Problem:
    """What the time of a query depends on."""

    classes: int = 10
    shots: int = 16
    context_tokens: int = 4
    threads: int = 1


VALUES = {
    "classes": (10, 30, 100, 300, 1000),
    "shots": (1, 4, 16, 64),
    "context_tokens": (1, 4, 8, 16),
    "threads": (1, 2),
}
POINTS = 16  # candidates in one call of `losses`,
FEWER_POINTS = 4  # and from so many classes on
MANY_CLASSES = 300


def objective(onnx: Path, problem: Problem) -> PromptObjective:
    """The problem with random photo features."""
    clip = ClipOnnx(onnx, problem.threads)
    features, labels = photo_features(
        problem.classes * problem.shots, problem.classes, clip.card.feature_dim
    )
    return PromptObjective(
        clip, class_names(problem.classes), features, labels, context_tokens=problem.context_tokens
    )


def measure(
    onnx: Path, axis: str, values: tuple[int, ...], base: Problem, rounds: int
) -> dict[int, float]:
    """Milliseconds per query at each of `values` of `axis`, the rest as in `base`."""
    calls: dict[int, Callable[[], object]] = {}
    points: dict[int, int] = {}
    for value in values:
        problem = replace(base, **{axis: value})
        made = objective(onnx, problem)
        points[value] = FEWER_POINTS if problem.classes >= MANY_CLASSES else POINTS
        w = np.random.default_rng(0).standard_normal((points[value], made.dim))
        calls[value] = partial(made.losses, w, "benchmark")
    return {
        value: milliseconds(seconds / points[value])
        for value, seconds in fastest(calls, rounds).items()
    }


def main() -> None:
    """Prints the figures and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--rounds", type=int, default=3, help="of two calls a side")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    base = Problem(threads=usable_cores())
    result: dict[str, Any] = record(
        {"base": vars(base), "points": POINTS, "models": []}, base.threads
    )
    print(
        f"ms per query, {base.classes} classes, {base.shots} shots, {base.context_tokens} context "
        f"tokens, {base.threads} threads",
        end=" ",
    )
    print(f"of {result['processor']} where nothing else is said; in brackets: times the first")
    for name in options.model.split(","):
        print(name)
        onnx, axes = exported(name), {}
        for axis, values in VALUES.items():
            usable = tuple(value for value in values if axis != "threads" or value <= base.threads)
            axes[axis] = measure(onnx, axis, usable, base, options.rounds)
            first = axes[axis][usable[0]]
            print(
                f"  {axis:15}",
                "  ".join(f"{value}: {ms} ({ms / first:.2f})" for value, ms in axes[axis].items()),
                flush=True,
            )
        result["models"].append({"model": name, "ms_a_query": axes})
        save(result, options.out)


if __name__ == "__main__":
    main()
