"""Labels that the other photos contradict: each photo is judged by a head that has not seen it.

The head is `text_gda`, left one out in closed form, with calibrated probabilities. Of several such
heads it finds the most labels that were changed, and as many as when it judges again without the
photos that it has named (`benchmarks/suspects.py`).
"""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.classifier.calibration import likeliest_temperature
from edge_sharpzo.classifier.leave_one_out import left_out_logits
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
