"""Closed-form classifiers on the image features.

A prompt moves a few vectors; a linear head on the same cached features costs milliseconds and often
wins where the model's text knows little of the classes. So every run fits both and says which one
won.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.system.errors import UserError, not_one_of

RIDGE_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
# What the text leaves unexplained of a photo differs this far within classes, as a share; the rest
# between them. It counts as one more photo per class, and alone where each class has one photo.
WITHIN = 5 / 6
LEAST_APART = 0.05  # of what the text leaves unexplained of class means; the rest may be chance
RIDGE = 2.0  # times that of GDA's paper: as often right, and better calibrated


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
    """Mean feature of each class [K, D]; zeros for a class without photos."""
    count = np.bincount(labels, minlength=classes)[:, None]
    return np.eye(classes)[labels].T @ features / np.maximum(count, 1)


def prototypes(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> LinearHead:
    """Nearest class mean by cosine (Snell et al., NeurIPS 2017)."""
    means = class_means(features, labels, len(text))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return LinearHead("prototypes", means.astype(np.float32), np.zeros(len(text), np.float32))


def ridge(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> LinearHead:
    """Ridge regression on one-hot targets.

    Its strength has the least leave-one-out error (in closed form, PRESS).
    """
    centre, wanted = features.mean(axis=0), np.eye(len(text))[labels]
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


def gda(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> LinearHead:
    """Gaussian discriminant analysis with one shared covariance.

    Wang et al., "A hard-to-beat baseline for training-free CLIP-based adaptation", ICLR 2024.
    """
    means = class_means(features, labels, len(text))
    share = np.bincount(labels, minlength=len(text)) / len(labels)
    weight, bias = _gaussians(means, features - means[labels])
    return LinearHead("gda", weight, bias + np.log(share).astype(np.float32))


def text_gda(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> LinearHead:
    """GDA with class means that lean towards the text, the more so the fewer photos there are.

    A class without photos has what its text says. No class is likelier than another beforehand.
    """
    return LinearHead("text-gda", *gaussian_rows(*leaning_gaussians(features, labels, text)[:2]))


def leaning_gaussians(
    features: np.ndarray, labels: np.ndarray, text: np.ndarray
) -> tuple[np.ndarray, np.ndarray, "Leaning"]:
    """Means [K, D] and the precision [D, D] that `text_gda` is made of, and how means lean."""
    within = features - class_means(features, labels, len(text))[labels]
    means, leaning = leaning_means(features, labels, text)
    return means, _precision(within, RIDGE), leaning


class Leaning(NamedTuple):
    """Where the text of a class without photos puts its mean: `offset + lean * text`."""

    offset: np.ndarray  # [D], float64
    lean: float  # 0 and above
    worth: float  # kappa: how many photos of a class its text is worth


def leaning_means(
    features: np.ndarray, labels: np.ndarray, text: np.ndarray
) -> tuple[np.ndarray, Leaning]:
    """The likeliest means [K, D] of classes whose text is known and that have n_k photos.

    From photo features [N, D] with labels [N] and text features [K, D]:

        centre + (n_k (mean_k - centre) + kappa beta (t_k - text centre)) / (n_k + kappa)

    Photos and text lie apart, so each is taken about the centre of its own. Class means are
    supposed to lie normally about `beta` times the text, photos about their class's mean; `beta`,
    and `kappa`, which is the one variance by the other, are estimated from the photos (empirical
    Bayes: Efron and Morris, JASA 1973). Good text so gets a large say, useless text none.
    """
    count = np.bincount(labels, minlength=len(text))[:, None]
    seen = count[:, 0] > 0
    means = class_means(features, labels, len(text))
    centre = means[seen].mean(axis=0)
    away = np.where(seen[:, None], means - centre, 0.0)
    text_centre = text[seen].mean(axis=0)
    said = (text - text_centre).astype(np.float64)
    size = float((said[seen] ** 2).sum())
    lean = max(0.0, float((away * said).sum()) / size) if size else 0.0
    said *= lean
    tiny, photos, classes = np.finfo(float).tiny, len(labels), int(seen.sum())
    # Variances: of photos about what the text says, about their class's mean, and of class means
    # about what the text says, some of it by the chance of which photos there are.
    unexplained = ((features - centre - said[labels]) ** 2).sum() / max(1, photos - 1)
    spread = ((features - means[labels]) ** 2).sum() + classes * WITHIN * unexplained
    spread = max(float(spread) / photos, tiny)
    apart = float(((away - said)[seen] ** 2).sum()) / max(1, classes - 1)
    chance = spread * float((1 / count[seen]).mean())
    kappa = float(spread / max(apart - chance, LEAST_APART * apart, tiny))
    leaning = Leaning(centre - lean * text_centre.astype(np.float64), lean, kappa)
    return np.asarray(centre + (count * away + kappa * said) / (count + kappa)), leaning


def _gaussians(means: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight [K, D] and bias [K] of Bayes' rule for Gaussians that share one covariance.

    They lie at `means` [K, D]; `within` [N, D] are photos about the mean of their class.
    """
    return gaussian_rows(means, _precision(within, 1.0))


def gaussian_rows(means: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight [K, D] and bias [K], float32, of Gaussians at `means` [K, D]."""
    weight = means @ precision
    bias = -(weight * means).sum(axis=1) / 2
    return weight.astype(np.float32), bias.astype(np.float32)


def _precision(within: np.ndarray, ridge: float) -> np.ndarray:
    """The precision [D, D] of photos that lie `within` [N, D] about the mean of their class.

    It is the empirical Bayes ridge estimate D ((N - 1) S + ridge tr(S) I)^-1 (Kubokawa and
    Srivastava, 2008).
    """
    count, dim = within.shape
    covariance = within.astype(np.float64).T @ within
    covariance /= max(1, count - 1)
    trace = np.trace(covariance)
    if trace <= 1e-12:  # one shot per class: nothing varies within, the nearest mean is left
        return np.eye(dim)
    covariance *= count - 1  # in place, here and below: each [D, D] is megabytes of the peak
    covariance.flat[:: dim + 1] += ridge * trace
    precision = np.linalg.inv(covariance)
    precision *= dim
    return np.asarray(precision)


def logit_deviation(logits: np.ndarray) -> float:
    """Standard deviation of logits [N, K] about each photo's mean."""
    return float((logits - logits.mean(axis=1, keepdims=True)).std())


NO_HEAD = "none"
DEFAULT_HEAD = "text-gda"
ALIASES = {"auto": DEFAULT_HEAD}  # what version 0.1.0 called it
# Fits a head to features [N, D] with labels [N], and the text features [K, D] of the template.
HEADS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], LinearHead]] = {
    "text-gda": text_gda,
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

    The text features are not known yet; zeros stand for them.

    Raises UserError for a head whose weights have another shape, or are no finite numbers.
    """
    name = head_named(asked)
    if name is None:
        return
    dim = photos.features.shape[1]
    head = HEADS[name](*photos, np.zeros((classes, dim), np.float32))
    if not head.fits(classes, dim):
        shapes = f"weights {list(np.shape(head.weight))} and biases {list(np.shape(head.bias))}"
        raise UserError(
            f"`head={name}` gives {shapes}, "
            f"expected [{classes}, {dim}] and [{classes}] finite numbers: take another head",
            field="head",
        )
