"""What joins a tuned prompt in the finished classifier: the template's features, and a head.

The head's weight is chosen on validation photos, then it is fitted on all that may be learnt from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from edge_sharpzo.classifier.calibration import (
    Calibration,
    between,
    calibrate,
    calibrated_losses,
    usual,
)
from edge_sharpzo.classifier.heads import HEADS, LinearHead, logit_deviation
from edge_sharpzo.photos.labelled import Split, Splits, joined
from edge_sharpzo.tuning.loss import cross_entropy, share_right

WEIGHTS = (0.0, *(2.0**e for e in range(-6, 11)))  # of a head's logits beside the prompt's
# Photos per class from which on validation chooses a weight; with fewer it is this one. A prompt
# tuned on a few photos knows little that the head does not: it helps most as a small part.
ENOUGH_SHOTS, USUAL_WEIGHT = 4, 8.0
DOUBT = 2.0  # standard errors by which the prompt has to be better to lead
# The better of prompt and head gets at least this times the other's weight, since few photos judge
# a mix badly.
LEAD = 4.0
# Parts that a class's photos are cut into, one after the other left out when heads are fitted to
# see how sure they may be; and how much surer the whole head is than one that lacks a part.
PARTS = 4
WHOLE = 1.2


class CalibratedOn(StrEnum):
    """Which photos the temperature was fitted on."""

    ALL_LEFT_OUT = "training and validation photos, each left out in its turn"
    TRAINING_LEFT_OUT = "training photos, each left out in its turn"
    HALF_LEFT_OUT = "training photos, each left out in its turn, and what is usual"
    VALIDATION = "validation photos"
    NOTHING = "no photos"  # it is what is usual


# Fits a head to photos, its logits as loud as those of a prompt's text features [K, D].
Fit = Callable[[np.ndarray, Split], LinearHead]


@dataclass(frozen=True)
class Fusion:
    """What a closed-form head adds to a prompt."""

    alone: LinearHead  # the head by itself
    # Its logits join the prompt's; None where the prompt is better off alone.
    added: LinearHead | None
    alone_val: float | None  # accuracy on validation photos, of which nothing was learnt yet
    mixed_val: float | None  # of the prompt with the added head, likewise
    weight: float  # of `alone` in `added`; 0 where nothing is added
    calibration: Calibration  # of the mix
    calibrated_on: CalibratedOn


def anchored(text: np.ndarray, as_written: np.ndarray, shots: float) -> np.ndarray:
    """Class features [K, D] between the tuned prompt's and the template's, normalised.

    `text` are the tuned prompt's, `as_written` those of the template as it is.

    The template's share is a third at one photo per class, a sixth at two, and nothing to speak of
    from eight on: what little a photo or two say must not cost what the model knew before. Wortsman
    et al. (CVPR 2022) do so with weights.
    """
    share = 1 / (2 + shots**2)
    mixed = (1 - share) * text + share * as_written
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


class Settled(NamedTuple):
    """Class features [K, D] of the validated prompt and of the final one."""

    validated: np.ndarray
    final: np.ndarray
    is_template: bool  # both are the template's: the tuned prompt was no better


def settled(
    validated: np.ndarray,
    final: np.ndarray,
    as_written: np.ndarray,
    splits: Splits,
    scale: float,
) -> Settled:
    """The class features that `fuse` starts from, anchored to those of the template.

    Where the template as written validates no worse than the validated prompt, both are the
    template's; without validation photos the training photos judge, which only a search of very few
    queries does not fit better than the template.
    """
    train, val = splits.train, splits.val
    shots = len(train.labels) / len(as_written)
    validated, final = (anchored(text, as_written, shots) for text in (validated, final))
    both, judges = np.stack([as_written, validated]), val if len(val.labels) else train
    written, tuned = cross_entropy(both, judges.features, judges.labels, scale)
    if written <= tuned:
        return Settled(as_written, as_written, is_template=True)
    return Settled(validated, final, is_template=False)


def fuse(
    name: str,
    scale: float,
    validated: np.ndarray,
    final: np.ndarray,
    as_written: np.ndarray,
    splits: Splits,
    mix: bool,
) -> Fusion:
    """Chooses by validation loss the weight of the head `name`, where there are photos enough.

    `scale` is the logit scale; `validated` the text features [K, D] of the best prompt that has
    learnt nothing of the validation photos, by which the weight is chosen; `final` those of the
    prompt that the head will be added to; `as_written` those of the template, which the head may
    lean on, since they have learnt of no photo. The head is then fitted again, on the borrowed
    validation photos too. Without validation photos, or with fewer than `ENOUGH_SHOTS` to learn
    from, its weight is `USUAL_WEIGHT`; nothing is added where not `mix`.
    """
    train, (features, labels), _, borrowed = splits
    fit = partial(_fitted, name, as_written, scale)
    prompt = scale * features @ validated.T
    beside = fit(validated, train).logits(features)
    weight = USUAL_WEIGHT if mix else 0.0
    if mix and len(labels) and len(train.labels) >= ENOUGH_SHOTS * len(final):
        weight = chosen_weight(prompt, beside, labels)
    mixed = prompt + weight * beside
    alone = fit(final, joined(train, borrowed))
    calibration, judges = _calibration(fit, scale, validated, splits, weight, mixed)
    return Fusion(
        alone=alone,
        added=alone.weighted(weight) if weight else None,
        alone_val=share_right(beside, labels),
        mixed_val=share_right(mixed, labels),
        weight=weight,
        calibration=calibration,
        calibrated_on=judges,
    )


def _calibration(
    fit: Fit,
    scale: float,
    text: np.ndarray,
    splits: Splits,
    weight: float,
    validation: np.ndarray,
) -> tuple[Calibration, CalibratedOn]:
    """Of the prompt and `weight` times the head, by photos that neither has learnt from; by which.

    Where the head leads and there are enough photos, all of them, each beside a head fitted
    without it and its like; `text` has learnt of most, but hardly counts then. Else by the
    validation photos, with logits `validation` [N, K]; without these by what is usual, and where
    there are a few photos of each class half by what they say of each other: two or three are
    often of one thing, and easier then than what is to come.
    """
    train, val = splits.train, splits.val
    every = joined(train, val)
    shots = len(train.labels) / len(text)
    least = int(np.bincount(every.labels, minlength=len(text)).min())

    def crossed() -> Calibration:
        beside = _crossed(fit, text, every, min(PARTS, least))
        logits = (scale * every.features @ text.T + weight * beside) / WHOLE
        return calibrate(logits, every.labels)

    leads = weight >= 1 and least > 1
    if leads and shots >= ENOUGH_SHOTS:
        is_all = len(val.labels) > 0
        return crossed(), CalibratedOn.ALL_LEFT_OUT if is_all else CalibratedOn.TRAINING_LEFT_OUT
    if len(val.labels):
        return calibrate(validation, val.labels), CalibratedOn.VALIDATION
    known = fit(text, train).logits(train.features)
    expected = usual(scale * train.features @ text.T + weight * known)
    if leads:
        return between(expected, crossed()), CalibratedOn.HALF_LEFT_OUT
    return expected, CalibratedOn.NOTHING


def _crossed(fit: Fit, text: np.ndarray, photos: Split, parts: int) -> np.ndarray:
    """Logits [N, K] of heads that have not learnt from the photos that they judge.

    Photos that are alike are left out together, or they would flatter the head.
    """
    logits = np.zeros((len(photos.labels), len(text)), np.float32)
    part = parts_of_like(photos, parts)
    for left_out in range(parts):
        here = part == left_out
        rest = Split(photos.features[~here], photos.labels[~here])
        logits[here] = fit(text, rest).logits(photos.features[here])
    return logits


def parts_of_like(photos: Split, parts: int) -> np.ndarray:
    """To which of `parts` each photo [N] belongs: its class's, cut along their main direction."""
    part = np.zeros(len(photos.labels), int)
    for label in np.unique(photos.labels):
        places = np.flatnonzero(photos.labels == label)
        rows = photos.features[places] - photos.features[places].mean(axis=0)
        directions, lengths, _ = np.linalg.svd(rows, full_matrices=False)
        order = np.argsort(directions[:, 0] * lengths[0], kind="stable")
        part[places[order]] = np.arange(len(places)) * parts // len(places)
    return part


def chosen_weight(prompt: np.ndarray, head: np.ndarray, labels: np.ndarray) -> float:
    """The weight of the head's logits [N, K] beside the prompt's, by the loss on validation photos.

    The better of the two leads. These photos may have chosen the prompt among many and flatter it
    then, while the head has never seen them, so the prompt has to be better by `DOUBT` standard
    errors. The leader's share is the largest of those whose loss is within a standard error of the
    best.
    """
    gain = calibrated_losses(head, labels) - calibrated_losses(prompt, labels)
    prompt_leads = gain.mean() > DOUBT * standard_error(gain)
    small, large = ([w for w in WEIGHTS if w <= 1 / LEAD], [w for w in WEIGHTS if w >= LEAD])
    allowed = small if prompt_leads else large[::-1]
    losses = [calibrated_losses(prompt + w * head, labels) for w in allowed]
    best = min(losses, key=np.mean)
    excess = [loss - best for loss in losses]
    pairs = zip(allowed, excess, strict=True)
    return next(w for w, more in pairs if more.mean() <= standard_error(more))


def standard_error(values: np.ndarray) -> float:
    """Of the mean of `values` [N]; infinite for a single one, unless it is 0."""
    if len(values) > 1:
        return float(values.std(ddof=1) / np.sqrt(len(values)))
    return np.inf if values.any() else 0.0


def _fitted(
    name: str, as_written: np.ndarray, scale: float, text: np.ndarray, photos: Split
) -> LinearHead:
    """The head fitted to `photos`, its logits on them varying as much as those of `text` do."""
    head = HEADS[name](*photos, as_written)
    return head.weighted(loudness(scale * photos.features @ text.T, head.logits(photos.features)))


def loudness(prompt: np.ndarray, head: np.ndarray) -> float:
    """What makes a head's logits [N, K] vary as much as the prompt's."""
    wanted, own = logit_deviation(prompt), logit_deviation(head)
    return wanted / own if own > 0 else 1.0
