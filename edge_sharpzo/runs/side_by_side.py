"""A run's summary as one row, to be held against those of other runs."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sharpzo.runs.records import AnyScores, Summary

WITHOUT = "classes without photos"
ALONE = "classifier without their names, held-out"  # as if such classes were not there
BACKGROUND = "background photos"
UNMIXED = " (not mixed in)"
Row = dict[str, Any]


def flat(run: str, summary: "Summary") -> Row:
    """What runs are compared by; shares are 0 to 1, None where there is nothing to measure by."""
    from edge_sharpzo.classifier.heads import NO_HEAD

    known = summary.known
    preset = "" if summary.preset == "default" else f" ({summary.preset})"
    accuracy = summary.accuracy
    scores: dict[str, AnyScores] = {
        "zero-shot": accuracy.zero_shot,
        "tuned": accuracy.tuned,
        "head": accuracy.head,
        "classifier": accuracy.classifier,
    }
    return {
        "run": run,
        "method": summary.method + preset,
        "start": summary.start,
        "seed": summary.seed,
        "model": summary.model.name,
        "classes": summary.data.classes,
        WITHOUT: sorted(bare.classes) if (bare := summary.without_photos) else [],
        "shots": summary.data.shots,
        "head": accuracy.head.name + ("" if accuracy.classifier.head != NO_HEAD else UNMIXED),
        "held-out photos": summary.data.test,
        **{f"{name}, held-out": score.test for name, score in scores.items()},
        ALONE: summary.comparable.classifier.test,
        "refused, held-out": None if known is None or known.kept is None else 1 - known.kept,
        BACKGROUND: known.background if known else 0,
        "background refused, left out": known.background_refused if known else None,
        "foreign refused, held-out": known.foreign_refused if known else None,
        **{f"{name}, validation": score.val for name, score in scores.items()},
        "queries": summary.queries.total,
        "tuning seconds": summary.seconds.tuning,
        "peak memory, MB": summary.peak_rss_mb,
        "stopped": summary.stopped_because,
    }


def differing(rows: Sequence[Row]) -> str:
    """The settings that are not the same in all runs; empty where accuracies can be compared."""
    same = ("model", "classes", WITHOUT, "held-out photos")
    return ", ".join(name for name in same if len({json.dumps(row[name]) for row in rows}) > 1)
