"""Whether a photo is of any class at all: what a classifier knows of photos that it was not shown.

The score adds up what a photo's features x say, each in standard deviations of known photos:

- how likely x is among the classes: the density of the Gaussians that `text-gda` is made of, one
  for each class with one shared covariance. It is the energy of their logits (Liu et al., NeurIPS
  2020) with Mahalanobis' distance (Lee et al., NeurIPS 2018) kept in it;
- how much nearer x is to the classes' text than to that of words that have nothing to do with them
  (NegLabel: Jiang et al., ICLR 2024);
- where there are background photos, how unlikely it is among them, a Gaussian about each, and on
  which side of a plane between them and the known photos.

The threshold keeps as many known photos as asked, by photos that the score has not learnt from:
each training photo is left out, and validation photos join them.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from edge_sharpzo.classifier.heads import class_means, leaning_gaussians, ridge
from edge_sharpzo.classifier.leave_one_out import left_out_logits
from edge_sharpzo.photos.labelled import Split, Splits, joined
from edge_sharpzo.system.storage import as_type, parse_json

# The weight of text beside the density. Of photos it knows less, but other things.
TEXT_SAYS = 0.3
SHARPER = 2.0  # times the logit scale, so that the few nearest words count
LEAST_SHARE = 0.1  # of the distance beside a background, which cannot show everything
# What lies far may be this much farther, in standard deviations, where a background judges as well:
# known photos that are refused are refused by either.
LEEWAY = 0.6
LARGEST = 1e12  # of any number in it; more than features of unit length give
ALIKE = 1e-6  # squared distance of photos in a class, on the average, below which they are all one
ROUNDING = 1e-6  # of numbers that are made of features in float32
LEAST_PHOTOS = 8  # from which a threshold can be told
TURNS = 5  # parts of the photos that the plane is fitted without, in turn


class Sum(NamedTuple):
    """What is added up, in standard deviations of known photos from their mean."""

    density: float  # the weight of the density among the classes
    text: float
    background: float
    plane: float
    mean: float  # that is taken off


@dataclass(frozen=True)
class Known:
    """The score of being known: 0 and above is a photo of the classes."""

    precision: np.ndarray  # [D, D], float32, of all the Gaussians
    means: np.ndarray  # [K, D], float32, those of the classes
    text: np.ndarray  # [K, D], float32, text features of the template as written
    words: np.ndarray  # [M, D], float32, text features of other words; there may be none
    background: np.ndarray  # [B, D], float32, features of background photos; there may be none
    normal: np.ndarray  # [D], float32, of the plane; towards the known photos
    sharpness: float  # times the products of features and text
    # One or two sums, of which the lower counts; without and with a background.
    sums: list["Sum"]
    threshold: float  # of the lower one
    keep: float  # the share of known photos that the threshold is to keep

    def score(self, features: np.ndarray) -> np.ndarray:
        """How well known photos with features [N, D] are, [N], float32, less the threshold."""
        said = _evidence(self, features.astype(np.float64))
        return (_lower(said, self.sums) - self.threshold).astype(np.float32)

    def with_classes(self, means: np.ndarray, text: np.ndarray) -> "Known":
        """The same with classes without photos, whose means and text features are [M, D]."""
        return replace(
            self,
            means=np.concatenate([self.means, means.astype(np.float32)]),
            text=np.concatenate([self.text, text]),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Its arrays by name."""
        return {name: part for name, part in vars(self).items() if isinstance(part, np.ndarray)}

    def numbers(self) -> str:
        """The others, as JSON."""
        arrays = self.tensors()
        return json.dumps({name: part for name, part in vars(self).items() if name not in arrays})

    @classmethod
    def restored(cls, numbers: str, tensors: dict[str, np.ndarray]) -> "Known":
        """What `numbers` and `tensors` were made of; `tensors` may have others besides.

        Raises ValueError, KeyError or TypeError for what is none; `fits` looks at the numbers.
        """
        told = as_type(parse_json(numbers), _Numbers)
        every: dict[str, Any] = tensors | vars(told)
        return cls(**{each.name: every[each.name] for each in fields(cls)})

    def _is_sound(self) -> bool:
        """Whether it makes numbers of features, by a precision that one could be."""
        with np.errstate(all="ignore"):
            scores = self.score(np.concatenate([self.means[:4], -self.means[:4]]))
        return bool(np.isfinite(scores).all() and (np.diagonal(self.precision) > 0).all())

    def fits(self, classes: int, dim: int) -> bool:
        """Whether it is finite numbers for K `classes` and features of `dim` numbers."""
        shapes = [(dim, dim), (classes, dim), (classes, dim), (dim,)]
        exact = [self.precision, self.means, self.text, self.normal]
        others = [self.words, self.background]
        numbers = (self.sharpness, *(each for one in self.sums for each in one), self.threshold)
        return (
            [part.shape for part in exact] == shapes
            and all(part.ndim == 2 and part.shape[1] == dim for part in others)
            and all(part.dtype == np.float32 for part in exact + others)
            and all(bool((np.abs(part) <= LARGEST).all()) for part in exact + others)
            and all(map(math.isfinite, numbers))
            and 0 < self.keep < 1
            and len(self.sums) > 0
            and self.sharpness >= 0
            and self._is_sound()
        )


@dataclass(frozen=True)
class _Numbers:
    """Those of `Known` that are no arrays."""

    sharpness: float
    sums: list[Sum]
    threshold: float
    keep: float


@dataclass(frozen=True)
class KnownPhotos:
    """What was learnt of being known."""

    known: Known
    scores: np.ndarray  # [n], of photos of the classes that the score has not learnt from
    background: np.ndarray  # [B], of the background photos, each left out


def known_photos(
    splits: Splits,
    text: np.ndarray,
    words: np.ndarray,
    background: np.ndarray,
    scale: float,
    keep: float,
) -> KnownPhotos | None:
    """Learns the score from the training photos; None where these set no threshold.

    They are too few then, or all alike.

    `text` [K, D] are the template's text features, which have learnt of no photo, `words` [M, D]
    those of other words, `background` [B, D] features of photos of none of the classes, `scale` is
    the logit scale. The threshold keeps the share `keep` of known photos.
    """
    learnt = joined(splits.train, splits.borrowed)
    means, precision, _ = leaning_gaussians(*learnt, text)
    if _are_alike(learnt):
        return None
    crossed = _Plane.fitted(learnt.features, background)
    known = Known(
        precision=precision.astype(np.float32),
        means=means.astype(np.float32),
        text=text,
        words=words,
        background=background,
        normal=crossed.normal,
        sharpness=SHARPER * scale,
        sums=[],
        threshold=0.0,
        keep=keep,
    )
    said = _left_out(known, learnt, crossed.known)
    if not len(splits.borrowed.labels):
        fresh = _evidence(known, splits.val.features.astype(np.float64))
        said = np.concatenate([said, fresh])
    if len(said) < LEAST_PHOTOS or not _vary(said[:, :1]).all():
        return None
    beyond = _background_left_out(known, crossed.background)
    sums = _sums(said, beyond, len(words) > 0)
    scores, behind = _lower(said, sums), _lower(beyond, sums)
    threshold = _lowest(scores, keep)
    known = replace(known, sums=sums, threshold=threshold)
    return KnownPhotos(known, scores - threshold, behind - threshold)


def _are_alike(photos: Split) -> bool:
    """Whether the photos of each class are one picture, as far as features tell."""
    together = np.bincount(photos.labels)[photos.labels] > 1
    means = class_means(photos.features, photos.labels, int(photos.labels.max()) + 1)
    within = (photos.features - means[photos.labels])[together]
    return len(within) > 0 and float((within**2).sum(axis=1).mean()) < ALIKE


def _lowest(scores: np.ndarray, keep: float) -> float:
    """The threshold that keeps the share `keep` of photos such as those with `scores` [n].

    A new photo is then kept with that probability at least (split conformal prediction: Vovk,
    Gammerman and Shafer, 2005); photos that are too few for it put it below the lowest of them.
    """
    ordered = np.sort(scores)
    rank = int((len(scores) + 1) * (1 - keep) + 1e-9)
    return float(ordered[rank - 1] if rank else 2 * ordered[0] - ordered[1])


@dataclass(frozen=True)
class _Plane:
    """Between known and background photos, by ridge regression; nothing without background."""

    normal: np.ndarray  # [D], float32
    known: np.ndarray  # [N], the sides of the known photos, by planes that were fitted without them
    background: np.ndarray  # [B], likewise

    @classmethod
    def fitted(cls, known: np.ndarray, background: np.ndarray) -> "_Plane":
        """From features [N, D] and [B, D]."""
        count, dim = known.shape
        if not len(background):
            return cls(np.zeros(dim, np.float32), np.zeros(count), np.zeros(0))
        features = np.concatenate([known, background])
        is_known = np.arange(len(features)) < count

        def normal(places: np.ndarray) -> np.ndarray:
            head = ridge(
                features[places], is_known[places].astype(int), np.zeros((2, dim), np.float32)
            )
            return head.weight[1] - head.weight[0]

        turn = np.concatenate([np.arange(count), np.arange(len(background))]) % TURNS
        sides = np.zeros(len(features))
        for part in np.unique(turn):
            sides[turn == part] = features[turn == part] @ normal(turn != part)
        return cls(normal(turn >= 0), sides[:count], sides[count:])


def _evidence(known: Known, features: np.ndarray) -> np.ndarray:
    """The four things that features [N, D], float64, say, [N, 4], not weighted."""
    among, behind = (
        log_sum(_log_density(features, places, known.precision))
        for places in (known.means, known.background)
    )
    return np.stack([among, _of_text(known, features), -behind, features @ known.normal], axis=1)


def _left_out(known: Known, photos: Split, sides: np.ndarray) -> np.ndarray:
    """The same of training photos [n, 4], by a score that has not learnt from the photo it judges.

    Photos that are alone in their class are not among them: the class would be text alone. `sides`
    [N] of the plane know nothing of the photo either.
    """
    judged = np.bincount(photos.labels)[photos.labels] > 1
    densities = left_out_logits(*photos, known.text, known.background)[judged]
    among, behind = np.split(densities, [len(known.means)], axis=1)
    of_text = _of_text(known, photos.features[judged].astype(np.float64))
    return np.stack([log_sum(among), of_text, -log_sum(behind), sides[judged]], axis=1)


def _background_left_out(known: Known, sides: np.ndarray) -> np.ndarray:
    """The same of the background photos [B, 4], each without itself; two at least, or none."""
    features = known.background.astype(np.float64)
    behind = _log_density(features, features, known.precision)
    np.fill_diagonal(behind, -np.inf)
    among = log_sum(_log_density(features, known.means, known.precision))
    return np.stack([among, _of_text(known, features), -log_sum(behind), sides], axis=1)


def _lower(said: np.ndarray, sums: Sequence[Sum]) -> np.ndarray:
    """The lower of the sums of what was `said` [N, 4], [N]."""
    every = np.array(sums)
    return np.asarray((said @ every[:, :4].T - every[:, 4]).min(axis=1))


def _sums(said: np.ndarray, beyond: np.ndarray, has_words: bool) -> list[Sum]:
    """What to add up, by what known photos [n, 4] and background photos [B, 4] said.

    With a background a photo has to be near the classes, and nearer than to it. By the second alone
    photos that are far from both would pass: they are unlike the background, too.
    """
    spread = np.where(_vary(said), said.std(axis=0), np.inf)  # what says nothing weighs nothing
    alone = np.array([1.0, TEXT_SAYS * has_words, 0.0, 0.0]) / spread
    if not len(beyond):
        return [_standardised(alone, said)]
    # Fisher's discriminant between the two.
    parts = np.stack([alone, [0, 0, 1 / spread[2], 0], [0, 0, 0, 1 / spread[3]]])
    sides = [parts @ each.T for each in (said, beyond)]
    within = np.cov(sides[0]) + np.cov(sides[1]) + 1e-6 * np.eye(len(parts))
    share = np.linalg.solve(within, sides[0].mean(axis=1) - sides[1].mean(axis=1))
    share = np.maximum(share, 0.0)
    share[0] = max(share[0], LEAST_SHARE * share.max()) or 1.0
    far = _standardised(alone, said)
    return [far._replace(mean=far.mean - LEEWAY), _standardised(share @ parts, said)]


def _vary(said: np.ndarray) -> np.ndarray:
    """Which columns of what was `said` [n, m] are more than one number and its rounding, [m]."""
    return np.asarray(said.std(axis=0) > ROUNDING * np.maximum(1.0, np.abs(said).max(axis=0)))


def _standardised(weights: np.ndarray, said: np.ndarray) -> Sum:
    total = said @ weights
    scale = total.std() or 1.0
    density, text, background, plane = (float(each) for each in weights / scale)
    return Sum(density, text, background, plane, float(total.mean() / scale))


def _of_text(known: Known, features: np.ndarray) -> np.ndarray:
    """How much more features [N, D] say of the classes' text than of other words, [N]."""
    if not len(known.words):
        return np.zeros(len(features))
    ours, others = (
        log_sum(known.sharpness * features @ text.T.astype(np.float64))
        for text in (known.text, known.words)
    )
    return ours - others


def _log_density(features: np.ndarray, places: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Of features [N, D] in Gaussians about `places` [P, D], [N, P], less a constant."""
    precision = precision.astype(np.float64)
    rows = places.astype(np.float64) @ precision
    depth = np.einsum("nd,nd->n", features @ precision, features) / 2
    return features @ rows.T - (rows * places).sum(axis=1) / 2 - depth[:, None]


def log_sum(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of exponentials of logits [N, P], [N]; 0 of none."""
    if not logits.shape[1]:
        return np.zeros(len(logits))
    most = logits.max(axis=1, keepdims=True)
    return most[:, 0] + np.log(np.exp(logits - most).sum(axis=1))
