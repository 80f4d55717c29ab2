"""Gradients from function values alone: coordinate-wise and random-direction central differences.

Sources: SharpZO (Yang et al., NeurIPS 2025), section 3; the random form is Nesterov and Spokoiny
(2017). Points come as all `+` first and all `-` after, so that the two of a pair sit at the same
place of equal batches.
"""

import math

import numpy as np


def pair_points(point: np.ndarray, directions: np.ndarray, mu: float) -> np.ndarray:
    """Points [2q, d]: all `point + mu * u`, then all `point - mu * u`.

    For every direction u of `directions` [q, d].
    """
    return np.concatenate([point + mu * directions, point - mu * directions])


def slopes(losses: np.ndarray, mu: float) -> np.ndarray:
    """Central differences [q] from the losses [2q] of `pair_points`; 0 where one is not finite."""
    plus, minus = np.split(losses, 2)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num((plus - minus) / (2 * mu), nan=0.0, posinf=0.0, neginf=0.0)


def cge_points(point: np.ndarray, mu: float) -> np.ndarray:
    """CGE: the points of all d coordinate directions [2d, d].

    `slopes` of their losses is the gradient [d].
    """
    return pair_points(point, np.eye(len(point)), mu)


def rge_gradient(losses: np.ndarray, directions: np.ndarray, mu: float) -> np.ndarray:
    """RGE: mean over the q directions of slope times direction [d].

    From the losses [2q] of their `pair_points`.
    """
    return slopes(losses, mu) @ directions / len(directions)


class RunningRms:
    """Divides estimates by the rms of this and the last ones.

    With Adam's correction for the first ones.
    """

    def __init__(self, decay: float):
        self._decay = decay
        self._mean_square = 0.0
        self._age = 0

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        """`gradient` over the rms; a zero gradient where all were zero."""
        self._age += 1
        self._mean_square = self._decay * self._mean_square + (1 - self._decay) * float(
            (gradient**2).mean()
        )
        rms = math.sqrt(self._mean_square / (1 - self._decay**self._age))
        return gradient / rms if rms > 0 else gradient
