"""How far probabilities can be trusted: a temperature, and the threshold of "not sure".

The temperature (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) is the likeliest
one, given photos that the logits have not learnt from and what temperatures are like: calibrated
logits vary about each photo's mean by about `PRIOR_SPREAD`, whatever their scale was before. So a
few photos, all of them right, do not make a classifier certain.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_sharpzo.classifier.heads import logit_deviation
from edge_sharpzo.tuning.loss import softmax

# Calibrated logits' deviation about each photo's mean, as it was for five sets of photos with 1 and
# 2 shots (more photos make it larger, and override this); and the standard deviation of its
# logarithm, for less and for more certainty: a few wrong answers must be able to take it away, a
# few right ones hardly give it.
PRIOR_SPREAD, PRIOR_WIDTHS = 2.3, (0.7, 0.2)
FARTHEST = 8.0  # from the prior, in the logarithm of the temperature: more than data can move it
_GOLDEN = (5**0.5 - 1) / 2
COARSE_SPREADS = tuple(2.0 ** (e / 2) for e in range(-4, 9))
SURE = 0.9  # the share of sure answers that are right
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """What photos say about logits."""

    temperature: float = 1.0  # logits are divided by it
    # An answer with less probability than this is not sure; None: nothing to tell by.
    threshold: float | None = None


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """The likeliest temperature of logits [N, K] with labels [N], and the threshold after it.

    The threshold is the lowest above which `SURE` of the answers are right, one more wrong answer
    supposed; never below an even chance. Where not even the surest are, it is beyond all of them.
    """
    temperature = likeliest_temperature(logits, labels)
    if temperature is None:
        return Calibration()
    inverse = 1 / temperature
    probabilities = softmax(inverse * logits)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(2, len(order) + 2)
    enough = np.flatnonzero(share >= SURE)
    beyond = max(SURE, float(confidence.max()))
    threshold = float(confidence[order[enough[-1]]]) if len(enough) else beyond
    return Calibration(temperature, max(threshold, 0.5))


def likeliest_temperature(
    logits: np.ndarray, labels: np.ndarray, wrong: float = 0.0
) -> float | None:
    """The likeliest temperature of logits [N, K] with labels [N]; None where they are all alike.

    Where a share of labels, 0 to 1, is `wrong`, any other class being as likely in their place, it
    is that of the classes and not of the labels.
    """
    deviation = logit_deviation(logits) if len(labels) else 0.0
    if not deviation > 0:
        return None

    def unlikely(log_spread: float) -> float:
        """Minus the logarithm of the posterior."""
        losses = tempered_losses(logits, labels, np.exp(log_spread) / deviation)
        if wrong:
            right = np.exp(-losses)
            losses = -np.log((1 - wrong) * right + wrong * (1 - right) / (logits.shape[1] - 1))
        away = log_spread - np.log(PRIOR_SPREAD)
        return float(losses.sum() + (away / PRIOR_WIDTHS[int(away > 0)]) ** 2 / 2)

    middle = np.log(PRIOR_SPREAD)
    return float(deviation / np.exp(_least(unlikely, middle - FARTHEST, middle + FARTHEST)))


def usual(logits: np.ndarray) -> Calibration:
    """Of logits [N, K] of which no photo tells anything: what is usual, and `SURE` is sure."""
    return Calibration(logit_deviation(logits) / PRIOR_SPREAD or 1.0, SURE)


def between(first: Calibration, second: Calibration) -> Calibration:
    """Half by each: the temperature whose logarithm lies in the middle, the higher threshold.

    Both have a threshold.
    """
    thresholds = first.threshold or 0.0, second.threshold or 0.0
    temperature = float(np.sqrt(first.temperature * second.temperature))
    return Calibration(temperature, max(thresholds))


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum between `low` and `high` has it, within 0.001.

    By golden sections.
    """
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [function(place) for place in inner]
    while high - low > 1e-3:
        if values[0] < values[1]:
            high = inner[1]
            inner = [high - _GOLDEN * (high - low), inner[0]]
            values = [function(inner[0]), values[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + _GOLDEN * (high - low)]
            values = [values[1], function(inner[1])]
    return (low + high) / 2


def tempered_losses(logits: np.ndarray, labels: np.ndarray, inverse: float) -> np.ndarray:
    """Cross-entropy [N] of each row of logits [N, K] at the inverse temperature `inverse`."""
    scaled = inverse * (logits - logits.max(axis=1, keepdims=True))
    return np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]


def calibrated_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy [N] at the temperature that suits all rows of logits [N, K] best.

    Logits of any scale compare by it.
    """
    deviation = logit_deviation(logits) or 1.0
    tried = (tempered_losses(logits, labels, spread / deviation) for spread in COARSE_SPREADS)
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
