"""`edge-sharpzo info`: what a model file or a run holds."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_sharpzo import run_folder
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.errors import UserError
from edge_sharpzo.storage import parse_json


def read_summary(run: Path) -> dict[str, Any]:
    """The summary of a finished run. Raises UserError."""
    file = run / run_folder.SUMMARY
    if not file.is_file():
        raise UserError(f"{run} holds no finished run (no {run_folder.SUMMARY}): give a run's folder, as `edge-sharpzo tune` printed it")
    try:
        summary = parse_json(file.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error}") from error
    if not isinstance(summary, dict):
        raise UserError(f"{file} is damaged: it is no JSON object")
    return summary


def run_info(target: Path) -> dict[str, Any]:
    """The model card of an ONNX file, or the summary of a run. Raises UserError."""
    if target.is_dir():
        return read_summary(target)
    clip = ClipOnnx(target)
    return {"file": str(target), "sha256": clip.sha256, "megabytes": round(target.stat().st_size / 1e6, 1), **asdict(clip.card)}
