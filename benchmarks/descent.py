"""Descent by true gradients of the prompt, in NumPy, for whatever computes them.

Points are w, as in the product: the context's distance from the initial words in standard
deviations of the token embeddings.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.tuning.loss import FewShotLoss, by_logits, softmax
from edge_sharpzo.tuning.methods.gauss_newton import GaussNewtonSettings
from edge_sharpzo.tuning.space import PromptSpace

RATES = (1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2)  # Adam's, in units of the token embeddings themselves
COLUMNS, PAIRS = 8, 32  # that Gauss-Newton and L-BFGS keep: the best of 4 to 128, of 5 to 32
FIRST_STEP = 0.2  # of L-BFGS: rms of w
SHORTER, TRIES, ARMIJO = 0.4, 8, 1e-4  # its line search


class TextGradient(Protocol):
    """The text tower with its derivative."""

    def text(self, context: np.ndarray) -> np.ndarray:
        """Text features [K, D] of `context` [n, W]."""
        ...

    def pull(self, upstream: np.ndarray) -> np.ndarray:
        """From the loss's gradient by the text features [K, D] to that by the context [n, W], at
        the context of the last `text`.
        """
        ...


class Seen(NamedTuple):
    """A point that a descent has come to."""

    loss: float  # on the training photos
    text: np.ndarray  # [K, D]


class Loss:
    """The training loss and its gradient as functions of w [dim]."""

    def __init__(
        self, tower: TextGradient, start: np.ndarray, unit: float, train: Split, scale: float
    ):
        """`start` [n, W] are the initial words' embeddings, `unit` is the standard deviation of the
        model's.
        """
        self.few_shot = FewShotLoss(*train, scale)
        self.dim, self.unit = start.size, unit
        self.tower, self.start, self._space = tower, start, PromptSpace(start, unit, None)
        self._at: np.ndarray | None = None
        self._text = np.zeros(0)

    def at(self, w: np.ndarray) -> Seen:
        """One forward pass."""
        self._text, self._at = self.tower.text(self._space.contexts(w[None])[0]), w.copy()
        return Seen(float(self.few_shot.values(self._text[None])[0]), self._text)

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """One backward pass, and a forward pass first where the last one was elsewhere."""
        if self._at is None or not np.array_equal(w, self._at):
            self.at(w)
        features, scale = self.few_shot.features, np.float32(self.few_shot.scale)
        p = softmax(scale * (features @ self._text.T))
        upstream = scale * by_logits(p, self.few_shot.labels).T @ features
        return self.unit * self.tower.pull(upstream).ravel().astype(np.float64)

    def coordinates(self, seen: Seen) -> np.ndarray:
        """What the loss sees of the text features; see `ConvexLoss`."""
        return self.few_shot.coordinates(seen.text[None])[0]


def adam(loss: Loss, rate: float) -> Iterator[Seen]:
    """Full batches from the initial words, as CoOp's benchmark here; `rate` is one of `RATES`."""
    w, first, second = np.zeros(loss.dim), np.zeros(loss.dim), np.zeros(loss.dim)
    step = rate / loss.unit
    for count in range(1, 10**9):
        yield loss.at(w)
        slope = loss.gradient(w)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        mean, square = first / (1 - 0.9**count), second / (1 - 0.999**count)
        w = w - step * mean / (np.sqrt(square) + 1e-8)


def lbfgs(loss: Loss) -> Iterator[Seen]:
    """L-BFGS with backtracking (Nocedal and Wright, algorithm 7.4), from the initial words; it has
    no rate. Ends where no shorter step lowers the loss.
    """
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=PAIRS)
    w = np.zeros(loss.dim)
    seen, slope = loss.at(w), loss.gradient(w)
    yield seen
    while True:
        direction = -inverse_hessian(pairs, slope)
        if not pairs:
            direction *= FIRST_STEP * np.sqrt(loss.dim) / np.linalg.norm(direction)
        for length in SHORTER ** np.arange(TRIES):
            there = loss.at(w + length * direction)
            if there.loss < seen.loss + ARMIJO * length * (slope @ direction):
                break
        else:
            if not pairs:
                return
            pairs.clear()
            continue
        new = loss.gradient(w + length * direction)
        if (new - slope) @ direction > 0:
            pairs.append((length * direction, new - slope))
        w, seen, slope = w + length * direction, there, new
        yield seen


def inverse_hessian(pairs: deque[tuple[np.ndarray, np.ndarray]], slope: np.ndarray) -> np.ndarray:
    """L-BFGS's two loops over pairs of steps and changes of the slope."""
    product, shares = slope.copy(), []
    for step, change in reversed(pairs):
        shares.append(step @ product / (step @ change))
        product -= shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        product *= step @ change / (change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        product += step * (share - change @ product / (step @ change))
    return product


def gauss_newton(loss: Loss) -> Iterator[Seen]:
    """The product's Gauss-Newton with a better direction: one column of the Jacobian a round, along
    the gradient, in place of 16 along random ones. From the initial words.

    A Jacobian has a row for each of K x D outputs, so rows by vector-Jacobian products are dearer
    than columns: the gradient is one backward pass, its column one more forward pass. Damping,
    candidates and Broyden's update are the product's. Ends where the strongest damping does not
    help.
    """
    settings = GaussNewtonSettings()
    factors, damping, w = np.array(settings.damping_factors), settings.damping, np.zeros(loss.dim)
    seen = loss.at(w)
    yield seen
    directions = np.zeros((0, loss.dim))
    columns = np.zeros((0, *loss.coordinates(seen).shape), np.float32)
    while True:
        here = loss.coordinates(seen)
        fresh = _beside(directions, loss.gradient(w))
        rise = loss.coordinates(loss.at(w + settings.difference * fresh)) - here
        directions = np.concatenate([fresh[None], directions])[:COLUMNS]
        columns = np.concatenate([rise[None] / np.float32(settings.difference), columns])[:COLUMNS]
        slope, hessian = loss.few_shot.expand(here, columns)
        while True:
            damped = (hessian + damping * f * np.eye(len(slope)) for f in factors)
            steps = [-np.linalg.solve(matrix, slope) for matrix in damped]
            tried = [loss.at(w + step @ directions) for step in steps]
            best = int(np.argmin([candidate.loss for candidate in tried]))
            if tried[best].loss < seen.loss:
                break
            if damping == settings.max_damping:
                return
            damping = min(damping * factors[0], settings.max_damping)
        a, seen = steps[best].astype(np.float32), tried[best]
        surprise = loss.coordinates(seen) - here - np.tensordot(a, columns, 1)
        columns += np.multiply.outer(a / (a @ a), surprise)
        w = w + steps[best] @ directions
        damping = float(
            np.clip(damping * factors[best], settings.min_damping, settings.max_damping)
        )
        yield seen


def _beside(directions: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The part of `slope` that is perpendicular to all `directions` [m, dim], of length 1."""
    for _ in range(2):  # once leaves rounding
        slope = slope - (directions @ slope) @ directions
    return slope / np.linalg.norm(slope)
