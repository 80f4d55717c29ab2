"""Labels that the other photos contradict: each photo is judged by a head that has not seen it.

The head is `text_gda`, left one out in closed form, with calibrated probabilities. Of several such
heads it finds the most labels that were changed, and as many as when it judges again without the
photos that it has named (`benchmarks/suspects.py`).
"""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.classifier.calibration import likeliest_temperature
from edge_sharpzo.classifier.heads import class_means, leaning_gaussians
from edge_sharpzo.tuning.loss import softmax

WRONG = 0.05  # the share of labels that are taken to be wrong, so that they blunt no probability
# A label is suspect where another class is at least this many times as probable. Of photos whose
# labels are as their makers left them that names about one in a hundred (`benchmarks/suspects.py`).
ODDS = 50.0
LEAST = 3  # photos of a class whose labels are judged: one or two say nothing of each other
_TINY = 1e-12


@dataclass(frozen=True)
class Judgement:
    """What the other photos say of each photo."""

    labels: np.ndarray  # as they are [N], int64
    probabilities: np.ndarray  # of each class [N, K], float64

    @property
    def missing(self) -> np.ndarray:
        """The probability that a photo is not of its class, for each [N]: its expected error."""
        return np.asarray(1 - self._own())

    def looks_like(self) -> np.ndarray:
        """The likeliest class other than its own, for each photo [N]."""
        return np.asarray(self._others().argmax(axis=1))

    def odds(self) -> np.ndarray:
        """How many times as probable as its own that class is, for each photo [N]."""
        return np.asarray(self._others().max(axis=1) / np.maximum(self._own(), _TINY))

    def suspects(self) -> list[int]:
        """Photos whose label is suspect, the most suspicious first."""
        odds, photos = self.odds(), np.bincount(self.labels)[self.labels]
        found = np.flatnonzero((odds >= ODDS) & (photos >= LEAST))
        return [int(place) for place in found[np.argsort(-odds[found], kind="stable")]]

    def _own(self) -> np.ndarray:
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    def _others(self) -> np.ndarray:
        others = self.probabilities.copy()
        others[np.arange(len(self.labels)), self.labels] = 0
        photos = np.bincount(self.labels, minlength=others.shape[1])
        others[:, photos == 0] = 0  # what a text alone says contradicts no label
        return others


def judged(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> Judgement:
    """What the others say of each of N photos.

    Photo features [N, D] with labels [N], and the text features [K, D] of the template; of a class
    without photos that is all that is known.
    """
    logits = left_out_logits(features, labels, text)
    temperature = likeliest_temperature(logits, labels, WRONG) or 1.0
    return Judgement(labels, softmax(logits / temperature))


def left_out_logits(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Logits [N, K], float64, of `text_gda` for each photo as if fitted without it.

    Photo features [N, D], labels [N], text features [K, D]. Without a photo x of class k, which has
    n photos and the mean m, the scatter about the class means is less by n / (n - 1) d d^T, where
    d = x - m; so its inverse is known from that of the whole (Sherman and Morrison, 1950). The mean
    of class k is without it too. What all photos share stays: their centre, how far means lean on
    the text, and the strength of the ridge.
    """
    x, rows = features.astype(np.float64), np.arange(len(labels))
    means, precision, leaning = leaning_gaussians(x, labels, text)
    count = np.bincount(labels, minlength=len(text))[labels].astype(np.float64)
    own = class_means(x, labels, len(text))[labels]
    said = leaning.offset + leaning.lean * text[labels]
    others = count[:, None] * own - x + leaning.worth * said
    without = others / np.maximum(count - 1 + leaning.worth, _TINY)[:, None]

    # Squared distances to all means by the precision P of the whole.
    at_means = means @ precision
    far = ((x @ precision) * x).sum(axis=1)[:, None] - 2 * x @ at_means.T
    far += (at_means * means).sum(axis=1)
    from_own = x - without
    far[rows, labels] = ((from_own @ precision) * from_own).sum(axis=1)
    # P is D times an inverse: it is larger by c / (1 - c d^T P d / D) / D P d (P d)^T without x.
    away = x - own
    lost = np.where(count > 1, count / np.maximum(count - 1, 1), 0.0)
    moved = away @ precision
    dim = x.shape[1]
    left = 1 - lost * (moved * away).sum(axis=1) / dim
    more = lost / np.maximum(left, _TINY) / dim
    along = (moved * x).sum(axis=1)[:, None] - moved @ means.T
    along[rows, labels] = (moved * from_own).sum(axis=1)
    return np.asarray(-(far + more[:, None] * along**2) / 2)
