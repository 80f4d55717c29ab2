"""Photo features on disk, so that no photo is encoded twice."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_sharpzo.clip.sketch import SKETCH
from edge_sharpzo.system.storage import cache_folder, clear_half_written
from edge_sharpzo.system.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from edge_sharpzo.clip.model import Clip

PREPROCESSING = 3  # raise when what the tower sees of a photo changes: old caches are then not read
NAMES = ("keys", "features", "sketches")  # of the file's tensors


class Row(NamedTuple):
    """What is kept of one photo."""

    features: np.ndarray  # [D], float32
    sketch: np.ndarray  # [SKETCH], uint8


class FeatureCache:
    """Features and sketches by photo content, for one model and one folder of photos.

    A safetensors file that is rebuilt when it is damaged.
    """

    def __init__(self, clip: "Clip", root: Path):
        place = f"{root.resolve()} {clip.image_engine}"
        place = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
        file = f"{clip.sha256[:16]}-{place[:16]}-{PREPROCESSING}.safetensors"
        self.path = cache_folder() / file
        self.dim = clip.card.feature_dim
        self._rows: dict[bytes, Row] = {}

    def load(self) -> None:
        """Reads what is there; a missing or damaged file counts as empty."""
        clear_half_written(self.path)
        try:
            stored, _ = load_tensors(self.path)
            keys, features, sketches = (stored[name] for name in NAMES)
        except (OSError, ValueError, KeyError):
            return
        shapes = (len(keys), 32), (len(keys), self.dim), (len(keys), SKETCH)
        kinds = np.uint8, np.float32, np.uint8
        fits = all(
            part.shape == shape and part.dtype == kind
            for part, shape, kind in zip((keys, features, sketches), shapes, kinds, strict=True)
        )
        if fits and np.isfinite(features).all():
            rows = zip(features, sketches, strict=True)
            self._rows = {key.tobytes(): Row(*row) for key, row in zip(keys, rows, strict=True)}

    def get(self, key: bytes) -> Row | None:
        """What is kept of the photo with SHA-256 `key`, None where nothing is."""
        return self._rows.get(key)

    def save(self, rows: dict[bytes, Row]) -> None:
        """Adds `rows`. Raises OSError where they cannot be kept."""
        self._rows |= rows
        rows = self._rows
        tensors: dict[str, np.ndarray] = {
            "keys": np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32),
            "features": np.stack([row.features for row in rows.values()]).astype(np.float32),
            "sketches": np.stack([row.sketch for row in rows.values()]),
        }
        save_tensors(self.path, tensors, {})
