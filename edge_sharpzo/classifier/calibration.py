"""How far probabilities can be trusted: a temperature, and the threshold of "not sure".

The temperature is fitted on validation photos (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017).
"""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.tuning.loss import softmax

INVERSE_TEMPERATURES = 2.0 ** np.linspace(-5, 4, 73)  # that are tried
COARSE_INVERSE_TEMPERATURES = tuple(2.0 ** (e / 2) for e in range(-8, 9))
SURE = 0.9  # the share of sure answers that are right, on validation photos
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """What validation photos say about logits."""

    temperature: float = 1.0  # logits are divided by it
    # An answer with less probability than this is not sure; None: nothing to tell by.
    threshold: float | None = None


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """The temperature that suits logits [N, K] with labels [N] best, and the threshold after it.

    The temperature has the lowest cross-entropy.

    The threshold is the lowest above which `SURE` of the answers are right; 1 where not even the
    surest ones are.
    """
    if not len(labels):
        return Calibration()
    losses = {beta: tempered_losses(logits, labels, beta).mean() for beta in INVERSE_TEMPERATURES}
    inverse = float(min(losses, key=losses.__getitem__))
    probabilities = softmax(inverse * logits)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share >= SURE)
    threshold = float(confidence[order[enough[-1]]]) if len(enough) else 1.0
    return Calibration(1 / inverse, threshold)


def tempered_losses(logits: np.ndarray, labels: np.ndarray, inverse: float) -> np.ndarray:
    """Cross-entropy [N] of each row of logits [N, K] at the inverse temperature `inverse`."""
    right = softmax(inverse * logits)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(right, 1e-9))


def calibrated_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy [N] at the temperature that suits all rows of logits [N, K] best.

    Logits of any scale compare by it.
    """
    tried = (tempered_losses(logits, labels, beta) for beta in COARSE_INVERSE_TEMPERATURES)
    return min(tried, key=np.mean)


@dataclass(frozen=True)
class Bin:
    """Photos whose probability lies in one of `BINS` parts of equal width."""

    low: float
    high: float
    photos: int
    said: float  # their mean probability
    right: float  # the share of them that is right


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[Bin]:
    """The bins that have photos, by the largest of the probabilities [N, K]."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    inside = ((b, bins == b) for b in range(BINS) if (bins == b).any())
    return [
        Bin(
            low=b / BINS,
            high=(b + 1) / BINS,
            photos=int(here.sum()),
            said=float(confidence[here].mean()),
            right=float(right[here].mean()),
        )
        for b, here in inside
    ]


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Expected calibration error of probabilities [N, K]; None without photos.

    In the bins of `reliability`.
    """
    if not len(labels):
        return None
    bins = reliability(probabilities, labels)
    return sum(b.photos * abs(b.said - b.right) for b in bins) / len(labels)
