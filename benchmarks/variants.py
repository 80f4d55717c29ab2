"""Cheaper forms of the methods' parts that others have proposed, not taken so far:
`benchmarks.ablations` measures what they gain.
"""

import numpy as np

from edge_sharpzo.tuning.methods.estimators import RunningRms, pair_points, rge_gradient
from edge_sharpzo.tuning.methods.gauss_newton import GaussNewton
from edge_sharpzo.tuning.methods.presets import SharpZOSettings
from edge_sharpzo.tuning.methods.sharpzo import (
    RMS_DECAY,
    Kind,
    SharpZO,
    keep_best,
    sharpness_direction,
)

FLATNESS_RHO = 4.0  # length of FlatGaussNewton's eps*; a tenth of a usual step


class CentralGaussNewton(GaussNewton):
    """Columns by central differences: two queries each, no error of first order in h."""

    def ask(self) -> np.ndarray:
        points = super().ask()
        if self.kind != "jacobian":
            return points
        return np.concatenate([points, 2 * self._point - points[-len(self._fresh) :]])

    def _refresh(self, outputs: np.ndarray) -> None:
        assert self._output is not None
        plus, minus = np.split(outputs, 2)
        super()._refresh(self._output + (plus - minus) / 2)


class FlatGaussNewton(GaussNewton):
    """Steps by the slope at the worst point near by, SharpZO's eps* (section 4.1), found on the
    columns: no queries.
    """

    def _solve(self) -> None:
        start = self._output
        assert start is not None
        gradient, _ = self._loss.expand(start, self._columns.reshape(-1, *start.shape))
        eps = sharpness_direction(gradient, FLATNESS_RHO).astype(np.float32)
        self._output = start + (eps @ self._columns).reshape(start.shape)
        super()._solve()
        self._output = start


class OneSidedSharpness(SharpZO):
    """eps* by one-sided differences: d + 1 queries for 2 d."""

    def ask(self) -> np.ndarray:
        points = super().ask()
        return (
            np.concatenate([points[: len(points) // 2], self._point[None]])
            if self.kind == "sharpness"
            else points
        )

    def _update(self, losses: np.ndarray) -> None:
        if self.kind == "sharpness":
            losses = np.concatenate([losses[:-1], 2 * losses[-1] - losses[:-1]])
            self._heard -= len(self._point) - 1  # not paid for
        super()._update(losses)


class MeanShiftSharpness(SharpZO):
    """eps* against the last shift of CMA-ES's mean, which goes about down the slope: no queries."""

    def _update(self, losses: np.ndarray) -> None:
        before = self._point.copy()
        super()._update(losses)
        self._eps = sharpness_direction(before - self._point, self.settings.rho)


class OrthonormalSearch(SharpZO):
    """Stage 2 along the vectors of random orthonormal bases, each swept without replacement (in
    place of Gaussian directions).
    """

    def __init__(self, dim: int, settings: SharpZOSettings, seed: int = 0):
        self._basis = np.zeros((0, dim))
        super().__init__(dim, settings, seed)

    def ask(self) -> np.ndarray:
        if self.kind != "rge":
            return super().ask()
        dim, count = len(self._point), self.settings.directions
        if len(self._basis) < count:
            self._basis = np.linalg.qr(self._rng.standard_normal((dim, dim)))[0]
        drawn, self._basis = self._basis[:count], self._basis[count:]
        self._directions = np.sqrt(dim) * self._mask * drawn
        return pair_points(self._point, self._directions, self.settings.mu_rge)


class Clipped(RunningRms):
    """Steps no longer than a usual one, sqrt(d)."""

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        step = super().__call__(gradient)
        return step * min(1.0, np.sqrt(len(step)) / max(float(np.linalg.norm(step)), 1e-12))


class RAdaZO:
    """Adam whose second moment is the first's square, less noisy than that of single estimates (Shu
    et al., 2025).
    """

    def __init__(self, slow: float = 0.9, slower: float = 0.99):
        self._slow, self._slower, self._age = slow, slower, 0
        self._first = self._second = np.zeros(1)

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        self._age += 1
        self._first = self._slow * self._first + (1 - self._slow) * gradient
        self._second = self._slower * self._second + (1 - self._slower) * self._first**2
        first, second = (
            self._first / (1 - self._slow**self._age),
            self._second / (1 - self._slower**self._age),
        )
        return first / (np.sqrt(second) + 1e-12)


class ClippedSearch(OrthonormalSearch):
    """The orthonormal sweep with clipped steps."""

    def __init__(self, dim: int, settings: SharpZOSettings, seed: int = 0):
        super().__init__(dim, settings, seed)
        self._normalized = Clipped(RMS_DECAY)


class AdaptiveSearch(OrthonormalSearch):
    """The orthonormal sweep with R-AdaZO's steps."""

    def __init__(self, dim: int, settings: SharpZOSettings, seed: int = 0):
        super().__init__(dim, settings, seed)
        self._normalized = RAdaZO()  # type: ignore[assignment]


class OnlineScores(SharpZO):
    """Z-pruning by a running mean of the search's own squared estimates, in place of a CGE every K
    steps.
    """

    def __init__(self, dim: int, settings: SharpZOSettings, seed: int = 0):
        self._squares = np.zeros(dim)
        self._seen = np.zeros(dim)
        super().__init__(dim, settings, seed)

    def _next_kind(self) -> Kind:
        kind = super()._next_kind()
        return Kind.RGE if kind == Kind.MASK else kind

    def _update(self, losses: np.ndarray) -> None:
        if self.kind == "rge":
            self._squares += rge_gradient(losses, self._directions, self.settings.mu_rge) ** 2
            self._seen += self._mask
            if (self.step + 1 - self._warm_up_steps) % self.settings.mask_every == 0:
                mean = self._squares / np.maximum(self._seen, 1)
                self._mask = keep_best(
                    self._point**2 * (mean - mean.mean()), self.settings.pruning_ratio
                )
        super()._update(losses)
