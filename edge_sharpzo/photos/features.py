"""Encodes photo files once and keeps their features on disk."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_sharpzo.clip.sketch import SKETCH
from edge_sharpzo.photos.cache import FeatureCache, Row
from edge_sharpzo.photos.digests import Digests, PhotoFile
from edge_sharpzo.photos.found import Found, Photos
from edge_sharpzo.photos.left_out import UNREADABLE, LeftOut

if TYPE_CHECKING:
    from edge_sharpzo.clip.image_tower import ImageTower
    from edge_sharpzo.clip.model import Clip

KEEP_EVERY = 30.0  # seconds between two writings of the cache: a kill loses no more


class Encoded(NamedTuple):
    """Photos as the image tower sees them."""

    features: np.ndarray  # L2-normalised [N, D], float32; zero where a photo cannot be read
    sketches: np.ndarray  # [N, SKETCH], uint8, see `clip.sketch`
    readable: np.ndarray  # [N], bool
    unkept: str | None  # why the features could not be kept on disk


class Kept(NamedTuple):
    """What a process that looks at photos again and again keeps between two looks."""

    digests: Digests
    tower: "ImageTower"  # of the model; leaving it does not close it


class Looked(NamedTuple):
    """Photos that were found, read and encoded."""

    photos: Photos  # with their files
    encoded: Encoded
    left_out: list[LeftOut]  # those that cannot be read
    notes: list[str]  # what the user should know
    sha256: str  # over the classes, and paths in the folder and contents of all photos


def look_at(
    clip: "Clip",
    found: Found,
    progress: Callable[[int, int], object],
    skipped: Callable[[Path, str], object],
    less: Callable[[Photos], np.ndarray] | None = None,
    kept: Kept | None = None,
) -> Looked:
    """Reads and encodes the photos that were `found`; the others as in `encode_photos`.

    Photos that `less` says [N], bool, are read and not encoded: they count as not readable.
    """
    left_out: list[LeftOut] = []

    def skip(path: Path, reason: str) -> None:
        left_out.append(LeftOut(path, UNREADABLE, reason))
        skipped(path, reason)

    photos = found.photos.read(skip, kept and kept.digests)
    files = photos.files
    if less is not None:
        not_wanted = less(photos)
        files = [
            file._replace(digest=b"") if left else file
            for file, left in zip(files, not_wanted, strict=True)
        ]
    encoded = encode_photos(clip, files, found.root, progress, skip, kept)
    unkept = encoded.unkept
    notes = [f"photo features cannot be kept in {unkept}"] if unkept else []
    return Looked(photos, encoded, left_out, [*found.notes, *notes], _sha256(found, photos))


def _sha256(found: Found, photos: Photos) -> str:
    """What tells a folder of photos from any other."""
    digest = hashlib.sha256()
    for name in (*found.folders, *found.names):
        digest.update(os.fsencode(name) + b"\0")
    for file in photos.files:
        path = os.path.relpath(file.path, found.root)
        digest.update(os.fsencode(path) + b"\0" + file.digest)
    return digest.hexdigest()


def encode_photos(
    clip: "Clip",
    photos: Sequence[PhotoFile],
    cache_root: Path | None,
    progress: Callable[[int, int], object] = lambda done, total: None,
    skipped: Callable[[Path, str], object] = lambda path, reason: None,
    kept: Kept | None = None,
) -> Encoded:
    """Encodes `photos`; those without a digest are unreadable.

    Photos of the folder `cache_root` that were encoded before, by content and model, are not
    encoded again; None keeps nothing. The image tower is open only within this call, but for one
    that is `kept`. `skipped` hears of every photo that cannot be decoded, `progress` of photos done
    and of their number.
    """
    keeper = _Keeper(FeatureCache(clip, cache_root) if cache_root else None)
    features = np.zeros((len(photos), clip.card.feature_dim), np.float32)
    sketches = np.zeros((len(photos), SKETCH), np.uint8)
    readable = np.zeros(len(photos), bool)
    todo: list[int] = []
    for index, file in enumerate(photos):
        row = keeper.get(file.digest)
        if row is not None:
            features[index], sketches[index], readable[index] = *row, True
        elif file.digest:
            todo.append(index)
    before = len(photos) - len(todo)
    progress(before, len(photos))
    try:
        with kept.tower if kept else clip.image_tower() as tower:
            for seen in tower.each(
                [photos[index].path for index in todo],
                lambda index, reason: skipped(photos[todo[index]].path, reason),
                lambda done: progress(before + done, len(photos)),
            ):
                place, row = todo[seen.place], Row(seen.features, seen.sketch)
                if photos[place].has_changed():  # these would be features of another photo
                    skipped(photos[place].path, "it changed while it was read")
                    continue
                features[place], sketches[place], readable[place] = *row, True
                keeper.add(photos[place].digest, row)
    finally:  # an interrupted run has not encoded its photos in vain
        keeper.write()
    return Encoded(features, sketches, readable, keeper.failed)


class _Keeper:
    """Adds to the cache from time to time; a cache that cannot be written is no error."""

    def __init__(self, cache: FeatureCache | None):
        self._cache, self._new = cache, dict[bytes, Row]()
        self._written = time.monotonic()
        self.failed: str | None = None
        if cache:
            cache.load()

    def get(self, key: bytes) -> Row | None:
        return self._cache.get(key) if self._cache and key else None

    def add(self, key: bytes, row: Row) -> None:
        self._new[key] = row
        if time.monotonic() - self._written >= KEEP_EVERY:
            self.write()

    def write(self) -> None:
        if not self._cache or not self._new:
            return
        try:
            self._cache.save(self._new)
        except OSError as error:
            self.failed = f"{self._cache.path.parent}: {error}"
        self._new = {}
        self._written = time.monotonic()
