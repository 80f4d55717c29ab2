"""Closed-form classifiers on the image features, and their mix with the tuned prompt.

A prompt moves a few vectors; a linear head on the same cached features costs milliseconds and often wins where
the model's text knows little of the classes. So every run fits both and says which one won.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sharpzo.loss import softmax

RIDGE_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
WEIGHTS = (0.0, *(2.0**e for e in range(-6, 11)))  # of a head's logits beside the prompt's
TEMPERATURES = tuple(2.0 ** (e / 2) for e in range(-8, 9))


@dataclass(frozen=True)
class LinearHead:
    """Logits `features @ weight.T + bias` of K classes: weight [K, D], bias [K], float32."""

    name: str
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[N, K] of features [N, D]."""
        return features @ self.weight.T + self.bias


def class_means(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean feature of each class [K, D]."""
    return np.stack([features[labels == k].mean(axis=0) for k in range(classes)])


def prototypes(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """Nearest class mean by cosine (Snell et al., NeurIPS 2017)."""
    means = class_means(features, labels, classes)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return LinearHead("prototypes", means.astype(np.float32), np.zeros(classes, np.float32))


def ridge(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """Ridge regression on one-hot targets; its strength has the least leave-one-out error (closed form, PRESS)."""
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
    return LinearHead("ridge", weight.astype(np.float32), (mean - weight @ centre).astype(np.float32))


def gda(features: np.ndarray, labels: np.ndarray, classes: int) -> LinearHead:
    """Gaussian discriminant analysis with one shared covariance.

    Wang et al., "A hard-to-beat baseline for training-free CLIP-based adaptation", ICLR 2024, with their empirical
    Bayes ridge estimate of the precision matrix: D ((N - 1) S + tr(S) I)^-1 (Kubokawa and Srivastava, 2008).
    """
    means = class_means(features, labels, classes).astype(np.float64)
    centred = features - means[labels]
    count, dim = centred.shape
    covariance = centred.T @ centred / max(1, count - 1)
    trace = np.trace(covariance)
    # One shot a class leaves no spread within classes, and so the nearest mean.
    precision = dim * np.linalg.inv((count - 1) * covariance + trace * np.eye(dim)) if trace > 1e-12 else np.eye(dim)
    weight = means @ precision
    bias = np.log(np.bincount(labels, minlength=classes) / count) - (weight * means).sum(axis=1) / 2
    return LinearHead("gda", weight.astype(np.float32), bias.astype(np.float32))


HEADS: dict[str, Callable[[np.ndarray, np.ndarray, int], LinearHead]] = {"prototypes": prototypes, "ridge": ridge, "gda": gda}


def calibrated_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy at the temperature that suits best, so that logits of any scale compare."""
    rows = np.arange(len(labels))
    return min(float(-np.log(np.maximum(softmax(t * logits)[rows, labels], 1e-9)).mean()) for t in TEMPERATURES)


def standardized(head: LinearHead, features: np.ndarray, spread: float) -> LinearHead:
    """`head` scaled so that its logits on `features` spread as widely as the prompt's do."""
    logits = head.logits(features)
    own = float((logits - logits.mean(axis=1, keepdims=True)).std())
    factor = spread / own if own > 0 else 1.0
    return LinearHead(head.name, (factor * head.weight).astype(np.float32), (factor * head.bias).astype(np.float32))


def choose_head(
    names: Sequence[str],
    prompt_logits: Callable[[np.ndarray], np.ndarray],
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    classes: int,
) -> tuple[LinearHead, LinearHead]:
    """The best head of `names` alone, and the one to add to the prompt's logits, its weight chosen on validation.

    The second has zero weights where the prompt is better off alone. Without validation photos the first of
    `names` is taken, and added with weight one. `train` and `validation` hold features [N, D] and labels [N].
    """
    prompt = prompt_logits(train[0])
    spread = float((prompt - prompt.mean(axis=1, keepdims=True)).std())
    heads = [standardized(HEADS[name](*train, classes), train[0], spread) for name in names]
    features, labels = validation
    if not len(labels):
        return heads[0], heads[0]
    alone = min(heads, key=lambda head: calibrated_loss(head.logits(features), labels))
    base = prompt_logits(features)
    scored = [(calibrated_loss(base + w * head.logits(features), labels), i, w) for i, head in enumerate(heads) for w in WEIGHTS]
    _, index, weight = min(scored)
    head = heads[index]
    return alone, LinearHead(head.name if weight else "none", weight * head.weight, weight * head.bias)
