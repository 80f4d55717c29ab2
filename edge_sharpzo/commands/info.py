"""`edge-sharpzo info`: what a model file or a run holds."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_sharpzo import run_folder
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.errors import UserError


def run_info(target: Path) -> dict[str, Any]:
    """The model card of an ONNX file, or the summary of a run. Raises UserError."""
    if target.is_dir():
        file = target / run_folder.SUMMARY
        if not file.is_file():
            raise UserError(f"{target} holds no finished run (no {run_folder.SUMMARY}): give a run's folder or an ONNX file")
        try:
            summary: dict[str, Any] = json.loads(file.read_text(encoding="utf8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is damaged: {error}") from error
        return summary
    clip = ClipOnnx(target)
    return {"file": str(target), "sha256": clip.sha256, "megabytes": round(target.stat().st_size / 1e6, 1), **asdict(clip.card)}
