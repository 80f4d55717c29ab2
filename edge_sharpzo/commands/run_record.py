"""What a tuning run writes down about itself: its options and settings, and its summary."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.dataset import Dataset
from edge_sharpzo.features import Splits
from edge_sharpzo.machine import versions
from edge_sharpzo.methods.registry import Plan
from edge_sharpzo.objective import PromptObjective
from edge_sharpzo.tuner import Outcome


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
    max_memory: int | None  # MB
    provider: str
    head: str


def describe_run(options: TuneOptions, chosen: Plan, clip: ClipOnnx, dataset: Dataset) -> dict[str, Any]:
    """What `config.json` holds: all that the run is decided by."""
    paths: Callable[[Any], Any] = lambda v: str(v.resolve()) if isinstance(v, Path) else v  # noqa: E731
    return {
        "options": {name: paths(value) for name, value in asdict(options).items()},
        "preset": {
            "name": chosen.preset,
            "method": chosen.method,
            "dim": chosen.dim,
            "context_tokens": chosen.context_tokens,
            "projection_std": chosen.projection_std,
            "budget": chosen.budget,
            "settings": chosen.settings if isinstance(chosen.settings, dict) else asdict(chosen.settings),
        },
        "model_sha256": clip.sha256,
        "folders": dataset.folders,
        "names": dataset.names,
        "tuned_on": [str(path.resolve()) for path in (*dataset.train.paths, *dataset.val.paths)],
    }


def summarise(
    options: TuneOptions,
    chosen: Plan,
    clip: ClipOnnx,
    dataset: Dataset,
    splits: Splits,
    skipped: int,
    objective: PromptObjective,
    outcome: Outcome,
) -> dict[str, Any]:
    """What `summary.json` holds, but for the accuracies, times and memory that are known last."""
    return {
        "method": chosen.method,
        "preset": chosen.preset,
        "paper_task": options.paper_task if chosen.preset == "paper" else None,
        "seed": options.seed,
        "model": {"name": clip.card.name, "weights": clip.card.weights, "sha256": clip.sha256},
        "data": {
            "classes": len(dataset.names),
            **{name: len(split.labels) for name, split in zip(("train", "val", "test"), splits[:3], strict=True)},
            "borrowed": len(splits.borrowed.labels) if outcome.progress.validated else 0,
            "shots": options.shots,
            "skipped": skipped,
        },
        "accuracy": {},
        "calibration": {},
        "loss": {"start": outcome.progress.records[0].loss, "end": (outcome.progress.validated or outcome.progress.best).record.loss},
        "queries": {"total": objective.queries.total(), "by_kind": dict(objective.queries)},
        "seconds": {},
        "peak_rss_mb": None,
        "stopped_because": outcome.stopped_because,
        "provider": options.provider,
        "threads": options.threads,
        "versions": versions(),
    }
