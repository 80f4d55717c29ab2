"""Derivative-free Gauss-Newton in random subspaces, with Levenberg-Marquardt damping.

The black box is the text tower alone; the loss on top of its features is known in closed form.
Finite differences of the features along m directions give m columns of their Jacobian, and the best
step in the span of the columns is a small convex problem. Sources: derivative-free Gauss-Newton
(Cartis and Roberts, Math. Prog. Comp. 2019), its random-subspace form (Cartis and Roberts, DFBGN,
Math. Prog. 2023), Broyden's update (Math. Comp. 1965).

Our own: a search from words starts at the best of some random points, because a text tower hardly
answers to small changes of words that it has read, so the words lie in a flat basin; a learned
start needs no such points. Directions are swept through one random orthonormal basis, made as it is
asked for, and the columns of the last rounds stay in use, corrected by every accepted step, so that
a step searches `window` directions for the price of `directions` queries.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.tuning.loss import ConvexLoss
from edge_sharpzo.tuning.methods.plan import Criterion, Plan, Request
from edge_sharpzo.tuning.methods.state import State, check_array
from edge_sharpzo.tuning.noise import SHORTEST_STEP
from edge_sharpzo.tuning.start import Start

# Jacobian entries kept at most, 64 MB, or one round's: many classes shorten the window.
COLUMN_NUMBERS = 2**24
# Context tokens: twice the usual four fit and generalise better, at about a tenth more per query.
CONTEXT_TOKENS = 8


class Kind(StrEnum):
    """What the asked points are for."""

    START = "start"
    JACOBIAN = "jacobian"
    CANDIDATES = "candidates"


@dataclass(frozen=True)
class GaussNewtonSettings:
    """Settings; lengths are in units of w.

    sqrt(dim) of these move every context element by one standard deviation of the embeddings.
    """

    start_radius: float = 8.0  # of the random starting points: rms of their coordinates
    starts: int = 32  # starting points compared, the initial one included
    directions: int = 16  # m, fresh Jacobian columns per round
    window: int = 128  # columns in use, the last rounds' included
    difference: float = SHORTEST_STEP  # h, the finite-difference step
    damping: float = 1e-3  # lambda of the first round
    # Dampings tried in a round, as factors; the first one becomes the next when no step helped.
    damping_factors: tuple[float, ...] = (3.0, 0.3)
    min_damping: float = 1e-7
    max_damping: float = 10.0


# For a search from a learned start: random points near it are worse, and with the usual damping the
# first rounds would be lost to tiny steps.
FROM_LEARNED = GaussNewtonSettings(starts=1, damping=1e-5)


class GaussNewton:
    """The method behind `ask` and `tell`; see `Optimizer` for the protocol.

    Its points are w, its outputs text features.

    Example:
        >>> optimizer = GaussNewton(objective.dim, objective.loss, seed=0)
        >>> text = objective.text_features(optimizer.ask(), optimizer.kind)
        >>> optimizer.tell(objective.loss.values(text), text)
    """

    wants_outputs = True
    stage = "gauss-newton"
    finished = False

    def __init__(
        self,
        dim: int,
        loss: ConvexLoss,
        settings: GaussNewtonSettings = GaussNewtonSettings(),
        seed: int = 0,
    ):
        """`dim` of w; `loss` on top of the black box's outputs."""
        self.settings = settings
        self.step = 0
        self.kind = Kind.START
        self._loss = loss
        rng = np.random.default_rng([seed, 0x6E])
        self._signs = rng.choice((-1.0, 1.0), dim)
        self._order = rng.permutation(dim)
        self._swept = 0
        others = settings.start_radius * rng.standard_normal((settings.starts - 1, dim))
        self._starts = np.concatenate([np.zeros((1, dim)), others])
        self._point = np.zeros(dim)
        self._output: np.ndarray | None = None  # the loss's coordinates at the point [...]
        self._value = np.inf  # the loss there
        self._damping = settings.damping
        self._fresh = np.zeros(0, np.int64)  # basis indices of the asked directions
        self._fresh_directions = np.zeros((0, dim), np.float32)
        self._indices = np.zeros(0, np.int64)  # basis indices of the columns in use, newest first
        self._directions = np.zeros((0, dim), np.float32)  # their basis vectors
        # d coordinates / d basis direction [<= window, their count].
        self._columns = np.zeros((0, 0), np.float32)
        self._steps = np.zeros((0, 0))  # a of the asked candidates [dampings, m]
        self._candidates = np.zeros((0, dim))

    @property
    def solution(self) -> np.ndarray:
        """The best point so far [dim]."""
        return self._point

    def ask(self) -> np.ndarray:
        """The starting points; a difference's points; or the round's candidates.

        A difference's points lie one step away from the current one, which comes first after a
        restart.
        """
        if self.kind == Kind.START:
            return self._starts
        if self.kind == Kind.CANDIDATES:
            return self._candidates
        self._fresh = self._next_directions()
        self._fresh_directions = basis_vectors(self._fresh, self._signs)
        points = self._point + self.settings.difference * self._fresh_directions
        return np.concatenate([self._point[None], points]) if self._output is None else points

    def tell(self, losses: np.ndarray, outputs: np.ndarray | None = None) -> None:
        """Losses [P] and outputs [P, ...] of the asked points."""
        assert outputs is not None
        outputs = self._loss.coordinates(outputs)
        if self._output is not None and outputs.shape[1:] != self._output.shape:
            raise UserError(
                f"the text features are of the size {outputs.shape[1:]}, those of the checkpoint "
                f"of {self._output.shape}: it is of another run, tune again"
            )
        if self.kind == Kind.START:
            best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
            self._point, self._output = self._starts[best].copy(), outputs[best].copy()
            self._value = float(losses[best])
            self._starts = self._starts[:0]
            self.kind = Kind.JACOBIAN
        elif self.kind == Kind.JACOBIAN:
            if self._output is None:
                self._output, outputs = outputs[0], outputs[1:]
                self._value = float(losses[0])
            self._refresh(outputs)
            self._swept += len(self._fresh)
            self._solve()
            self.kind = Kind.CANDIDATES
        else:
            self._choose(losses, outputs)
            self.kind = Kind.JACOBIAN
            self.step += 1

    def observe(self, validation_accuracy: float, left: float) -> None:
        """Not used: neither steps nor stages depend on it."""

    def restart(self, point: np.ndarray) -> None:
        """See `Restartable`. The columns stay in use: near by, they are still about right."""
        self._point, self._output, self._value = point.copy(), None, np.inf
        self.kind = Kind.JACOBIAN

    def _next_directions(self) -> np.ndarray:
        """The next m indices of the basis, without replacement until it is used up."""
        count = min(self.settings.directions, len(self._order))
        if self._swept + count > len(self._order):
            self._swept = 0
        return self._order[self._swept : self._swept + count]

    def _refresh(self, outputs: np.ndarray) -> None:
        """Puts the fresh columns in front.

        Drops stale ones of the same directions, and those beyond the window.
        """
        assert self._output is not None
        rises = (outputs - self._output) / self.settings.difference
        columns = rises.reshape(len(outputs), -1).astype(np.float32)
        good = np.isfinite(columns).all(axis=1)
        stale = ~np.isin(self._indices, self._fresh)
        affordable = min(self.settings.window, COLUMN_NUMBERS // columns.shape[1])
        window = max(self.settings.directions, affordable)
        self._indices = np.concatenate([self._fresh[good], self._indices[stale]])[:window]
        directions = [self._fresh_directions[good], self._directions[stale]]
        self._directions = np.concatenate(directions)[:window]
        kept = self._columns[stale] if len(stale) else columns[:0]
        self._columns = np.concatenate([columns[good], kept])[:window]

    def _solve(self) -> None:
        """The round's candidates: Levenberg-Marquardt steps along the columns' directions.

        -(H + lambda I)^-1 g, for each damping lambda.
        """
        assert self._output is not None
        columns = self._columns.reshape(-1, *self._output.shape)
        gradient, hessian = self._loss.expand(self._output, columns)
        identity = np.eye(len(gradient))
        dampings = self._damping * np.array(self.settings.damping_factors)
        self._steps = np.array(
            [-np.linalg.solve(hessian + damping * identity, gradient) for damping in dampings]
        )
        self._candidates = self._point + self._steps.astype(np.float32) @ self._directions

    def _choose(self, losses: np.ndarray, outputs: np.ndarray) -> None:
        """Moves to the best candidate if it is better, corrects the columns, sets the damping."""
        assert self._output is not None
        settings = self.settings
        best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
        if not losses[best] < self._value:
            raised = self._damping * settings.damping_factors[0]
            self._damping = min(raised, settings.max_damping)
            return
        a = self._steps[best].astype(np.float32)
        # Broyden's update: afterwards the columns predict this step exactly.
        surprise = (outputs[best] - self._output).ravel() - a @ self._columns
        self._columns += np.outer(a / (a @ a), surprise)
        self._point, self._output = self._candidates[best], outputs[best]
        self._value = float(losses[best])
        damping = self._damping * settings.damping_factors[best]
        self._damping = float(np.clip(damping, settings.min_damping, settings.max_damping))

    def state(self) -> State:
        """All that the next rounds depend on."""
        kind = _KINDS.index(self.kind)
        numbers = np.array([self._value, self._damping, self._swept, self.step, kind])
        arrays = {name: getattr(self, f"_{name}") for name in _ARRAYS}
        held = {name: array for name, array in arrays.items() if array is not None}
        return held | {"numbers": numbers}

    def restore(self, state: State) -> None:
        """Continues where `state` was taken, in an object made with the same arguments.

        Raises ValueError for arrays that no such object had.
        """
        _check_state(state, len(self._signs), len(self.settings.damping_factors))
        self._output = None
        for name in _ARRAYS:
            if name in state:
                setattr(self, f"_{name}", state[name].copy())
        self._directions = basis_vectors(self._indices, self._signs)
        self._value, self._damping = float(state["numbers"][0]), float(state["numbers"][1])
        self._swept, self.step = int(state["numbers"][2]), int(state["numbers"][3])
        self.kind = _KINDS[int(state["numbers"][4])]


def _check_state(state: State, dim: int, dampings: int) -> None:
    """Raises KeyError or ValueError for arrays that no run with points of `dim` numbers had."""
    for name, (array_kind, ndim) in _FORMS.items():
        check_array(name, state[name], array_kind, ndim)
    point, indices, columns, candidates = (
        state[name] for name in ("point", "indices", "columns", "candidates")
    )
    value, damping, swept, step, kind = state["numbers"]
    count, output = len(indices), state.get("output")
    width = columns.shape[1] if output is None else output.size
    if not (
        point.shape == (dim,)
        and np.isfinite(point).all()
        and np.isfinite(candidates).all()
        and len(np.unique(indices)) == count == len(columns)
        and np.isin(indices, np.arange(dim)).all()
        and (count == 0 or columns.shape[1] == width)
        and not np.isnan(value)
        and 0 < damping < np.inf
        and 0 <= swept <= dim
        and 0 <= step < 2**53
    ):
        raise ValueError("arrays that do not fit each other")
    shapes = (state["steps"].shape, candidates.shape)
    asked = _KINDS[int(kind)] == Kind.CANDIDATES
    if asked and (output is None or shapes != ((dampings, count), (dampings, dim))):
        raise ValueError("candidates that do not fit the columns")


# Kinds of numbers, as NumPy has them, and axes of what a state holds beside the output.
_FORMS = {
    "numbers": ("f", 1),
    "point": ("f", 1),
    "indices": ("i", 1),
    "columns": ("f", 2),
    "steps": ("f", 2),
    "candidates": ("f", 2),
}
_KINDS = tuple(Kind)
_ARRAYS = ("point", "output", "indices", "columns", "steps", "candidates")


def basis_vectors(indices: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Vectors [n, dim], float32, of a random orthonormal basis, by index.

    Rows of the discrete cosine transform (DCT-II) times random `signs` [dim]. The signs make every
    row a random direction, as in fast Johnson-Lindenstrauss transforms (Ailon and Chazelle, 2009);
    no matrix of dim^2 numbers is kept or factorised.
    """
    dim = len(signs)
    rows = np.cos(np.pi / dim * indices[:, None] * (np.arange(dim) + 0.5))
    rows *= np.sqrt(2 / dim) * signs
    rows[indices == 0] /= np.sqrt(2)
    return rows.astype(np.float32)


def plan(request: Request) -> Plan:
    """The whole prompt space, eight context tokens, the prompt of the lowest training loss.

    There are too few validation photos to choose the prompt by. A learned start is preferred.
    """
    learned, spend = request.start == Start.LEARNED, request.spend()
    settings = FROM_LEARNED if learned else GaussNewtonSettings()
    if spend:  # at most a hundredth of the budget for the starting points
        settings = replace(settings, starts=max(1, min(settings.starts, spend // 100)))

    def make(dim: int, loss: ConvexLoss, seed: int, difference: float = 0.0) -> GaussNewton:
        longer = replace(settings, difference=max(settings.difference, difference))
        return GaussNewton(dim, loss, longer, seed)

    return Plan(
        make,
        settings,
        budget=spend,
        planned=spend,
        dim=None,
        criterion=Criterion.TRAINING,
        context_tokens=CONTEXT_TOKENS,
        prefers=Start.LEARNED,
    )
