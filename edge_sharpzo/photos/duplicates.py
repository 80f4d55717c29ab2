"""Finds photos that lie in a data folder twice where that misleads."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edge_sharpzo.photos.dataset import Photos


class Place(NamedTuple):
    """Where a photo's content was found."""

    held_out: bool
    label: int
    path: Path


def duplicates(parts: Sequence[Photos]) -> list[str]:
    """What to tell the user of photos with the same content where that misleads.

    In two classes, or among those tuned on and those held out. `parts` are training, validation
    and held-out photos with their digests.
    """
    places: dict[bytes, list[Place]] = defaultdict(list)
    for part in parts:
        for (path, digest), label in zip(part.files(), part.labels, strict=True):
            if digest:
                places[digest].append(Place(part is parts[-1], int(label), path))
    groups = places.values()
    two_classes = [g for g in groups if len({place.label for place in g}) > 1]
    both_sides = [g for g in groups if len({place.held_out for place in g}) > 1]
    texts = []
    if two_classes:
        texts.append(
            f"{_photos(two_classes)} of more than one class ({_example(two_classes)}): "
            "delete the wrong one"
        )
    if both_sides:
        texts.append(
            f"{_photos(both_sides)} both tuned on and held out ({_example(both_sides)}), "
            "which inflates the accuracy: delete one of the two"
        )
    return texts


def _photos(groups: list[list[Place]]) -> str:
    return "1 photo is" if len(groups) == 1 else f"{len(groups)} photos are"


def _example(groups: list[list[Place]]) -> str:
    return f"{groups[0][0].path} and {groups[0][-1].path}"
