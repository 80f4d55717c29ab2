"""`edge-sharpzo doctor`: whether this device can tune, and how fast."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.flags import JsonFlag, ThreadsFlag, tell
from edge_sharpzo.cli.terminal import out, out_json
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.towers import LOCAL

if TYPE_CHECKING:
    from edge_sharpzo.clip.model import Clip

NAMES = ["cat", "dog", "car", "tree", "house", "bird", "chair", "bottle", "flower", "road"]
SHOTS_PER_NAME = 16  # of made-up photos
CANDIDATES = 64  # timed
STRINGS = "strings"  # what a service may take in place of context vectors


def command(
    onnx: Annotated[
        Path,
        typer.Option(
            help="exported model; the small embedded one if not given", show_default=False
        ),
    ] = EMBEDDED_MODEL,
    threads: ThreadsFlag = 0,
    provider: Annotated[str, typer.Option(help="execution provider to time")] = "cpu",
    engine: Annotated[
        str, typer.Option(help="where the text tower runs, as in `tune`", show_default=False)
    ] = LOCAL,
    as_json: JsonFlag = False,
) -> None:
    """Says whether this device can tune, which providers run, and what a query costs."""
    with user_errors():
        from edge_sharpzo.clip.providers import resolve
        from edge_sharpzo.runs.options import usable_threads

        found = _examined(onnx, usable_threads(threads), resolve(provider), engine)
        if as_json:
            out_json(found)
            return
        if found.get("access") == STRINGS:
            out(f"{engine} takes strings and photos: no prompt can be tuned with it, and `tune`")
            out("makes a classifier of the template and a closed-form head (docs/service.md)")
            return
        out(", ".join(f"{name} {value}" for name, value in found["versions"].items()))
        free = found["available_memory_mb"]
        memory = "memory unknown" if free is None else f"{free} MB of memory free"
        out(f"{found['cores']} cores, {memory}, photo features kept in {found['cache']}")
        for name, answer in found["providers"].items():
            out(f"provider {name:9} {answer}")
        where = f"{found['provider']}, {found['threads']} threads"
        if engine != LOCAL:
            where = f"at {engine}"
            out(f"{engine} takes context vectors and gives text features: every method can be used")
        out(
            f"{found['model']}, {found['classes']} classes, {where}: "
            f"{found['ms_per_query']} ms per query"
        )
        out(f"a default run of ten classes: {found['minutes_for_default_budget']} min")
        step = found["difference_step"]
        out(f"noise of the text tower: {found['noise_floor']:.0e}; difference step {step:.2g}")


def _examined(onnx: Path, threads: int, provider: str, engine: str) -> dict[str, Any]:
    """What the device is, which providers run, and what a query costs there.

    Raises UserError for a 32-bit system, or where `provider` or `engine` cannot run the model.
    """
    import numpy as np

    from edge_sharpzo.clip.providers import Provider, why_not
    from edge_sharpzo.system.machine import available_mb, check_device, usable_cores, versions
    from edge_sharpzo.system.memory import peak_mb
    from edge_sharpzo.system.storage import cache_folder
    from edge_sharpzo.tuning.methods.registry import plan
    from edge_sharpzo.tuning.noise import SHORTEST_STEP, difference_step
    from edge_sharpzo.tuning.objective import PromptObjective

    check_device()
    clip = _opened(onnx, threads, provider, engine)
    if not clip.takes_contexts:
        return {"engine": engine, "access": STRINGS, "model": clip.where}
    chosen = plan()
    shape = (len(NAMES) * SHOTS_PER_NAME, clip.card.feature_dim)
    features = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.repeat(np.arange(len(NAMES)), SHOTS_PER_NAME)
    objective = PromptObjective(
        clip, NAMES, features, labels, context_tokens=chosen.context_tokens, dim=chosen.dim
    )
    noise = difference_step(
        lambda points: objective.text_features(points, "noise"), objective.dim, SHORTEST_STEP, 0
    )
    points = np.random.default_rng(1).standard_normal((CANDIDATES, objective.dim))
    started = time.perf_counter()
    objective.losses(points, "timing")
    seconds = (time.perf_counter() - started) / CANDIDATES
    return {
        "versions": versions(),
        "cores": usable_cores(),
        "available_memory_mb": available_mb(),
        "cache": str(cache_folder()),
        "model": clip.card.name,
        "providers": {each.value: why_not(each.full) or "runs" for each in Provider},
        "engine": engine,
        "provider": provider,
        "threads": threads,
        "classes": len(NAMES),
        "ms_per_query": round(1000 * seconds, 2),
        "minutes_for_default_budget": round(seconds * (chosen.budget or 0) / 60, 1),
        "noise_floor": noise.noise,
        "difference_step": noise.step,
        "peak_rss_mb": peak_mb(),
    }


def _opened(onnx: Path, threads: int, provider: str, engine: str) -> "Clip":
    """The model to examine. Raises UserError."""
    from edge_sharpzo.engines.opening import open_clip
    from edge_sharpzo.system.memory import MemoryLimit

    return open_clip(
        onnx,
        engine,
        None,
        threads=threads,
        provider=provider,
        memory=MemoryLimit(),
        tell=tell,
    )
