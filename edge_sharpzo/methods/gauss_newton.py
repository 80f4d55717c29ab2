"""Derivative-free Gauss-Newton in random subspaces, with Levenberg-Marquardt damping.

The black box is the text tower alone; the loss on top of its features is known in closed form. Finite differences
of the features along m directions give m columns of their Jacobian, and the best step in the span of the columns
is a small convex problem. Sources: derivative-free Gauss-Newton (Cartis and Roberts, Math. Prog. Comp. 2019), its
random-subspace form (Cartis and Roberts, DFBGN, Math. Prog. 2023), Broyden's update (Math. Comp. 1965).

Our own: the search starts at the best of some random points, because a text tower hardly answers to small changes of
words that it has read, so the initial words lie in a flat basin. Directions are swept through one random orthonormal
basis, made as it is asked for, and the columns of the last rounds stay in use, corrected by every accepted step, so
that a step searches `window` directions for the price of `directions` queries.
"""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.loss import ConvexLoss
from edge_sharpzo.methods.state import State

COLUMN_NUMBERS = 2**24  # Jacobian entries kept at most, 64 MB; many classes shorten the window


@dataclass(frozen=True)
class GaussNewtonSettings:
    """Lengths in units of w, of which sqrt(dim) move every context element by one embedding standard deviation."""

    start_radius: float = 8.0  # of the random starting points: rms of their coordinates
    starts: int = 32  # starting points compared, the initial one included
    directions: int = 16  # m, fresh Jacobian columns a round
    window: int = 128  # columns in use, the last rounds' included
    difference: float = 0.2  # h, the finite-difference step
    damping: float = 1e-3  # lambda of the first round
    spread: tuple[float, ...] = (3.0, 0.3)  # dampings tried in a round, as factors; the first one when no step helped
    min_damping: float = 1e-7
    max_damping: float = 10.0


class GaussNewton:
    """The method behind `ask` and `tell`; see `Optimizer` for the protocol. Its points are w, its outputs text features."""

    wants_outputs = True
    stage = "gauss-newton"
    finished = False

    def __init__(self, dim: int, loss: ConvexLoss, settings: GaussNewtonSettings = GaussNewtonSettings(), seed: int = 0):
        self.settings = settings
        self.step = 0
        self.kind = "start"
        self._loss = loss
        rng = np.random.default_rng([seed, 0x6E])
        self._signs = rng.choice((-1.0, 1.0), dim)
        self._order = rng.permutation(dim)
        self._swept = 0
        self._starts = np.concatenate([np.zeros((1, dim)), settings.start_radius * rng.standard_normal((settings.starts - 1, dim))])
        self._point = np.zeros(dim)
        self._output: np.ndarray | None = None  # the loss's coordinates at the point [...]
        self._value = np.inf  # the loss there
        self._damping = settings.damping
        self._fresh = np.zeros(0, np.int64)  # basis indices of the asked directions
        self._fresh_directions = np.zeros((0, dim), np.float32)
        self._indices = np.zeros(0, np.int64)  # basis indices of the columns in use, newest first
        self._directions = np.zeros((0, dim), np.float32)  # their basis vectors
        self._columns = np.zeros((0, 0), np.float32)  # d coordinates / d basis direction [<= window, their count]
        self._steps = np.zeros((0, 0))  # a of the asked candidates [dampings, m]
        self._candidates = np.zeros((0, dim))

    @property
    def mean(self) -> np.ndarray:
        """The best point so far [dim]."""
        return self._point

    def ask(self) -> np.ndarray:
        """The starting points; points one difference away from the current one (after a restart, that one too); or the round's candidates."""
        if self.kind == "start":
            return self._starts
        if self.kind == "candidates":
            return self._candidates
        self._fresh = self._next_directions()
        self._fresh_directions = basis_vectors(self._fresh, self._signs)
        points = self._point + self.settings.difference * self._fresh_directions
        return np.concatenate([self._point[None], points]) if self._output is None else points

    def tell(self, losses: np.ndarray, outputs: np.ndarray | None = None) -> None:
        """Losses [P] and outputs [P, ...] of the asked points."""
        assert outputs is not None
        outputs = self._loss.coordinates(outputs)
        if self.kind == "start":
            best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
            self._point, self._output, self._value = self._starts[best].copy(), outputs[best].copy(), float(losses[best])
            self._starts = self._starts[:0]
            self.kind = "jacobian"
        elif self.kind == "jacobian":
            if self._output is None:
                self._output, outputs = outputs[0], outputs[1:]
                self._value = float(losses[0])
            self._refresh(outputs)
            self._swept += len(self._fresh)
            self._solve()
            self.kind = "candidates"
        else:
            self._choose(losses, outputs)
            self.kind = "jacobian"
            self.step += 1

    def observe(self, validation_accuracy: float, left: float) -> None:
        """Not used: neither steps nor stages depend on it."""

    def restart(self, point: np.ndarray) -> None:
        """See `Restartable`. The columns stay in use: near by, they are still about right."""
        self._point, self._output, self._value = point.copy(), None, np.inf
        self.kind = "jacobian"

    def _next_directions(self) -> np.ndarray:
        """The next m indices of the basis, without replacement until it is used up."""
        count = min(self.settings.directions, len(self._order))
        if self._swept + count > len(self._order):
            self._swept = 0
        return self._order[self._swept : self._swept + count]

    def _refresh(self, outputs: np.ndarray) -> None:
        """Puts the fresh columns in front and drops stale ones of the same directions, and those beyond the window."""
        assert self._output is not None
        columns = ((outputs - self._output) / self.settings.difference).reshape(len(outputs), -1).astype(np.float32)
        good = np.isfinite(columns).all(axis=1)
        stale = ~np.isin(self._indices, self._fresh)
        window = max(self.settings.directions, min(self.settings.window, COLUMN_NUMBERS // columns.shape[1]))
        self._indices = np.concatenate([self._fresh[good], self._indices[stale]])[:window]
        self._directions = np.concatenate([self._fresh_directions[good], self._directions[stale]])[:window]
        kept = self._columns[stale] if len(stale) else columns[:0]
        self._columns = np.concatenate([columns[good], kept])[:window]

    def _solve(self) -> None:
        """The round's candidates: Levenberg-Marquardt steps -(H + lambda I)^-1 g along the columns' directions."""
        assert self._output is not None
        gradient, hessian = self._loss.expand(self._output, self._columns.reshape(-1, *self._output.shape))
        identity = np.eye(len(gradient))
        dampings = self._damping * np.array(self.settings.spread)
        self._steps = np.array([-np.linalg.solve(hessian + damping * identity, gradient) for damping in dampings])
        self._candidates = self._point + self._steps.astype(np.float32) @ self._directions

    def _choose(self, losses: np.ndarray, outputs: np.ndarray) -> None:
        """Moves to the best candidate if it is better, corrects the columns by what the step showed, sets the damping."""
        assert self._output is not None
        settings = self.settings
        best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
        if not losses[best] < self._value:
            self._damping = min(self._damping * settings.spread[0], settings.max_damping)
            return
        a = self._steps[best].astype(np.float32)
        # Broyden's update: afterwards the columns predict this step exactly.
        surprise = (outputs[best] - self._output).ravel() - a @ self._columns
        self._columns += np.outer(a / (a @ a), surprise)
        self._point, self._output, self._value = self._candidates[best], outputs[best], float(losses[best])
        self._damping = float(np.clip(self._damping * settings.spread[best], settings.min_damping, settings.max_damping))

    def state(self) -> State:
        """All that the next rounds depend on."""
        numbers = np.array([self._value, self._damping, self._swept, self.step, _KINDS.index(self.kind)])
        arrays = {name: getattr(self, f"_{name}") for name in _ARRAYS if getattr(self, f"_{name}") is not None}
        return arrays | {"numbers": numbers}

    def restore(self, state: State) -> None:
        """Continues where `state` was taken, in an object made with the same arguments."""
        for name in _ARRAYS:
            if name in state:
                setattr(self, f"_{name}", state[name].copy())
        self._directions = basis_vectors(self._indices, self._signs)
        self._value, self._damping = float(state["numbers"][0]), float(state["numbers"][1])
        self._swept, self.step = int(state["numbers"][2]), int(state["numbers"][3])
        self.kind = _KINDS[int(state["numbers"][4])]


_KINDS = ("start", "jacobian", "candidates")
_ARRAYS = ("point", "output", "indices", "columns", "steps", "candidates")


def basis_vectors(indices: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Vectors [n, dim], float32, of a random orthonormal basis, by index: rows of the discrete cosine transform (DCT-II) times random `signs` [dim].

    The signs make every row a random direction, as in fast Johnson-Lindenstrauss transforms (Ailon and Chazelle, 2009); no
    matrix of dim^2 numbers is kept or factorised.
    """
    dim = len(signs)
    rows = np.cos(np.pi / dim * indices[:, None] * (np.arange(dim) + 0.5))
    rows *= np.sqrt(2 / dim) * signs
    rows[indices == 0] /= np.sqrt(2)
    return rows.astype(np.float32)
