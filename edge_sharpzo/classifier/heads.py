"""Closed-form classifiers on the image features.

A prompt moves a few vectors; a linear head on the same cached features costs milliseconds and often
wins where the model's text knows little of the classes. So every run fits both and says which one
won.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.system.errors import UserError, not_one_of

RIDGE_STRENGTHS = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class LinearHead:
    """Logits `features @ weight.T + bias` of K classes: weight [K, D], bias [K], float32."""

    name: str
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[N, K] of features [N, D]."""
        return features @ self.weight.T + self.bias

    def fits(self, classes: int, dim: int) -> bool:
        """Whether it is finite numbers for K `classes` and features of `dim` numbers."""
        weight, bias = self.weight, self.bias
        shaped = (np.shape(weight), np.shape(bias)) == ((classes, dim), (classes,))
        return shaped and bool(np.isfinite(weight).all() and np.isfinite(bias).all())

    def weighted(self, factor: float) -> "LinearHead":
        """The head with its logits times `factor`."""
        weight, bias = (factor * part for part in (self.weight, self.bias))
        return LinearHead(self.name, weight.astype(np.float32), bias.astype(np.float32))


def class_means(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean feature of each class [K, D]."""
    return np.stack([features[labels == k].mean(axis=0) for k in range(classes)])


def prototypes(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """Nearest class mean by cosine (Snell et al., NeurIPS 2017)."""
    means = class_means(features, labels, classes)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return LinearHead("prototypes", means.astype(np.float32), np.zeros(classes, np.float32))


def ridge(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """Ridge regression on one-hot targets.

    Its strength has the least leave-one-out error (in closed form, PRESS).
    """
    centre, wanted = features.mean(axis=0), np.eye(classes)[labels]
    x, mean = (features - centre).astype(np.float64), wanted.mean(axis=0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ (wanted - mean)

    def error(strength: float) -> float:
        shrink = s**2 / (s**2 + strength)
        left = 1 - (u**2 @ shrink) - 1 / len(x)
        residual = (wanted - mean - (u * shrink) @ projected) / np.maximum(left, 1e-6)[:, None]
        return float((residual**2).mean())

    best = min(RIDGE_STRENGTHS, key=error)
    weight = (vt.T @ ((s / (s**2 + best))[:, None] * projected)).T
    return LinearHead(
        "ridge", weight.astype(np.float32), (mean - weight @ centre).astype(np.float32)
    )


def gda(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """Gaussian discriminant analysis with one shared covariance.

    Wang et al., "A hard-to-beat baseline for training-free CLIP-based adaptation", ICLR 2024, with
    their empirical Bayes ridge estimate of the precision matrix: D ((N - 1) S + tr(S) I)^-1
    (Kubokawa and Srivastava, 2008).
    """
    means = class_means(features, labels, classes).astype(np.float64)
    centred = features - means[labels]
    count, dim = centred.shape
    covariance = centred.T @ centred / max(1, count - 1)
    trace = np.trace(covariance)
    if trace > 1e-12:
        precision = dim * np.linalg.inv((count - 1) * covariance + trace * np.eye(dim))
    else:  # one shot per class: nothing varies within classes, and the nearest mean is left
        precision = np.eye(dim)
    weight = means @ precision
    bias = np.log(np.bincount(labels, minlength=classes) / count) - (weight * means).sum(axis=1) / 2
    return LinearHead("gda", weight.astype(np.float32), bias.astype(np.float32))


def logit_deviation(logits: np.ndarray) -> float:
    """Standard deviation of logits [N, K] about each photo's mean."""
    return float((logits - logits.mean(axis=1, keepdims=True)).std())


def ensemble(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """The mean of the other heads, each with logits of deviation one on the photos it learnt from.

    They err on different photos, and nothing has to be chosen by the few photos of validation.
    """
    heads = [head(features, labels, classes) for head in (prototypes, ridge, gda)]
    deviations = [logit_deviation(head.logits(features)) or 1.0 for head in heads]
    heads = [h.weighted(1 / d / len(heads)) for h, d in zip(heads, deviations, strict=True)]
    weight = np.sum([head.weight for head in heads], axis=0)
    return LinearHead("ensemble", weight, np.sum([head.bias for head in heads], axis=0))


NO_HEAD = "none"
DEFAULT_HEAD = "ensemble"
ALIASES = {"auto": DEFAULT_HEAD}  # what version 0.1.0 called it
# Fits a head to features [N, D] with labels [N] of K classes.
HEADS: dict[str, Callable[[np.ndarray, np.ndarray, int], LinearHead]] = {
    "ensemble": ensemble,
    "prototypes": prototypes,
    "ridge": ridge,
    "gda": gda,
}


def head_named(asked: str) -> str | None:
    """The name in `HEADS` of the head `asked` for; None for `none`. Raises UserError."""
    name = ALIASES.get(asked, asked)
    if name == NO_HEAD:
        return None
    if name not in HEADS:
        raise not_one_of((NO_HEAD, *HEADS), "head", asked)
    return name


def check_head(asked: str, photos: Split, classes: int) -> None:
    """Fits the head once, so that one that does not work is known before the search.

    Raises UserError for a head whose weights have another shape, or are no finite numbers.
    """
    name = head_named(asked)
    if name is None:
        return
    head, dim = HEADS[name](*photos, classes), photos.features.shape[1]
    if not head.fits(classes, dim):
        shapes = f"weights {list(np.shape(head.weight))} and biases {list(np.shape(head.bias))}"
        raise UserError(
            f"`head={name}` gives {shapes}, "
            f"expected [{classes}, {dim}] and [{classes}] finite numbers: take another head",
            field="head",
        )
