"""`edge-sharpzo compare`: finished runs side by side."""

import json
from pathlib import Path
from typing import Any

from edge_sharpzo.commands.info import read_summary
from edge_sharpzo.errors import UserError


def run_compare(runs: list[Path]) -> list[dict[str, Any]]:
    """What tells the runs apart, one flat dictionary each, in the order given. Raises UserError for fewer than two."""
    if len(runs) < 2:
        raise UserError("give two or more run folders to compare")
    return [_flat(run, read_summary(run)) for run in runs]


def _flat(run: Path, summary: dict[str, Any]) -> dict[str, Any]:
    try:
        accuracy, data = summary["accuracy"], summary["data"]
        return {
            "run": str(run),
            "method": summary["method"] if summary["preset"] == "default" else f"{summary['method']} ({summary['preset']})",
            "seed": summary["seed"],
            "model": summary["model"]["name"],
            "classes": data["classes"],
            "shots": data["shots"],
            "held-out photos": data["test"],
            **{f"{name.replace('_', '-')}, held-out": accuracy[name]["test"] for name in ("zero_shot", "tuned", "head", "classifier")},
            **{f"{name.replace('_', '-')}, validation": accuracy[name]["val"] for name in ("zero_shot", "tuned", "head", "classifier")},
            "queries": summary["queries"]["total"],
            "tuning seconds": summary["seconds"]["tuning"],
            "peak memory, MB": summary["peak_rss_mb"],
            "stopped": summary["stopped_because"],
        }
    except (KeyError, TypeError) as error:
        raise UserError(f"the summary of {run} lacks {error}: it was made by another version, tune again") from error


def differing(rows: list[dict[str, Any]]) -> str:
    """The settings that are not the same in all runs, for a warning; empty where accuracies can be compared."""
    same = ("model", "classes", "held-out photos")
    return ", ".join(name for name in same if len({json.dumps(row[name]) for row in rows}) > 1)
