"""Finds photos that lie in a data folder twice where that misleads."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from edge_sharpzo.dataset import Photos

Place = tuple[bool, int, Path]  # held out, label, file


def duplicates(parts: Sequence[Photos], digests: Sequence[bytes]) -> list[str]:
    """What to tell the user of photos with the same content in two classes, or among those tuned on and held out.

    `parts` are training, validation and held-out photos, `digests` those of their files in that order.
    """
    places: dict[bytes, list[Place]] = defaultdict(list)
    split = [(part is parts[-1], int(label), path) for part in parts for path, label in zip(part.paths, part.labels, strict=True)]
    for digest, place in zip(digests, split, strict=True):
        if digest:
            places[digest].append(place)
    two_classes = [group for group in places.values() if len({label for _, label, _ in group}) > 1]
    both_sides = [group for group in places.values() if len({held_out for held_out, _, _ in group}) > 1]
    texts = []
    if two_classes:
        texts.append(f"{_photos(two_classes)} of more than one class ({_example(two_classes)}): delete the wrong one")
    if both_sides:
        texts.append(f"{_photos(both_sides)} both tuned on and held out ({_example(both_sides)}), which inflates the accuracy: delete one of the two")
    return texts


def _photos(groups: list[list[Place]]) -> str:
    return "1 photo is" if len(groups) == 1 else f"{len(groups)} photos are"


def _example(groups: list[list[Place]]) -> str:
    return f"{groups[0][0][2]} and {groups[0][-1][2]}"
