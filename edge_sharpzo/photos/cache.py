"""Photo features on disk, so that no photo is encoded twice."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError

from edge_sharpzo.system.storage import cache_folder
from edge_sharpzo.system.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx

PREPROCESSING = 2  # raise when what the tower sees of a photo changes: old caches are then not read


class FeatureCache:
    """Features by photo content, for one model and one folder of photos.

    A safetensors file that is rebuilt when it is damaged.
    """

    def __init__(self, clip: "ClipOnnx", root: Path):
        # Features differ in their last digits between providers and versions of onnxruntime.
        place = f"{root.resolve()} {clip.provider} {version('onnxruntime')}"
        place = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
        file = f"{clip.sha256[:16]}-{place[:16]}-{PREPROCESSING}.safetensors"
        self.path = cache_folder() / file
        self.dim = clip.card.feature_dim
        self._rows: dict[bytes, np.ndarray] = {}

    def load(self) -> None:
        """Reads what is there; a missing or damaged file counts as empty."""
        try:
            stored, _ = load_tensors(self.path)
            keys, features = stored["keys"], stored["features"]
        except (OSError, ValueError, KeyError):
            return
        fits = keys.shape == (len(features), 32) and features.shape[1:] == (self.dim,)
        if fits and np.isfinite(features).all():
            self._rows = {k.tobytes(): row for k, row in zip(keys, features, strict=True)}

    def get(self, key: bytes) -> np.ndarray | None:
        """The features [D] of the photo with SHA-256 `key`, None where they are not kept."""
        return self._rows.get(key)

    def save(self, rows: dict[bytes, np.ndarray]) -> None:
        """Adds `rows`. A cache that cannot be written is no error."""
        rows = self._rows | rows
        tensors: dict[str, np.ndarray] = {
            "keys": np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32),
            "features": np.stack(list(rows.values())).astype(np.float32),
        }
        try:
            save_tensors(self.path, tensors, {})
        except (OSError, SafetensorError):
            return
