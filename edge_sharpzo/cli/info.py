"""`edge-sharpzo info`: what a model file or a run holds, as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.terminal import out_json


def command(
    target: Annotated[Path, typer.Argument(help="an exported model, or a run folder")],
) -> None:
    """Prints what a model file or a run holds, as JSON."""
    with user_errors():
        out_json(_of_run(target) if target.is_dir() else _of_model(target))


def _of_run(folder: Path) -> dict[str, Any]:
    from edge_sharpzo.runs.records import Summary

    return Summary.read(folder).as_dict()


def _of_model(file: Path) -> dict[str, Any]:
    from edge_sharpzo.clip.clip_file import ClipOnnx

    clip = ClipOnnx(file)
    megabytes, start = round(file.stat().st_size / 1e6, 1), clip.search_start
    return {
        "file": str(file),
        "sha256": clip.sha256,
        "megabytes": megabytes,
        "learned_start": None if start is None else {"context_tokens": len(start)},
        **asdict(clip.card),
    }
