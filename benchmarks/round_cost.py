"""What a step of a method costs: a Gauss-Newton round and a SharpZO generation, beside a generation
of the paper's on the dense reference.

`python -m benchmarks.round_cost [--model ViT-B-16,local-dir:models/lite-clip] [--out FILE.json]`

Forward passes and the method's own work apart. The dense prices are products, queries times one
measured evaluation of the published loop (`benchmarks.reference`), not runs.
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.exports import EMBEDDED, add_models, exported, load
from benchmarks.reference import PublishedEvaluation
from benchmarks.synthetic import class_names, contexts, photo_features
from benchmarks.timing import fastest, milliseconds, record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.tuning.methods.estimators import cge_points
from edge_sharpzo.tuning.methods.plan import Request
from edge_sharpzo.tuning.methods.presets import DEFAULT, paper_preset
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE, PromptObjective
from export.source import Source

SHOTS = 16
Result = dict[str, Any]


def paper_generation() -> int:
    """Evaluations of one stage-1 generation of the paper's settings: a CGE and a population."""
    paper = paper_preset("eurosat")
    return 2 * paper.dim + paper.settings.population


def dense_query(source: Source, clip: ClipOnnx, classes: int, rounds: int) -> float:
    """Seconds of one evaluation of the published loop, re-created."""
    names, card = class_names(classes), clip.card
    ids = source.tokenizer([DEFAULT_TEMPLATE.replace("{}", name) for name in names])
    photos = photo_features(SHOTS * classes, classes, card.feature_dim)
    published = PublishedEvaluation(
        source.model, ids, len(card.text.start), card.text.n_ctx, *photos
    )
    context = torch.from_numpy(
        contexts(1, card.text.n_ctx, card.text.width, card.text.embedding_std)[0]
    )
    return fastest({0: lambda: published(context)}, rounds)[0]


def measure(clip: ClipOnnx, method: str, classes: int, steps: int, warm_up: int) -> Result:
    """Median milliseconds of a step's forward passes, mean ones of the method's own work, after
    `warm_up` steps.

    SharpZO's step is a generation without sharpness; `sharpness_ms` is one CGE, which
    `sharpness_every` generations share.
    """
    features, labels = photo_features(SHOTS * classes, classes, clip.card.feature_dim)
    chosen = plan(method, Request(budget=15_000))
    objective = PromptObjective(
        clip,
        class_names(classes),
        features,
        labels,
        context_tokens=chosen.context_tokens,
        dim=chosen.dim,
    )
    optimizer = chosen.make(objective.dim, objective.loss, 0)
    forward, own, solves, queries = [0.0], [0.0], [0.0], [0]
    # Gauss-Newton's inner problem.
    solve: Callable[[], None] | None = getattr(optimizer, "_solve", None)

    def timed() -> None:
        start = time.perf_counter()
        if solve:
            solve()
        solves[-1] += time.perf_counter() - start

    if solve:
        optimizer._solve = timed  # type: ignore[attr-defined]
    while len(own) <= warm_up + steps:
        step, start = optimizer.step, time.perf_counter()
        points, kind = optimizer.ask(), optimizer.kind
        asked = time.perf_counter()
        text = objective.text_features(points, kind)
        passed = time.perf_counter()
        optimizer.tell(objective.loss.values(text), text if optimizer.wants_outputs else None)
        forward[-1] += passed - asked
        own[-1] += asked - start + time.perf_counter() - passed
        queries[-1] += len(points)
        if optimizer.step > step:
            for column in (forward, own, solves):
                column.append(0.0)
            queries.append(0)
    passes, inner = (
        milliseconds(statistics.median(times[warm_up:-1])) for times in (forward, solves)
    )
    # SharpZO's covariance is decomposed every few generations: a median would not see that.
    result: Result = {
        "method": method,
        "classes": classes,
        "queries": round(statistics.median(queries[warm_up:-1])),
    }
    result |= {
        "forward_ms": passes,
        "own_ms": milliseconds(statistics.mean(own[warm_up:-1])),
        "inner_solve_ms": inner,
    }
    result["step_ms"] = result["forward_ms"] + result["own_ms"]
    if method == "sharpzo":
        settings, start = DEFAULT.settings, time.perf_counter()
        cge = cge_points(np.zeros(objective.dim), settings.mu_sharpness)
        objective.losses(cge, "sharpness")
        result["sharpness_ms"] = milliseconds(time.perf_counter() - start)
        result["queries"] += round(len(cge) / settings.sharpness_every, 2)
        result["step_ms"] += result["sharpness_ms"] / settings.sharpness_every
    result["step_ms"] = round(result["step_ms"], 2)
    return result


def compare(result: Result, dense: float) -> Result:
    """`result` with its prices in the paper's way, at `dense` seconds an evaluation."""
    ratios = {
        "dense_query_ms": milliseconds(dense),
        "same_queries_dense_ms": round(1e3 * dense * result["queries"], 1),
    }
    ratios["dense_ratio"] = round(ratios["same_queries_dense_ms"] / result["step_ms"], 1)
    if result["method"] == "sharpzo":
        ratios["paper_generation_queries"] = paper_generation()
        ratios["paper_generation_dense_ms"] = round(1e3 * dense * paper_generation(), 1)
        ratios["paper_generation_ratio"] = round(
            ratios["paper_generation_dense_ms"] / result["step_ms"], 1
        )
    return result | ratios


def show(row: Result) -> None:
    """Prints one method's step."""
    print(
        f"  {row['method']}, {row['classes']} classes: {row['step_ms']:.1f} ms per step of "
        f"{row['queries']:g} queries: ",
        end="",
    )
    print(
        f"forward {row['forward_ms']:.1f} ms, own work {row['own_ms']:.1f} ms "
        f"({100 * row['own_ms'] / row['forward_ms']:.1f} %), ",
        end="",
    )
    print(f"inner solve {100 * row['inner_solve_ms'] / row['forward_ms']:.1f} %")
    print(
        f"    as many queries dense, {row['dense_query_ms']:.1f} ms each, not run: "
        f"{row['same_queries_dense_ms']:,.0f} ms",
        end="",
    )
    print(f", {row['dense_ratio']} times ours")
    if "sharpness_ms" in row:
        print(
            f"    sharpness {row['sharpness_ms']:,.0f} ms, once in "
            f"{DEFAULT.settings.sharpness_every} generations; the paper's generation",
            end="",
        )
        print(
            f" dense, {row['paper_generation_queries']:,} queries, not run: "
            f"{row['paper_generation_dense_ms']:,.0f} ms",
            end="",
        )
        print(f", {row['paper_generation_ratio']} times ours", flush=True)


def main() -> None:
    """Prints the figures and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = record({"models": []}, options.threads)
    print(f"{options.threads} threads of {result['processor']}")
    for name in options.model.split(","):
        print(name)
        source = load(name)
        clip = ClipOnnx(exported(name, source=source), options.threads)
        rows = []
        for classes in (10, 40) if name == EMBEDDED else (10,):
            dense = dense_query(source, clip, classes, rounds=5)
            for method in ("gauss-newton", "sharpzo"):
                rows.append(
                    compare(measure(clip, method, classes, options.steps, options.warm_up), dense)
                )
                show(rows[-1])
        result["models"].append({"model": name, "weights": clip.card.weights, "steps": rows})
        save(result, options.out)


if __name__ == "__main__":
    main()
