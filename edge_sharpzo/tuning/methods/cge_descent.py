"""Coordinate-wise gradient descent: sweeps the coordinates in random order, one block per step.

The estimator is SharpZO's CGE (section 3); a whole gradient would cost 2 dim queries, so each step
takes the next block of coordinates and moves along their slopes alone, as block coordinate descent
does (Nesterov, 2012). Steps are divided by the running rms of the slopes, so that one step length
suits any loss.
"""

import numpy as np

from edge_sharpzo.tuning.loss import ConvexLoss
from edge_sharpzo.tuning.methods.estimators import RunningRms, pair_points, slopes
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.presets import DEFAULT
from edge_sharpzo.tuning.methods.state import Replayed

BLOCK = 32  # coordinates of a step
STEP_LENGTH = 4.0  # rms of a step's coordinates, in units of w
RMS_DECAY = 0.9


class CgeDescent(Replayed):
    """See `Optimizer` for the protocol."""

    kind = "cge"
    stage = "descent"
    finished = False

    def __init__(self, dim: int, mu: float, step_length: float, seed: int = 0):
        """`mu`: difference in a coordinate; `step_length`: rms of a step's coordinates."""
        super().__init__()
        self.step = 0
        self.solution = np.zeros(dim)
        self._mu, self._step_length = mu, step_length
        self._rng = np.random.default_rng([seed, 0xC6])
        self._order = np.zeros(0, np.int64)
        self._block = np.zeros(0, np.int64)
        self._normalized = RunningRms(RMS_DECAY)

    def ask(self) -> np.ndarray:
        """The pairs of the next block of coordinates."""
        if not len(self._order):
            self._order = self._rng.permutation(len(self.solution))
        self._block, self._order = self._order[:BLOCK], self._order[BLOCK:]
        return pair_points(self.solution, self._directions(), self._mu)

    def _directions(self) -> np.ndarray:
        directions = np.zeros((len(self._block), len(self.solution)))
        directions[np.arange(len(self._block)), self._block] = 1.0
        return directions

    def _update(self, losses: np.ndarray) -> None:
        self.step += 1
        self.solution = (
            self.solution
            - self._step_length * self._normalized(slopes(losses, self._mu)) @ self._directions()
        )


def plan(request: Request) -> Plan:
    """Differences as long as those of SharpZO's eps*."""
    mu, spend = DEFAULT.settings.mu_sharpness, request.spend()

    def make(dim: int, _: ConvexLoss, seed: int, difference: float = 0.0) -> CgeDescent:
        return CgeDescent(dim, max(mu, difference), STEP_LENGTH, seed)

    return Plan(make, {"mu": mu, "step_length": STEP_LENGTH}, spend, spend, DEFAULT.dim)
