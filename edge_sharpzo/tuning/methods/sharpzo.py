"""SharpZO: sharpness-aware CMA-ES, then Z-pruned zeroth-order SGD.

Yang et al., "SharpZO: Hybrid Sharpness-Aware Vision Language Model Prompt Tuning via Forward-Only
Passes", NeurIPS 2025, arXiv 2506.20990. Where the authors' released code differs from their paper,
this follows the paper:

- eps* has length rho (there rho / sqrt(S));
- its gradient is taken at the distribution's mean, from which stage 2 starts too (there the mean of
  the last sample);
- stage-2 gradients do not add up over steps;
- the mask keeps the coordinates with the highest scores (there the lowest), scored by z(g^2)
  (there z(|g|)).

Departures of our own, not active in the paper's presets: one eps* may serve several generations, as
in LookSAM (Liu et al., CVPR 2022), the first ones going without; stage 2 may divide its estimates
by their running rms, one number for all coordinates, as in AdaGrad-Norm (Ward et al., ICML 2019).
The tuning loop, for every preset, hands back the best validated prompt, the initial words included,
and not the last one.
"""

import math
import warnings
from dataclasses import replace
from enum import StrEnum

import numpy as np

from edge_sharpzo.tuning.loss import ConvexLoss
from edge_sharpzo.tuning.methods.estimators import (
    RunningRms,
    cge_points,
    pair_points,
    rge_gradient,
    slopes,
)
from edge_sharpzo.tuning.methods.plan import Plan, Preset, Request
from edge_sharpzo.tuning.methods.presets import (
    DEFAULT,
    SharpZOSettings,
    paper_preset,
    planned_queries,
)
from edge_sharpzo.tuning.methods.state import Replayed

WARM_UP, SEARCH = "warm-up", "search"  # stages
RMS_DECAY = 0.99
WARM_UP_SHARE = 0.7  # of a run whose change point is open


class Kind(StrEnum):
    """What the asked points are for."""

    SHARPNESS = "sharpness"  # the CGE behind eps*
    POPULATION = "population"
    MASK = "mask"  # the CGE behind the pruning mask
    RGE = "rge"


def sharpness_direction(gradient: np.ndarray, rho: float) -> np.ndarray:
    """eps* = rho * g / ||g||_2 (SharpZO, section 4.1); zero for a zero gradient."""
    norm = np.linalg.norm(gradient)
    return rho * gradient / norm if norm > 0 else np.zeros_like(gradient)


def pruning_mask(point: np.ndarray, gradient: np.ndarray, ratio: float) -> np.ndarray:
    """Omega [d]: 0 for the share `ratio` of coordinates with the lowest scores, 1 for the rest.

    The score is S_j = w_j^2 * z(g_j^2).

    SharpZO, section 4.2; z is the z-score over the d coordinates.
    """
    squares = gradient**2
    deviation = squares.std()
    centred = squares - squares.mean()
    z_scores = centred / deviation if deviation > 0 else np.zeros_like(squares)
    return keep_best(point**2 * z_scores, ratio)


def keep_best(scores: np.ndarray, ratio: float) -> np.ndarray:
    """0 for the share `ratio` of coordinates with the lowest scores [d], 1 for the others.

    Ties keep the lower index.
    """
    mask = np.zeros(len(scores))
    kept = len(scores) - round(ratio * len(scores))
    mask[np.argsort(-scores, kind="stable")[:kept]] = 1.0
    return mask


def worst_for_not_finite(losses: np.ndarray) -> np.ndarray:
    """`losses` with NaN and infinities replaced by something worse than every finite one."""
    finite = np.isfinite(losses)
    if finite.all():
        return losses
    return np.where(finite, losses, losses[finite].max() + 1.0 if finite.any() else 0.0)


class SharpZO(Replayed):
    """The whole algorithm behind `ask` and `tell`; see `Optimizer` for the protocol.

    Example:
        >>> optimizer = SharpZO(objective.dim, seed=0)
        >>> optimizer.tell(objective.losses(optimizer.ask(), optimizer.kind))
    """

    def __init__(self, dim: int, settings: SharpZOSettings = DEFAULT.settings, seed: int = 0):
        """`dim` of w."""
        super().__init__()
        # pycma says that it cannot plot; a filter for it alone is no matter of other threads.
        warnings.filterwarnings("ignore", module=r"cma\b")
        import cma  # here, so that methods without it do not carry it in memory

        self.settings = settings
        self.step = 0
        self._rng = np.random.default_rng([seed, 0x57])
        start = settings.start_std * self._rng.standard_normal(dim)
        self._cma: cma.CMAEvolutionStrategy | None = cma.CMAEvolutionStrategy(
            start,
            settings.sigma,
            {
                "popsize": settings.population,
                # pycma would seed NumPy's global generator, and take 0 for the time.
                "seed": np.nan,
                "randn": lambda *shape: self._rng.standard_normal(shape),
                "verbose": -9,
            },
        )
        # A check of pycma's that changes nothing would draw from NumPy's global generator.
        self._cma.adapt_sigma.check_consistency = lambda _: None
        self._point = start
        self._eps = np.zeros(dim)
        self._sample: list[np.ndarray] = []
        self._mask = np.ones(dim)
        self._directions = np.zeros((0, dim))
        self._warm_up_steps = 0
        self._heard = 0  # queries
        self._normalized = RunningRms(RMS_DECAY)
        self._best_accuracy = -math.inf
        self._stalled = 0
        if settings.change_point == 0:
            self.change_stage()
        self.kind = self._next_kind()

    @property
    def stage(self) -> str:
        """`warm-up` (stage 1) or `search` (stage 2)."""
        return WARM_UP if self._cma is not None else SEARCH

    @property
    def solution(self) -> np.ndarray:
        """theta_t in stage 1 (the distribution's mean), w_t in stage 2 [d]."""
        return self._point

    @property
    def finished(self) -> bool:
        """True after T steps."""
        return self.step >= self.settings.steps

    def ask(self) -> np.ndarray:
        """The next points [P, d]: a CGE around the mean, a population, or the pairs of an RGE."""
        settings = self.settings
        if self.kind == Kind.SHARPNESS:
            return cge_points(self._point, settings.mu_sharpness)
        if self.kind == Kind.POPULATION:
            assert self._cma is not None
            self._sample = self._cma.ask()
            return np.array(self._sample) + self._eps  # fitness at x_i + eps*, the update at x_i
        if self.kind == Kind.MASK:
            return cge_points(self._point, settings.mu_mask)
        # Omega * u in both places: the perturbation and the estimate.
        self._directions = self._mask * self._rng.standard_normal(
            (settings.directions, len(self._point))
        )
        return pair_points(self._point, self._directions, settings.mu_rge)

    def _update(self, losses: np.ndarray) -> None:
        settings = self.settings
        self._heard += len(losses)
        if self.kind == Kind.SHARPNESS:
            self._eps = sharpness_direction(slopes(losses, settings.mu_sharpness), settings.rho)
            self.kind = Kind.POPULATION
            return
        if self.kind == Kind.MASK:
            self._mask = pruning_mask(
                self._point, slopes(losses, settings.mu_mask), settings.pruning_ratio
            )
            self.kind = Kind.RGE
            return
        if self.kind == Kind.POPULATION:
            assert self._cma is not None
            self._cma.tell(self._sample, worst_for_not_finite(losses).tolist())
            self._point = np.array(self._cma.mean)
        else:
            gradient = rge_gradient(losses, self._directions, settings.mu_rge)
            if settings.normalized_steps:
                gradient = self._normalized(gradient)
            self._point = self._point - settings.learning_rate * gradient
        self.step += 1
        if (
            self._cma is not None
            and settings.change_point is not None
            and self.step >= settings.change_point
        ):
            self.change_stage()
        self.kind = self._next_kind()

    def _heed(self, validation_accuracy: float, left: float) -> None:
        """Ends stage 1 when it is due, where the change point is open.

        After `WARM_UP_SHARE` of the run, but not where the first pruning mask would eat half of
        stage 2's share. A run without an end changes when validation stands still: `patience`
        generations in a row without a gain of more than `min_gain`.
        """
        settings = self.settings
        if self._cma is None or settings.change_point is not None:
            return
        if math.isfinite(left):
            whole = self._heard + left
            pays = settings.pruning_ratio == 0 or (1 - WARM_UP_SHARE) * whole >= 4 * len(
                self._point
            )
            due = pays and self._heard >= WARM_UP_SHARE * whole
        else:
            gained = validation_accuracy > self._best_accuracy + settings.min_gain
            self._stalled = 0 if gained else self._stalled + 1
            if gained:
                self._best_accuracy = validation_accuracy
            due = self._stalled >= settings.patience
        if due:
            self.change_stage()
            self.kind = self._next_kind()

    def change_stage(self) -> None:
        """Ends stage 1; stage 2 starts from the distribution's mean."""
        self._cma = None
        self._warm_up_steps = self.step

    def _next_kind(self) -> Kind:
        settings = self.settings
        if self._cma is not None:
            due = settings.rho > 0 and (self.step + 1) % settings.sharpness_every == 0
            return Kind.SHARPNESS if due else Kind.POPULATION
        due = (
            settings.pruning_ratio > 0
            and (self.step - self._warm_up_steps) % settings.mask_every == 0
        )
        return Kind.MASK if due else Kind.RGE


def plan(request: Request) -> Plan:
    """This project's settings, or one column of the paper's Table 8."""
    if request.preset is Preset.PAPER:
        paper = paper_preset(request.paper_task)

        def as_published(dim: int, _: ConvexLoss, seed: int, __: float = 0.0) -> SharpZO:
            return SharpZO(dim, paper.settings, seed)

        published = plan_of(paper.settings, request.budget)
        return replace(published, make=as_published, projection_std=paper.projection_std)
    return plan_of(DEFAULT.settings, request.spend(DEFAULT.budget))


def plan_of(settings: SharpZOSettings, budget: int | None) -> Plan:
    """SharpZO under `settings`, with finite differences as long as the model's noise asks for."""

    def make(dim: int, _: ConvexLoss, seed: int, difference: float = 0.0) -> SharpZO:
        names = ("mu_rge", "mu_sharpness", "mu_mask")
        steps = {name: max(getattr(settings, name), difference) for name in names}
        return SharpZO(dim, replace(settings, **steps), seed)

    planned = budget or planned_queries(settings, DEFAULT.dim)
    return Plan(make, settings, budget, planned, DEFAULT.dim)
