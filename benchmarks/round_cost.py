"""What a step of a method costs: a Gauss-Newton round and a SharpZO generation, the forward passes and the method's own work apart.

`python -m benchmarks.round_cost [--onnx FILE] [--out FILE.json]`; random photo features, for time does not depend on them.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does; before NumPy is loaded

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import processor
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.machine import usable_cores, versions
from edge_sharpzo.methods.registry import plan
from edge_sharpzo.objective import PromptObjective

THINGS = ("apple", "bicycle", "chair", "dog", "fence", "house", "lake", "mirror", "tree", "wheel")
NAMES = [f"{kind} {thing}" for kind in ("red", "old", "wooden", "small") for thing in THINGS]
SHOTS, WARM_UP, STEPS = 12, 10, 40


def measure(clip: ClipOnnx, method: str, classes: int) -> dict[str, Any]:
    """Median milliseconds of a step's forward passes and of the method's own work, after `WARM_UP` steps."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((classes * SHOTS, clip.card.feature_dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chosen = plan(method, "default", "dtd", 15_000, timed=False)
    objective = PromptObjective(
        clip, NAMES[:classes], features, np.repeat(np.arange(classes), SHOTS), context_tokens=chosen.context_tokens, dim=chosen.dim
    )
    optimizer = chosen.make(objective.dim, objective.loss, 0)
    forward, own, solves = [0.0], [0.0], [0.0]
    solve: Callable[[], None] | None = getattr(optimizer, "_solve", None)  # Gauss-Newton's inner problem

    def timed() -> None:
        start = time.perf_counter()
        if solve:
            solve()
        solves[-1] += time.perf_counter() - start

    if solve:
        optimizer._solve = timed  # type: ignore[attr-defined]
    while len(own) <= WARM_UP + STEPS:
        step, start = optimizer.step, time.perf_counter()
        points, kind = optimizer.ask(), optimizer.kind
        asked = time.perf_counter()
        text = objective.text_features(points, kind)
        passed = time.perf_counter()
        optimizer.tell(objective.loss.values(text), text if optimizer.wants_outputs else None)
        forward[-1] += passed - asked
        own[-1] += asked - start + time.perf_counter() - passed
        if optimizer.step > step:
            forward.append(0.0)
            own.append(0.0)
            solves.append(0.0)
    passes, work, inner = (1e3 * statistics.median(times[WARM_UP:-1]) for times in (forward, own, solves))
    return {"method": method, "classes": classes, "forward_ms": round(passes, 2), "own_ms": round(work, 2), "inner_solve_ms": round(inner, 2)}


def main() -> None:
    """Prints the figures and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, default=Path("models/lite-clip/clip.onnx"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clip = ClipOnnx(options.onnx, usable_cores())
    rows = [measure(clip, method, classes) for method in ("gauss-newton", "sharpzo") for classes in (10, 40)]
    print(f"{clip.card.name}, {clip.threads} threads of {processor()}")
    for row in rows:
        print(
            f"  {row['method']:13} {row['classes']:3} classes: forward {row['forward_ms']:7.2f} ms a step, own work {row['own_ms']:6.2f} ms", end=""
        )
        print(f" ({100 * row['own_ms'] / row['forward_ms']:.1f} %), inner solve {100 * row['inner_solve_ms'] / row['forward_ms']:.1f} %")
    if options.out:
        told = {"model": clip.card.name, "threads": clip.threads, "processor": processor(), "versions": versions(), "steps": rows}
        options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
