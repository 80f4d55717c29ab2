"""What the classifier says of photos that were set aside: one press then labels them."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.album import AlbumPhoto, Contents
from edge_sharpzo.album.contents import is_saved, whence
from edge_sharpzo.photos.scan import ASIDE_FOLDER
from edge_sharpzo.station.answers import SaysAnswer
from edge_sharpzo.system.errors import UserError

if TYPE_CHECKING:  # which makes one of these
    from edge_sharpzo.station.desk import Desk

AT_ONCE = 24  # photos encoded for one answer: the others come with the next one


class Aside:
    """Keeps features of photos set aside, as long as they lie there."""

    def __init__(self, desk: "Desk"):
        self._desk, self._lock = desk, Lock()
        self._features: dict[str, np.ndarray | None] = {}  # by id; None: it cannot be read

    def says(self, photos: Sequence[AlbumPhoto]) -> list[SaysAnswer | None]:
        """Of each; None where nothing can be said, or not yet."""
        try:
            answerer = self._desk.answerer()
        except UserError:  # nothing is learnt yet
            return [None] * len(photos)
        with self._lock:
            self._encode(photos)
            features = [self._features.get(photo.id) for photo in photos]
        rows = [row for row in features if row is not None]
        told = iter(answerer.classifier.answers(np.stack(rows)) if rows else [])
        said = [None if row is None else next(told) for row in features]
        return [
            None
            if each is None
            else SaysAnswer(
                each.label,
                answerer.displays.get(each.label, each.label),
                each.probability,
                each.known,
                each.sure,
            )
            for each in said
        ]

    def _encode(self, photos: Sequence[AlbumPhoto]) -> None:
        there = {photo.id for photo in self._desk.contents().set_aside}
        self._features = {key: row for key, row in self._features.items() if key in there}
        new = [photo for photo in photos if photo.id not in self._features][:AT_ONCE]

        def skipped(place: int, why: str) -> None:  # noqa: ARG001
            self._features[new[place].id] = None

        for seen in self._desk.learner.eyes.each([photo.path for photo in new], skipped):
            self._features[new[seen.place].id] = seen.features


def can_go_back(photo: AlbumPhoto, contents: Contents, root: Path) -> bool:
    """Whether a photo that was set aside comes from a class that is there, or the background."""
    path = photo.path.relative_to(root / ASIDE_FOLDER)
    _, name, _ = whence(path, root, contents.bases)
    return name is None or (name != "" and contents.class_of(name) is not None)


def waiting(contents: Contents, root: Path) -> int:
    """How many photos `watch` has saved for labelling."""
    place = root / ASIDE_FOLDER
    return sum(is_saved(photo.path.relative_to(place)) for photo in contents.set_aside)
