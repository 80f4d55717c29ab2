"""All photos of a set as the image tower sees them, whatever use they would be drawn for."""

import argparse
import json
import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.sets import template_of
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.photos.copies import leave_out_copies
from edge_sharpzo.photos.features import look_at
from edge_sharpzo.photos.found import POOL, TEST, find_photos


@dataclass(frozen=True)
class WholeSet:
    """The photos of a set, each picture once."""

    features: np.ndarray  # [N, D]
    labels: np.ndarray  # [N]
    sketches: np.ndarray  # [N, S]
    parts: np.ndarray  # [N]
    text: np.ndarray  # of the template [K, D]
    paths: list[Path]

    def drawn(self, shots: int | None, seed: int) -> np.ndarray:
        """Indices of `shots` photos of each class from the pool, in random order; None: of all."""
        if shots is None:
            return np.arange(len(self.labels))
        rng = np.random.default_rng(seed)
        pool = [
            np.flatnonzero((self.parts == POOL) & (self.labels == k)) for k in range(len(self.text))
        ]
        return np.concatenate([rng.permutation(places)[:shots] for places in pool])

    def held_out(self) -> np.ndarray:
        """Indices of the photos in `test/`."""
        return np.flatnonzero(self.parts == TEST)


def whole_set(clip: ClipOnnx, folder: Path) -> WholeSet:
    """Reads and encodes a set, or takes its features from the cache."""
    found = find_photos(folder)
    photos, seen, *_ = look_at(
        clip, found, lambda done, total: None, lambda path, reason: print(path, reason)
    )
    usable, _ = leave_out_copies(photos, found.parts, seen.sketches, seen.readable)
    rows = clip.prompts.as_written(found.names, template_of(folder))
    text = template_features(TextTower(clip, rows, 0), clip.card.text.width)
    used = np.flatnonzero(usable)
    return WholeSet(
        seen.features[used],
        photos.labels[used],
        seen.sketches[used],
        found.parts[used],
        text,
        [photos.paths[i] for i in used],
    )


def options_for(description: str | None, out: Path) -> argparse.Namespace:
    """Where the photos are, the model, and where the results go: by default `out`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder whose subfolders are the sets"
    )
    parser.add_argument("--onnx", type=Path, default=Path("models/lite-clip/clip.onnx"))
    parser.add_argument("--out", type=Path, default=out)
    return parser.parse_args()


def write(out: Path, rows: list[dict[str, Any]], table: str) -> None:
    """The rows, with the machine, and beside them the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    out.write_text(
        f'{{"machine": {json.dumps(describe_machine())},\n"rows": [\n{lines}\n]}}\n',
        encoding="utf8",
    )
    out.with_suffix(".md").write_text(table, encoding="utf8")
    print(table)
