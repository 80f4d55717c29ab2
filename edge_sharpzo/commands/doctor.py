"""`edge-sharpzo doctor`: whether this device can tune, and how fast."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.features import cache_folder
from edge_sharpzo.machine import available_mb, check_device, usable_cores, versions
from edge_sharpzo.memory import peak_mb
from edge_sharpzo.methods.gauss_newton import GaussNewtonSettings
from edge_sharpzo.methods.registry import DEFAULT_BUDGET, GAUSS_NEWTON_CONTEXT
from edge_sharpzo.noise import difference_step
from edge_sharpzo.objective import PromptObjective
from edge_sharpzo.providers import PROVIDERS, why_not

NAMES = ["cat", "dog", "car", "tree", "house", "bird", "chair", "bottle", "flower", "road"]
SHOTS = 16
CANDIDATES = 64  # timed


def run_doctor(onnx: Path, threads: int, provider: str) -> dict[str, Any]:
    """What the device is, which providers run, and what a query costs there.

    Raises UserError for a 32-bit system, or where `provider` cannot run the model.
    """
    check_device()
    clip = ClipOnnx(onnx, threads, provider)
    features = np.random.default_rng(0).standard_normal((len(NAMES) * SHOTS, clip.card.feature_dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.repeat(np.arange(len(NAMES)), SHOTS)
    objective = PromptObjective(clip, NAMES, features, labels, context_tokens=GAUSS_NEWTON_CONTEXT, dim=None)
    found = difference_step(lambda points: objective.text_features(points, "noise"), objective.dim, GaussNewtonSettings.difference, 0)
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
        "providers": {name: why_not(full) or "runs" for name, full in PROVIDERS.items()},
        "provider": provider,
        "threads": threads,
        "classes": len(NAMES),
        "ms_per_query": round(1000 * seconds, 2),
        "minutes_for_default_budget": round(seconds * DEFAULT_BUDGET / 60, 1),
        "noise_floor": found.noise,
        "difference_step": found.step,
        "peak_rss_mb": peak_mb(),
    }
