"""Few-shot classifiers of other papers, on the same cached features. None of them asks a query.

Each is a function of the template's text features [K, D], photos, the logit scale and what its
paper chooses by validation; it gives a function from image features [N, D] to logits [N, K].
`fitted` chooses on the validation photos, the first of equals, and fits again with those among them
that are a class's shots, as the product does. Held-out photos are never seen. The papers repeat
each photo with random crops, which the cache of features does not hold; here each counts once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from edge_sharpzo.classifier.heads import class_means, gda
from edge_sharpzo.photos.labelled import Split, Splits, joined
from edge_sharpzo.tuning.loss import share_right, softmax

Logits = Callable[[np.ndarray], np.ndarray]

MEANS_SHARE = 3.0  # of class means beside the template's features
TIP_ALPHAS, TIP_BETAS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0), (1.0, 3.0, 5.5, 8.0, 12.0)
GDA_ALPHAS = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0)
LP_STEPS, LP_TEXT_EVERY = (300, 250, 200, 150, 100, 50, 20, 10), 10
LP_TEXT_START = 2.5  # times the logit scale: the paper has 250 for CLIP's scale of 100
CLAP_EPOCHS, CLAP_RATE, CLAP_FIRST_RATE, CLAP_BATCH = 300, 0.1, 1e-5, 256
PROKER_BETAS, PROKER_RIDGES = (0.5, 1.0, 2.0, 4.0, 8.0), (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MOMENTUM = 0.9


def zero_shot(text: np.ndarray, _: Split, scale: float) -> Logits:
    """The template alone."""
    return lambda features: scale * features @ text.T


def centred_means(text: np.ndarray, photos: Split, scale: float) -> Logits:
    """Class means and the template's features, both centred and normalised, 3 to 1."""
    means = class_means(*photos, len(text))
    centre = means.mean(axis=0)
    both = (means - centre, text - text.mean(axis=0))
    of_photos, of_text = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in both)
    weight = MEANS_SHARE * of_photos + of_text
    return lambda features: scale * (features - centre) @ weight.T


def tip_adapter(text: np.ndarray, photos: Split, scale: float, alpha: float, beta: float) -> Logits:
    """Training-free Tip-Adapter (Zhang et al., ECCV 2022, equations 4 to 6)."""
    keys, values = photos.features, np.eye(len(text))[photos.labels]
    return lambda features: (
        scale * features @ text.T + alpha * np.exp(-beta * (1 - features @ keys.T)) @ values
    )


def gda_and_text(text: np.ndarray, photos: Split, scale: float, alpha: float) -> Logits:
    """GDA, `alpha` times, beside the template (Wang et al., ICLR 2024, section 3)."""
    head = gda(*photos, text)
    return lambda features: scale * features @ text.T + alpha * head.logits(features)


def lp_plus_plus(text: np.ndarray, photos: Split, scale: float, steps: float) -> Logits:
    """LP++ (Huang et al., CVPR 2024): a linear probe beside class-wise shares of the text.

    Logits are `features . (w_k + alpha_k t_k) + b_k`. Start (equations 14 and 15) and step sizes
    (equations 10 and 11) follow from the data; the shares take a step in every ten. Which of the
    300 steps is the last, validation says.
    """
    (features, labels), wanted = photos, np.eye(len(text))[photos.labels]
    on_text = features @ text.T
    weight, bias = wanted.T @ features, np.zeros(len(text))
    share = LP_TEXT_START * scale * np.full(len(text), (on_text * wanted).sum() / len(labels))
    step, text_step = lp_step_sizes(features, on_text)
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    for count in range(1, int(steps) + 1):
        slope = softmax(features @ weight.T + bias + share * on_text) - wanted
        slope /= len(labels)
        gradients = slope.T @ features, slope.sum(axis=0)
        velocity = [MOMENTUM * v + g for v, g in zip(velocity, gradients, strict=True)]
        weight, bias = weight - step * velocity[0], bias - step * velocity[1]
        if count % LP_TEXT_EVERY == 0:
            share = share - text_step * (slope * on_text).sum(axis=0)
    return lambda features: features @ weight.T + bias + share * (features @ text.T)


def lp_step_sizes(features: np.ndarray, on_text: np.ndarray) -> tuple[float, float]:
    """LP++'s steps of the weights and of the shares of the text, equations 10 and 11.

    From features [N, D] and their products with the text features [N, K].
    """
    largest = float(np.linalg.norm(features, ord=2)) ** 2
    return 4 * len(features) / largest, len(features) / (4 * float((on_text**2).sum(axis=0).max()))


def clap(text: np.ndarray, photos: Split, scale: float) -> Logits:
    """CLAP (Silva-Rodriguez et al., CVPR 2024): a cosine probe that starts from the template.

    Where zero-shot is confident of a class, its weight is held near the text. Rate, schedule,
    batch and epochs are the paper's for all sets; it validates nothing. Text features are
    normalised here, while the authors' code takes them as CLIP's projection leaves them.
    """
    (features, labels), wanted = photos, np.eye(len(text))[photos.labels]
    held = 2 * clap_multipliers(text, photos, scale)[:, None] / len(text)
    weight, velocity = text.astype(np.float64), np.zeros(text.shape)
    rng = np.random.default_rng(0)
    for epoch in range(CLAP_EPOCHS):
        cosine = CLAP_RATE * (1 + np.cos(np.pi * epoch / CLAP_EPOCHS)) / 2
        for batch in np.array_split(rng.permutation(len(labels)), -(-len(labels) // CLAP_BATCH)):
            length = np.linalg.norm(weight, axis=1, keepdims=True)
            unit = weight / length
            slope = softmax(scale * features[batch] @ unit.T) - wanted[batch]
            gradient = scale * slope.T @ features[batch] / len(batch)
            gradient -= unit * (unit * gradient).sum(axis=1, keepdims=True)
            velocity = MOMENTUM * velocity + gradient / length + held * (weight - text)
            weight = weight - (cosine if epoch else CLAP_FIRST_RATE) * velocity
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    return lambda features: scale * features @ unit.T


def clap_multipliers(text: np.ndarray, photos: Split, scale: float) -> np.ndarray:
    """How strongly CLAP holds each class [K]: the mean probability that the template gives it.

    Of the class's own photos.
    """
    wanted = np.eye(len(text))[photos.labels]
    right = softmax(scale * photos.features @ text.T) * wanted
    return np.asarray(right.sum(axis=0) / wanted.sum(axis=0))


def proker(text: np.ndarray, photos: Split, _: float, beta: float, strength: float) -> Logits:
    """ProKeR (Bendou et al., CVPR 2025): kernel ridge regression about the template's cosines.

    The closed form of its proximal regulariser, with Tip-Adapter's radial kernel.
    """
    keys, wanted = photos.features, np.eye(len(text))[photos.labels]

    def kernel(features: np.ndarray) -> np.ndarray:
        return np.exp(-beta * (1 - features @ keys.T))

    dual = np.linalg.solve(kernel(keys) + strength * np.eye(len(keys)), wanted - keys @ text.T)
    return lambda features: features @ text.T + kernel(features) @ dual


@dataclass(frozen=True)
class Opponent:
    """A classifier, and the settings among which validation chooses."""

    fit: Callable[..., Logits]
    settings: tuple[tuple[float, ...], ...] = ((),)


OPPONENTS = {
    "zero-shot": Opponent(zero_shot),
    "centred-means": Opponent(centred_means),
    "tip-adapter": Opponent(tip_adapter, tuple(product(TIP_ALPHAS, TIP_BETAS))),
    "gda+text": Opponent(gda_and_text, tuple(product(GDA_ALPHAS))),
    "lp++": Opponent(lp_plus_plus, tuple(product(LP_STEPS))),
    "clap": Opponent(clap),
    "proker": Opponent(proker, tuple(product(PROKER_BETAS, PROKER_RIDGES))),
}


def fitted(opponent: Opponent, text: np.ndarray, photos: Splits, scale: float) -> Logits:
    """The opponent with the setting that is right on most validation photos."""

    def right(setting: tuple[float, ...]) -> float:
        logits = opponent.fit(text, photos.train, scale, *setting)
        return share_right(logits(photos.val.features), photos.val.labels) or 0.0

    settings = opponent.settings
    best = max(settings, key=right) if len(settings) > 1 else settings[0]
    return opponent.fit(text, joined(photos.train, photos.borrowed), scale, *best)
