"""The photos of an album as `photos` takes them, also of one that nothing can be learnt from."""

from pathlib import Path

import numpy as np

from edge_sharpzo.album import contents as album
from edge_sharpzo.photos.found import (
    BACKGROUND,
    FOREIGN,
    NO_LABEL,
    POOL,
    TEST,
    VAL,
    Found,
    as_photos,
)

PARTS = {album.TRAIN: POOL, album.VAL: VAL, album.TEST: TEST}


def found_in(contents: album.Contents, root: Path) -> Found:
    """All but those set aside, of the album in the folder `root`."""
    every = [
        (PARTS[photo.part], photo.path, label)
        for label, each in enumerate(contents.classes)
        for photo in each.photos
    ]
    every += [
        (FOREIGN if photo.part == album.TEST else BACKGROUND, photo.path, NO_LABEL)
        for photo in contents.background
    ]
    every.sort(key=lambda each: each[0])  # the order within a part stays
    return Found(
        root,
        [each.name for each in contents.classes],
        [each.display for each in contents.classes],
        as_photos([(path, label) for _, path, label in every]),
        np.array([part for part, _, _ in every], np.int64),
    )
