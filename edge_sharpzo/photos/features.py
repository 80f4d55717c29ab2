"""Encodes photo files once and keeps their features on disk."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_sharpzo.clip.images import why_no_file
from edge_sharpzo.photos.cache import FeatureCache
from edge_sharpzo.photos.dataset import Dataset
from edge_sharpzo.photos.labelled import Split, Splits

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx


class Encoded(NamedTuple):
    """Photos as the image tower sees them."""

    features: np.ndarray  # L2-normalised [N, D], float32; zero where a photo cannot be read
    readable: np.ndarray  # [N], bool
    digests: list[bytes]  # SHA-256 of the files; empty where one cannot be opened


class EncodedSplits(NamedTuple):
    """A dataset's photos as features, and the digests of its files by split."""

    splits: Splits
    digests: tuple[list[bytes], list[bytes], list[bytes]]


def encode_photos(
    clip: "ClipOnnx",
    paths: Sequence[Path],
    cache_root: Path | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    skipped: Callable[[Path, str], None] = lambda path, reason: None,
) -> Encoded:
    """Encodes the photos `paths`.

    Photos of the folder `cache_root` that were encoded before, by content and model, are not
    encoded again; None keeps nothing. The image tower is open only within this call. `skipped`
    hears of every unreadable photo, `progress` of photos done and of their number.
    """
    cache = FeatureCache(clip, cache_root) if cache_root else None
    if cache:
        cache.load()
    features = np.zeros((len(paths), clip.card.feature_dim), np.float32)
    readable = np.zeros(len(paths), bool)
    digests = [_digest(path, skipped) for path in paths]
    todo: list[int] = []
    for index, key in enumerate(digests):
        row = cache.get(key) if cache and key else None
        if row is not None:
            features[index], readable[index] = row, True
        elif key:
            todo.append(index)
    before = len(paths) - len(todo)
    progress(before, len(paths))
    try:
        with clip.image_tower() as tower:
            for rows, values in tower.encoded(
                [paths[index] for index in todo],
                lambda index, reason: skipped(paths[todo[index]], reason),
                lambda done: progress(before + done, len(paths)),
            ):
                places = [todo[row] for row in rows]
                features[places], readable[places] = values, True
    finally:  # an interrupted run has not encoded its photos in vain
        if cache and todo and readable.any():
            cache.save({digests[i]: features[i] for i in np.flatnonzero(readable)})
    return Encoded(features, readable, digests)


def _digest(path: Path, skipped: Callable[[Path, str], None]) -> bytes:
    """SHA-256 of a file; empty, and `skipped` hears why, where it cannot be read."""
    missing = why_no_file(path)
    if missing is None:
        try:
            return hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            missing = error.strerror or "cannot be read"
    skipped(path, missing)
    return b""


def encode_splits(
    clip: "ClipOnnx",
    dataset: Dataset,
    progress: Callable[[int, int], None] = lambda done, total: None,
    skipped: Callable[[Path, str], None] = lambda path, reason: None,
) -> EncodedSplits:
    """The dataset's photos as features, in one pass of the image tower; see `encode_photos`."""
    parts = (dataset.train, dataset.val, dataset.test)
    paths = [path for part in parts for path in part.paths]
    features, readable, digests = encode_photos(clip, paths, dataset.root, progress, skipped)
    first, second = len(dataset.train), len(dataset.train) + len(dataset.val)
    rows = zip(
        parts,
        np.split(features, [first, second]),
        np.split(readable, [first, second]),
        strict=True,
    )
    train, val, test = (Split(found[ok], part.labels[ok]) for part, found, ok in rows)
    mine = dataset.borrowed[readable[first:second]]
    borrowed = Split(val.features[mine], val.labels[mine])
    return EncodedSplits(
        Splits(train, val, test, borrowed),
        (digests[:first], digests[first:second], digests[second:]),
    )
