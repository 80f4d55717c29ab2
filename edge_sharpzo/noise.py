"""How exactly the text tower answers, and the finite-difference step that this allows."""

from collections.abc import Callable
from math import factorial

import numpy as np

ORDER = 4  # of the difference table: a smooth function leaves nothing there, noise does
POINTS = 7
NOISE_QUERIES = POINTS + 1  # spent on the noise floor and the step
SPACING = 1e-3  # between the table's points, in units of w
COLUMN_ERROR = 0.01  # of a finite-difference column, as a share of its length
LARGEST = 4.0  # a step so long still found good prompts; longer ones see another landscape


def noise_floor(values: np.ndarray) -> float:
    """Standard deviation of the noise in `values` [n, ...], taken at equally spaced points of a smooth function.

    From the k-th differences, whose mean square is (2k)! / (k!)^2 times the noise's variance: Hamming's table, as in
    More and Wild, "Estimating computational noise" (SIAM J. Sci. Comput., 2011).
    """
    table = np.diff(values.astype(np.float64), n=ORDER, axis=0)
    return float(np.sqrt((table**2).mean() * factorial(ORDER) ** 2 / factorial(2 * ORDER)))


def difference_step(box: Callable[[np.ndarray], np.ndarray], dim: int, shortest: float, seed: int) -> tuple[float, float]:
    """The step for finite differences of `box` (points [P, dim] to outputs [P, ...]) at 0, and the noise floor there.

    `shortest` where the noise allows it; else as long as columns with an error of `COLUMN_ERROR` need, up to
    `LARGEST`. Costs `NOISE_QUERIES`.
    """
    direction = np.random.default_rng([seed, 0x4F]).standard_normal(dim)
    direction /= np.linalg.norm(direction)
    distances = np.append(SPACING * np.arange(POINTS), shortest)
    outputs = box(distances[:, None] * direction)
    noise = noise_floor(outputs[:POINTS])
    slope = float(np.sqrt(((outputs[-1] - outputs[0]) ** 2).mean())) / shortest
    if not slope > 0:
        return shortest, noise
    return float(np.clip(2**0.5 * noise / (COLUMN_ERROR * slope), shortest, LARGEST)), noise
