"""Random search: normal points around the initial words; the best one is the solution."""

import numpy as np

from edge_sharpzo.tuning.loss import ConvexLoss
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.presets import DEFAULT
from edge_sharpzo.tuning.methods.state import Replayed

BATCH = 40  # points of one ask, as many as a generation of the paper's CMA-ES


class RandomSearch(Replayed):
    """The floor under every other method; see `Optimizer` for the protocol."""

    kind = "random"
    stage = "search"
    finished = False

    def __init__(self, dim: int, sigma: float, seed: int = 0):
        """`sigma`: standard deviation of the points' coordinates."""
        super().__init__()
        self.step = 0
        self.solution = np.zeros(dim)
        self._sigma = sigma
        self._best = np.inf
        self._rng = np.random.default_rng([seed, 0x52])
        self._points = np.zeros((0, dim))

    def ask(self) -> np.ndarray:
        """`BATCH` new points."""
        self._points = self._sigma * self._rng.standard_normal((BATCH, len(self.solution)))
        return self._points

    def _update(self, losses: np.ndarray) -> None:
        losses = np.where(np.isfinite(losses), losses, np.inf)
        best = int(losses.argmin())
        if losses[best] < self._best:
            self._best, self.solution = float(losses[best]), self._points[best]
        self.step += 1


def plan(request: Request) -> Plan:
    """As wide as SharpZO's first population."""
    sigma, spend = DEFAULT.settings.sigma, request.spend()

    def make(dim: int, _: ConvexLoss, seed: int, __: float = 0.0) -> RandomSearch:
        return RandomSearch(dim, sigma, seed)

    return Plan(make, {"sigma": sigma}, spend, spend, DEFAULT.dim, integer=True)
