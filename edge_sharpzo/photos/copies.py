"""Finds copies among photos: files of one content, and the same picture saved anew.

A copy on both sides of a split makes the accuracy a lie, so copies are gone before the draw.
"""

import numpy as np

from edge_sharpzo.photos.found import Photos
from edge_sharpzo.photos.left_out import COPIES, RESAVED, TWO_CLASSES, LeftOut

# Two sketches are of one picture where they correlate by at least `ALIKE` and their levels differ
# by at most `APART` (root mean square). On 2,400 photos of five sets, copies that were compressed
# hard, halved or cut to 256 colours differ by at most 2.7; no two distinct photos by less than 5.
ALIKE = 0.98
APART = 4.0
FLAT = 1.0  # levels (root mean square) about its mean: a sketch with less shows no picture
_BLOCK = 1024  # sketches compared at once


def leave_out_copies(
    photos: Photos, sketches: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, list[LeftOut]]:
    """Which of the `usable` photos [N], bool, are left once each picture is there once.

    `sketches` [N, S], uint8, are what `clip.sketch` makes of them. Of copies the first
    stays. One content in two classes is left out altogether, for one of the labels is wrong;
    pictures that only look alike may be in two.
    """
    kept, left_out = usable.copy(), list[LeftOut]()

    def leave_out(index: int, reason: str, other: int) -> None:
        kept[index] = False
        left_out.append(LeftOut(photos.paths[index], reason, f"as {photos.paths[other]}"))

    of_content: dict[bytes, list[int]] = {}
    for place in np.flatnonzero(usable):
        of_content.setdefault(photos.files[place].digest, []).append(int(place))
    for first, *others in of_content.values():
        different = [i for i in others if photos.labels[i] != photos.labels[first]]
        if different:
            leave_out(first, TWO_CLASSES, different[0])
        for index in others:
            leave_out(index, TWO_CLASSES if different else COPIES, first)
    places = [int(place) for place in np.flatnonzero(kept)]
    for row, other_row in same_pictures(sketches[places], sketches[places]):
        later, earlier = places[row], places[other_row]
        one_class = photos.labels[later] == photos.labels[earlier]
        if earlier < later and kept[later] and kept[earlier] and one_class:
            leave_out(later, RESAVED, earlier)
    return kept, left_out


def same_pictures(sketches: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of indices into `sketches` [N, S] and `others` [M, S] that show one picture; sorted."""
    pairs: list[tuple[int, int]] = []
    second, second_mean, second_norm = _centred(others)
    for start in range(0, len(sketches), _BLOCK):
        first, mean, norm = _centred(sketches[start : start + _BLOCK])
        product = first @ second.T
        size = first.shape[1]
        apart = norm[:, None] ** 2 + second_norm**2 - 2 * product
        apart += size * (mean[:, None] - second_mean) ** 2
        least = np.sqrt(size) * FLAT
        alike = product >= ALIKE * norm[:, None] * second_norm
        alike &= (apart <= size * APART**2) & (norm[:, None] > least) & (second_norm > least)
        pairs += [(start + int(i), int(j)) for i, j in zip(*np.nonzero(alike), strict=True)]
    return pairs


def _centred(sketches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sketches about their means, the means, and the norms of what is left."""
    levels = sketches.astype(np.float32)
    mean = levels.mean(axis=1)
    centred = levels - mean[:, None]
    return centred, mean, np.linalg.norm(centred, axis=1)
