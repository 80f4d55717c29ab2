"""Which of the photos that were found can be used: those that can be read, each picture once."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_sharpzo.clip.model import Clip
from edge_sharpzo.events import Listener, PhotosEncoded, PhotoSkipped
from edge_sharpzo.photos.copies import in_order, leave_out_copies
from edge_sharpzo.photos.features import Kept, Looked, look_at
from edge_sharpzo.photos.found import Found
from edge_sharpzo.photos.left_out import LeftOut
from edge_sharpzo.photos.near_duplicates import near_duplicates, without_near_duplicates
from edge_sharpzo.system.stopping import Stop


class Sifted(NamedTuple):
    """Photos that were found, and which of them can be used."""

    looked: Looked  # all of them
    usable: np.ndarray  # [N], bool
    groups: list[list[int]]  # places of photos that are nearly the same
    left_out: list[LeftOut]  # what lies among the photos and is not used


def sift(
    clip: Clip,
    found: Found,
    drop_duplicates: bool,
    listen: Listener,
    stop: Stop,
    kept: Kept | None = None,
) -> Sifted:
    """Reads and encodes the photos, or takes their features from the cache, and leaves out copies.

    `listen` hears of progress and of photos that cannot be read. Raises Cancelled.
    """

    def encoded(done: int, total: int) -> None:
        listen(PhotosEncoded(done, total))
        with stop.interruptible():  # raises Cancelled if the caller wishes to stop
            pass

    def skipped(path: Path, reason: str) -> None:
        listen(PhotoSkipped(path, reason))

    looked = look_at(clip, found, encoded, skipped, kept=kept)
    photos, seen = looked.photos, looked.encoded
    usable, copies = leave_out_copies(photos, found.parts, seen.sketches, seen.readable)
    left_out = [*found.left_out, *looked.left_out, *copies]
    groups = near_duplicates(seen.features, seen.sketches, in_order(photos, found.parts, usable))
    if drop_duplicates:
        usable, dropped = without_near_duplicates(photos, found.parts, groups, usable)
        left_out += dropped
    return Sifted(looked, usable, groups, left_out)
