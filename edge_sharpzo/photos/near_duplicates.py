"""Photos that are nearly the same: shots of one scene, as bursts and films give them.

Two of them on either side of a split make the accuracy better than it is. Copies of one picture are
left out before, see `copies.py`; these are different pictures, so they are named, and left out
where that is asked for.
"""

from collections.abc import Sequence

import numpy as np

from edge_sharpzo.clip.sketch import SIDE
from edge_sharpzo.photos.copies import in_order
from edge_sharpzo.photos.found import Photos
from edge_sharpzo.photos.left_out import NEARLY_SAME, LeftOut

# Two photos are nearly the same where a third of the cosine of their features and two thirds of
# their sketches' correlation, once the camera's movement is taken out, make at least this.
# `benchmarks/near_duplicates.py` has what it finds and what it takes for the same.
ALIKE = 0.88
_SHARES = 1 / 3, 2 / 3
_NOTHING = 1e-3  # levels of a whole sketch: one with less shows no picture
_BLOCK = 32  # sketches looked at at once
_EDGE = 1  # fields at a sketch's edge, which move out of sight


def near_duplicates(
    features: np.ndarray, sketches: np.ndarray, order: Sequence[int]
) -> list[list[int]]:
    """Groups of two and more of the photos in `order`, each nearly the same as its group's first.

    Image features [N, D], L2-normalised, and sketches [N, S], uint8, see `clip.sketch`. A photo is
    in one group at most: that of the first photo, in `order`, that it is nearly the same as.
    """
    if not len(order):
        return []
    places = np.array(order, int)
    rows, moves = features[places], _Moves(sketches[places])
    first = np.arange(len(places))
    for here in range(len(places)):
        if first[here] != here:
            continue
        later = np.arange(here + 1, len(places))
        later = later[first[later] == later]
        cosine = rows[later] @ rows[here]
        least = (ALIKE - _SHARES[0] * cosine) / _SHARES[1]
        likely = least <= 1
        later, least = later[likely], least[likely]
        first[later[moves.fits(here, later, least)]] = here
    groups: dict[int, list[int]] = {}
    for here, leads in enumerate(first):
        groups.setdefault(int(leads), []).append(int(places[here]))
    return [group for group in groups.values() if len(group) > 1]


def without_near_duplicates(
    photos: Photos, parts: np.ndarray, groups: Sequence[Sequence[int]], usable: np.ndarray
) -> tuple[np.ndarray, list[LeftOut]]:
    """Which of the `usable` photos [N], bool, are left once each class has one of each group."""
    kept, left_out = usable.copy(), list[LeftOut]()
    place = {photo: at for at, photo in enumerate(in_order(photos, parts, usable))}
    for group in groups:
        of_class: dict[int, int] = {}
        for photo in sorted(group, key=place.__getitem__):
            first = of_class.setdefault(int(photos.labels[photo]), photo)
            if photo != first:
                kept[photo] = False
                like = f"as {photos.paths[first]}"
                left_out.append(LeftOut(photos.paths[photo], NEARLY_SAME, like))
    return kept, left_out


class _Moves:
    """Sketches [N, S], and how each changes where the camera moves a little.

    To first order a picture that is shifted, turned or zoomed is itself and some of its slopes: a
    linear space of five dimensions, whatever the movement.
    """

    def __init__(self, sketches: np.ndarray):
        pictures, spaces = list[np.ndarray](), list[np.ndarray]()
        for at in range(0, len(sketches), _BLOCK):
            block = _moved(sketches[at : at + _BLOCK])
            pictures.append(_unit(block[:, 0]))
            # In half precision: there may be thousands, of 6 kB each.
            spaces.append(_orthonormal(block).astype(np.float16))
        self._pictures, self._spaces = np.concatenate(pictures), np.concatenate(spaces)

    def fits(self, one: int, others: np.ndarray, least: np.ndarray) -> np.ndarray:
        """Which of the pictures `others`, indices [n], correlate with `one` by `least` [n]: bool.

        Each moved to fit the other best, and both ways: a picture of nothing fits any.
        """
        back = self._pictures[others] @ self._spaces[one].astype(np.float32).T
        found = np.asarray((back**2).sum(axis=1) >= least**2)
        likely = np.flatnonzero(found)
        there = self._spaces[others[likely]].astype(np.float32) @ self._pictures[one]
        fits = (there**2).sum(axis=1) >= least[likely] ** 2
        found[likely] = fits & (there[:, 0] > 0)  # and none its negative
        return found


def _moved(sketches: np.ndarray) -> np.ndarray:
    """Sketches [N, S], and how each changes with its movements: [N, 5, d], float32."""
    fields = sketches.reshape(-1, 3, SIDE, SIDE).astype(np.float32)
    inside = slice(_EDGE, SIDE - _EDGE)
    down, right = np.gradient(fields, axis=(2, 3))
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) - np.float32((SIDE - 1) / 2)
    parts = [fields, right, down, x * right + y * down, x * down - y * right]
    moved = np.stack(parts, axis=1)[..., inside, inside]
    moved -= moved.mean(axis=(3, 4), keepdims=True)  # of each colour: their levels say little
    return moved.reshape(len(moved), len(parts), -1)


def _orthonormal(spaces: np.ndarray) -> np.ndarray:
    """An orthonormal basis [N, m, d] of each of the spaces [N, m, d]; first the first row's own."""
    q, r = np.linalg.qr(spaces.swapaxes(1, 2))
    size = np.diagonal(r, axis1=1, axis2=2)
    kept = np.where(np.abs(size) > _NOTHING, np.sign(size), 0)
    return np.asarray((q * kept[:, None, :]).swapaxes(1, 2))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _NOTHING)
