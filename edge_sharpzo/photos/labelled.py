"""Photos as the image tower sees them, with their classes."""

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """The photos of one split that could be read."""

    features: np.ndarray  # L2-normalised [N, D], float32
    labels: np.ndarray  # class of each [N], int64


class Splits(NamedTuple):
    """A dataset's photos."""

    train: Split
    val: Split
    test: Split
    borrowed: Split  # the validation photos that are some of a class's shots


def joined(first: Split, second: Split) -> Split:
    """The photos of both."""
    return Split(*(np.concatenate(parts) for parts in zip(first, second, strict=True)))
