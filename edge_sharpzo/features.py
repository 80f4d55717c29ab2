"""Encodes photos once, in batches, and keeps their features on disk."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from edge_sharpzo.card import ImageCard
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.dataset import Dataset
from edge_sharpzo.duplicates import duplicates
from edge_sharpzo.images import MAX_PIXELS, UnreadableImageError, load_image, preprocess
from edge_sharpzo.memory import give_back
from edge_sharpzo.storage import write_atomic

BATCH = 4  # photos in one call of the image tower: larger ones are no faster and hold more memory
AHEAD = 2 * BATCH  # photos decoded ahead of the tower, while it computes
PHOTO_BYTES = 40_000_000  # that a photo takes in a large image tower
PIXEL_BYTES = 12  # that a pixel of a photo takes while it is decoded and turned upright
PREPROCESSING = 1  # raise when images.py changes what the tower sees: old caches are then not read


class Split(NamedTuple):
    """The photos of one split that could be read, as the image tower sees them."""

    features: np.ndarray  # L2-normalised [N, D], float32
    labels: np.ndarray  # class of each [N]


class Encoded(NamedTuple):
    """Photos as the image tower sees them."""

    features: np.ndarray  # L2-normalised [N, D], float32; zero where a photo cannot be read
    readable: np.ndarray  # [N], bool
    digests: list[bytes]  # SHA-256 of the files; empty where one cannot be opened


class Splits(NamedTuple):
    """A dataset's photos."""

    train: Split
    val: Split
    test: Split
    borrowed: Split  # the validation photos that are some of a class's shots


def cache_folder() -> Path:
    """`$EDGE_SHARPZO_CACHE`, or `edge-sharpzo` in the user's cache folder."""
    if chosen := os.environ.get("EDGE_SHARPZO_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-sharpzo"


class FeatureCache:
    """Features by photo content, for one model and one set of photos: a safetensors file that is rebuilt when damaged."""

    def __init__(self, clip: ClipOnnx, root: Path):
        # Features differ in their last digits between providers and versions of onnxruntime.
        place = f"{root.resolve()} {clip.provider} {version('onnxruntime')}"
        place = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
        self.path = cache_folder() / f"{clip.sha256[:16]}-{place[:16]}-{PREPROCESSING}.safetensors"
        self.dim = clip.card.feature_dim
        self._rows: dict[bytes, np.ndarray] = {}

    def load(self) -> None:
        """Reads what is there; a missing or damaged file counts as empty."""
        try:
            stored = load_file(self.path)
            keys, features = stored["keys"], stored["features"]
        except (OSError, SafetensorError, KeyError):
            return
        if keys.shape == (len(features), 32) and features.shape[1:] == (self.dim,) and np.isfinite(features).all():
            self._rows = {key.tobytes(): row for key, row in zip(keys, features, strict=True)}

    def get(self, key: bytes) -> np.ndarray | None:
        return self._rows.get(key)

    def save(self, rows: dict[bytes, np.ndarray]) -> None:
        """Adds `rows`. A cache that cannot be written is no error."""
        rows = self._rows | rows
        tensors: dict[str, np.ndarray] = {
            "keys": np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32),
            "features": np.stack(list(rows.values())).astype(np.float32),
        }
        try:
            write_atomic(self.path, lambda part: save_file(tensors, part))
        except (OSError, SafetensorError):
            return


def encode_photos(
    clip: ClipOnnx,
    paths: list[Path],
    cache_root: Path | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    skipped: Callable[[Path, str], None] = lambda path, reason: None,
) -> Encoded:
    """Encodes the photos `paths`.

    Photos of the folder `cache_root` that were encoded before, by content and model, are not encoded again; None
    keeps nothing. The image tower's session lives only within this call. `skipped` hears of every unreadable photo, `progress` of photos done.
    """
    cache = FeatureCache(clip, cache_root) if cache_root else None
    if cache:
        cache.load()
    features = np.zeros((len(paths), clip.card.feature_dim), np.float32)
    readable = np.zeros(len(paths), bool)
    keys: list[bytes] = []
    todo: list[int] = []
    for index, path in enumerate(paths):
        try:
            # Reading a pipe or a device would wait for ever.
            key = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
        except OSError as error:
            skipped(path, error.strerror or "cannot be read")
            key = b""
        else:
            if not key:
                skipped(path, "no such file" if not path.exists() else "not a file")
        keys.append(key)
        row = cache.get(key) if cache else None
        if row is not None:
            features[index], readable[index] = row, True
        elif key:
            todo.append(index)
    progress(len(paths) - len(todo), len(paths))
    try:
        session = clip.session("image", integer=True) if todo else None
        batch_size = clip.memory.fitting(BATCH, PHOTO_BYTES)
        ready = _prepared([paths[index] for index in todo], clip.card.image, clip.memory.fitting(MAX_PIXELS, PIXEL_BYTES))
        for start in range(0, len(todo), batch_size):
            batch, pixels = [], []
            for index, values in zip(todo[start : start + batch_size], ready, strict=False):
                if isinstance(values, str):
                    skipped(paths[index], values)
                else:
                    pixels.append(values)
                    batch.append(index)
            if batch and session is not None:
                features[batch] = session.run(None, {"pixel_values": np.stack(pixels)})[0]
                readable[batch] = True
            progress(len(paths) - len(todo) + min(start + batch_size, len(todo)), len(paths))
    finally:  # an interrupted run has not encoded its photos in vain
        if cache and todo and readable.any():
            cache.save({keys[i]: features[i] for i in np.flatnonzero(readable)})
        session = None
        give_back()
    return Encoded(features, readable, keys)


def _prepared(paths: list[Path], card: ImageCard, most_pixels: int) -> Iterator[np.ndarray | str]:
    """Each photo's pixel values [3, H, W], or why it cannot be used; a thread decodes up to `AHEAD` photos ahead."""

    def prepare(path: Path) -> np.ndarray | str:
        try:
            return preprocess(load_image(path, most_pixels), card)
        except UnreadableImageError as error:
            return str(error)

    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(prepare, path) for path in paths[:AHEAD])
        try:
            for path in [*paths[AHEAD:], *[None] * len(waiting)]:
                yield waiting.popleft().result()
                if path is not None:
                    waiting.append(pool.submit(prepare, path))
        finally:
            pool.shutdown(cancel_futures=True)


def encode_splits(
    clip: ClipOnnx,
    dataset: Dataset,
    progress: Callable[[int, int], None] = lambda done, total: None,
    skipped: Callable[[Path, str], None] = lambda path, reason: None,
    note: Callable[[str], None] = lambda text: None,
) -> Splits:
    """The dataset's photos as features, in one pass of the image tower; see `encode_photos`. `note` hears of duplicates."""
    parts = (dataset.train, dataset.val, dataset.test)
    features, readable, digests = encode_photos(clip, [path for part in parts for path in part.paths], dataset.root, progress, skipped)
    for text in duplicates(parts, digests):
        note(text)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    rows = zip(parts, np.split(features, ends), np.split(readable, ends), strict=True)
    train, val, test = (Split(found[ok], part.labels[ok]) for part, found, ok in rows)
    mine = dataset.borrowed[readable[len(dataset.train) : len(dataset.train) + len(dataset.val)]]
    return Splits(train, val, test, Split(val.features[mine], val.labels[mine]))
