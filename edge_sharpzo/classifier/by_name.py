"""Classes without photos, which answer by their name beside those that were learnt from photos.

A name is taken as the template says it: a tuned prompt has learnt of other classes and knows less
of this one. Where its text puts the class among the photos is known from the other classes
(`heads.leaning_means`). How readily it answers is measured: each class in turn is taken for one
without photos.
"""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.classifier.fusion import PARTS, loudness, parts_of_like
from edge_sharpzo.classifier.heads import gaussian_rows, leaning_gaussians, text_gda
from edge_sharpzo.photos.labelled import Split, Splits, joined

TURNS = 16  # classes that are taken for one without photos at most; each costs a fit of the head
# Turns that ask for nothing, which are counted with the others: a few classes judge this badly, and
# what is learnt from photos must not pay for it.
SHY = 2


@dataclass(frozen=True)
class ByName:
    """What the `text-gda` head of a classifier knows of classes that it has seen no photo of."""

    precision: np.ndarray  # [D, D], float32; times the weight that the head has beside the prompt
    offset: np.ndarray  # [D], float32; a class's mean is `offset + lean * text`
    lean: float
    readiness: float  # added to the logits of such classes: neither side swallows the other then

    def means(self, text: np.ndarray) -> np.ndarray:
        """Where classes with text features [M, D] lie among photos, [M, D], float64."""
        return np.asarray(self.offset + self.lean * text.astype(np.float64))

    def rows(self, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight [M, D] and bias [M] of the head, float32, for text features [M, D]."""
        weight, bias = gaussian_rows(self.means(text), self.precision.astype(np.float64))
        return weight, bias + np.float32(self.readiness)

    def fits(self, dim: int) -> bool:
        """Whether it is finite numbers for features of `dim` numbers."""
        shaped = (self.precision.shape, self.offset.shape) == ((dim, dim), (dim,))
        numbers = (self.precision, self.offset, self.lean, self.readiness)
        return shaped and all(bool(np.isfinite(each).all()) for each in numbers)


def known_by_name(
    weight: float,
    scale: float,
    validated: np.ndarray,
    final: np.ndarray,
    as_written: np.ndarray,
    splits: Splits,
) -> ByName:
    """What joins a head of `weight` beside the prompt's logits; the others are as in `fuse`."""
    photos = joined(splits.train, splits.borrowed)
    means, precision, leaning = leaning_gaussians(*photos, as_written)
    rows, bias = gaussian_rows(means, precision)
    prompt = scale * photos.features @ final.T
    loud = weight * loudness(prompt, photos.features @ rows.T + bias)
    # Where the prompt leads, photos that it has learnt from would flatter it.
    leads = weight < 1 and len(splits.val.labels) > 0
    text, judges = (validated, splits.val) if leads else (final, joined(splits.train, splits.val))
    return ByName(
        precision=(loud * precision).astype(np.float32),
        offset=leaning.offset.astype(np.float32),
        lean=leaning.lean,
        readiness=_readiness(weight, scale, text, as_written, judges),
    )


def _readiness(
    weight: float, scale: float, text: np.ndarray, as_written: np.ndarray, photos: Split
) -> float:
    """What to add to the logits of a class without photos; 0 where there are too few to tell.

    Each of up to `TURNS` classes in turn is taken for such a class. Its photos are judged, and a
    part of the others', by a head that has learnt from neither. As large a share of its photos is
    to go to other classes as of theirs to it; what this asks for is averaged over the turns.
    """
    least = int(np.bincount(photos.labels, minlength=len(text)).min())
    if len(text) < 3 or least < 2:
        return 0.0
    parts = min(PARTS, least)
    part = parts_of_like(photos, parts)
    asked = []
    for turn, label in enumerate(np.unique(np.linspace(0, len(text) - 1, TURNS).astype(int))):
        of_name = photos.labels == label
        judged = of_name | (part == turn % parts)
        learnt = Split(photos.features[~judged], photos.labels[~judged])
        head = text_gda(*learnt, as_written)
        others = np.arange(len(text)) != label
        rows = np.where(others[:, None], text, as_written)
        loud = loudness(
            scale * learnt.features @ text[others].T, head.logits(learnt.features)[:, others]
        )
        features = photos.features[judged]
        logits = scale * features @ rows.T + weight * loud * head.logits(features)
        ahead = logits[:, others].max(axis=1) - logits[:, label]
        asked.append(_even(ahead[~of_name[judged]], ahead[of_name[judged]]))
    return sum(asked) / (len(asked) + SHY)


def _even(known: np.ndarray, named: np.ndarray) -> float:
    """Below which as large a share of `known` [N] lies as of `named` [M] above it."""
    tried = np.sort(np.concatenate([known, named]))
    tried = np.concatenate([tried, (tried[1:] + tried[:-1]) / 2])
    below = np.searchsorted(np.sort(known), tried) / len(known)
    above = 1 - np.searchsorted(np.sort(named), tried, side="right") / len(named)
    apart = np.abs(below - above)
    best = tried[apart <= apart.min() + 1e-9]
    return float((best.min() + best.max()) / 2)
