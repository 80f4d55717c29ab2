"""Encodes photo files once and keeps their features on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_sharpzo.photos.cache import FeatureCache
from edge_sharpzo.photos.dataset import Dataset
from edge_sharpzo.photos.labelled import Split, Splits

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx


class Encoded(NamedTuple):
    """Photos as the image tower sees them."""

    features: np.ndarray  # L2-normalised [N, D], float32; zero where a photo cannot be read
    readable: np.ndarray  # [N], bool


def encode_photos(
    clip: "ClipOnnx",
    photos: Sequence[tuple[Path, bytes]],
    cache_root: Path | None,
    progress: Callable[[int, int], object] = lambda done, total: None,
    skipped: Callable[[Path, str], object] = lambda path, reason: None,
) -> Encoded:
    """Encodes `photos`, each a file and its digest; an empty digest is a file that is unreadable.

    Photos of the folder `cache_root` that were encoded before, by content and model, are not
    encoded again; None keeps nothing. The image tower is open only within this call. `skipped`
    hears of every photo that cannot be decoded, `progress` of photos done and of their number.
    """
    cache = FeatureCache(clip, cache_root) if cache_root else None
    if cache:
        cache.load()
    features = np.zeros((len(photos), clip.card.feature_dim), np.float32)
    readable = np.zeros(len(photos), bool)
    todo: list[int] = []
    for index, (_, key) in enumerate(photos):
        row = cache.get(key) if cache and key else None
        if row is not None:
            features[index], readable[index] = row, True
        elif key:
            todo.append(index)
    before = len(photos) - len(todo)
    progress(before, len(photos))
    try:
        with clip.image_tower() as tower:
            for rows, values in tower.batches(
                [photos[index][0] for index in todo],
                lambda index, reason: skipped(photos[todo[index]][0], reason),
                lambda done: progress(before + done, len(photos)),
            ):
                places = [todo[row] for row in rows]
                features[places], readable[places] = values, True
    finally:  # an interrupted run has not encoded its photos in vain
        if cache and todo and readable.any():
            known = (int(i) for i in np.flatnonzero(readable))
            cache.save({photos[i][1]: features[i] for i in known})
    return Encoded(features, readable)


def encode_splits(
    clip: "ClipOnnx",
    dataset: Dataset,
    progress: Callable[[int, int], object] = lambda done, total: None,
    skipped: Callable[[Path, str], object] = lambda path, reason: None,
) -> Splits:
    """The dataset's photos as features, in one pass of the image tower; see `encode_photos`."""
    parts = (dataset.train, dataset.val, dataset.test)
    photos = [photo for part in parts for photo in part.files()]
    features, readable = encode_photos(clip, photos, dataset.root, progress, skipped)
    ends = [len(dataset.train), len(dataset.train) + len(dataset.val)]
    rows = zip(parts, np.split(features, ends), np.split(readable, ends), strict=True)
    train, val, test = (Split(found[ok], part.labels[ok]) for part, found, ok in rows)
    mine = dataset.borrowed[readable[ends[0] : ends[1]]]
    return Splits(train, val, test, Split(val.features[mine], val.labels[mine]))
