"""Finds copies among photos: files of one content, and the same picture saved anew.

A copy on both sides of a split makes the accuracy a lie, so copies are gone before the draw.
"""

from collections.abc import Iterator

import numpy as np

from edge_sharpzo.photos.found import BACKGROUND, Photos
from edge_sharpzo.photos.left_out import COPIES, OF_CLASSES, RESAVED, TWO_CLASSES, LeftOut

# Two sketches are of one picture where they correlate by at least `ALIKE`, their levels differ by
# at most `APART` (root mean square), and no level by more than `CHANGED`: something small may have
# come into the scene. Of 125 photos of five sets, copies compressed hard or halved differ by at
# most 5 in one way and 16 in the other, those of 64 colours by up to 6 and 70. Of 2,400 photos, no
# two distinct ones pass.
ALIKE, APART, CHANGED = 0.98, 4.0, 16.0
FLAT = 1.0  # levels (root mean square) about its mean: a sketch with less shows no picture
_BLOCK = 256  # sketches compared at once


def leave_out_copies(
    photos: Photos, parts: np.ndarray, sketches: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, list[LeftOut]]:
    """Which of the `usable` photos [N], bool, are left once each picture is there once.

    `parts` [N] are those of `Found`, `sketches` [N, S], uint8, what `clip.sketch` makes of them.
    Of copies one stays: in the first part that has one, of the largest file. A picture in two
    classes is left out altogether, for one of its labels is wrong. One that is in a class is no
    background.
    """

    kept, left_out = usable.copy(), list[LeftOut]()
    for first, *others in _of_one_picture(photos, sketches, in_order(photos, parts, usable)):
        behind = [i for i in others if parts[i] >= BACKGROUND > parts[first]]
        others = [i for i in others if i not in behind]
        different = [i for i in others if photos.labels[i] != photos.labels[first]]
        for index in [*([first] if different else []), *others, *behind]:
            other = different[0] if index == first else first
            copied = photos.files[index].digest == photos.files[first].digest
            reason = TWO_CLASSES if different else COPIES if copied else RESAVED
            reason = OF_CLASSES if index in behind else reason
            kept[index] = False
            left_out.append(LeftOut(photos.paths[index], reason, f"as {photos.paths[other]}"))
    return kept, left_out


def in_order(photos: Photos, parts: np.ndarray, usable: np.ndarray) -> list[int]:
    """The `usable` photos [N], bool, the one first that stays where only one may: by part, size."""

    def rank(index: int) -> tuple[int, int, int, int]:
        file = photos.files[index]
        size = file.stamp[1] if file.stamp else 0
        return int(parts[index]), -size, len(file.path.name), index

    return sorted((int(i) for i in np.flatnonzero(usable)), key=rank)


def _of_one_picture(photos: Photos, sketches: np.ndarray, order: list[int]) -> Iterator[list[int]]:
    """The photos in `order`, those of one picture together."""
    of_content: dict[bytes, list[int]] = {}
    for index in order:
        of_content.setdefault(photos.files[index].digest, []).append(index)
    contents = list(of_content.values())
    of_picture: dict[int, list[int]] = {}
    firsts = first_alike(sketches[[group[0] for group in contents]])
    for group, first in zip(contents, firsts, strict=True):
        of_picture.setdefault(int(first), []).extend(group)
    yield from of_picture.values()


def first_alike(sketches: np.ndarray) -> np.ndarray:
    """For each sketch [N, S] the first that shows its picture and is like none before, [N]."""
    first = np.arange(len(sketches))
    alone: list[int] = []  # those that are like none before
    for start in range(0, len(sketches), _BLOCK):
        stop = min(start + _BLOCK, len(sketches))
        others = np.array([*alone, *range(start, stop)], int)
        found = shows_same(sketches[start:stop], sketches[others])
        for index in range(start, stop):
            same = others[found[index - start]]
            earlier = [i for i in same if i < index and first[i] == i]
            if earlier:
                first[index] = earlier[0]
            else:
                alone.append(index)
    return first


def shows_same(sketches: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether sketches [N, S] and `others` [M, S] show one picture, [N, M], bool."""
    one, mean, norm = _centred(sketches)
    two, other_mean, other_norm = _centred(others)
    product, size = one @ two.T, one.shape[1]
    apart = norm[:, None] ** 2 + other_norm**2 - 2 * product
    apart += size * (mean[:, None] - other_mean) ** 2
    least = np.sqrt(size) * FLAT
    same = (product >= ALIKE * norm[:, None] * other_norm) & (apart <= size * APART**2)
    same &= (norm[:, None] > least) & (other_norm > least)
    levels, other_levels = sketches.astype(np.int16), others.astype(np.int16)
    for row, likely in enumerate(same):
        places = np.flatnonzero(likely)
        changed = np.abs(other_levels[places] - levels[row]).max(axis=1, initial=0)
        same[row, places] = changed <= CHANGED
    return np.asarray(same)


def _centred(sketches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sketches about their means, the means, and the norms of what is left."""
    levels = sketches.astype(np.float32)
    mean = levels.mean(axis=1)
    centred = levels - mean[:, None]
    return centred, mean, np.linalg.norm(centred, axis=1)
