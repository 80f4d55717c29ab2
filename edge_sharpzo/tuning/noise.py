"""How exactly the text tower answers, and the finite-difference step that this allows."""

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import numpy as np

SHORTEST_STEP = 0.2  # for finite differences, in units of w; float32 allows it everywhere so far
ORDER = 4  # of the difference table: a smooth function leaves nothing there, noise does
NOISE_QUERIES = 8  # points of the table
COLUMN_ERROR = 0.01  # of a finite-difference column, as a share of its length
UNFIT_ERROR = 0.3  # columns so wrong lead nowhere
LARGEST = 4.0  # a step so long still found good prompts; longer ones see another landscape


class Differences(NamedTuple):
    """What finite differences of a black box need."""

    step: float  # in units of w
    noise: float  # standard deviation of the outputs' noise
    error: float  # that it leaves in a column at this step, as a share of the column's length

    @property
    def fit(self) -> bool:
        """Whether finite differences say anything here."""
        return self.error < UNFIT_ERROR


def noise_floor(values: np.ndarray) -> float:
    """Standard deviation of the noise in `values` [n, ...] of a smooth function.

    They were taken at equally spaced points. From the k-th differences, whose mean square is
    (2k)! / (k!)^2 times the noise's variance: Hamming's table, as in More and Wild, "Estimating
    computational noise" (SIAM J. Sci. Comput., 2011).
    """
    table = np.diff(values.astype(np.float64), n=ORDER, axis=0)
    return float(np.sqrt((table**2).mean() * factorial(ORDER) ** 2 / factorial(2 * ORDER)))


def difference_step(
    box: Callable[[np.ndarray], np.ndarray], dim: int, shortest: float, seed: int
) -> Differences:
    """The step for finite differences of `box` at 0, and the noise floor there.

    `box` maps points [P, dim] to outputs [P, ...]. The step is `shortest` where the noise allows
    it; else as long as columns with an error of `COLUMN_ERROR` need, up to `LARGEST`. The points
    lie `shortest` apart, since the noise of rounded inputs shows only between points that round
    differently. Costs `NOISE_QUERIES`.
    """
    direction = np.random.default_rng([seed, 0x4F]).standard_normal(dim)
    direction /= np.linalg.norm(direction)
    outputs = box(shortest * np.arange(NOISE_QUERIES)[:, None] * direction)
    noise = noise_floor(outputs)
    rise = float(((outputs[-1] - outputs[0]) ** 2).mean()) - 2 * noise**2
    if not rise > 0:
        return (
            Differences(LARGEST, noise, np.inf) if noise > 0 else Differences(shortest, noise, 0.0)
        )
    slope = rise**0.5 / (shortest * (NOISE_QUERIES - 1))
    step = float(np.clip(2**0.5 * noise / (COLUMN_ERROR * slope), shortest, LARGEST))
    return Differences(step, noise, 2**0.5 * noise / (slope * step))
