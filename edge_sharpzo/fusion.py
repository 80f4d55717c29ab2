"""What joins a tuned prompt in the finished classifier: the template's own class features, and a closed-form head.

The head is chosen on validation photos, then fitted on all that may be learnt from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_sharpzo.calibration import Calibration, calibrate, tempered_loss
from edge_sharpzo.features import Split, Splits
from edge_sharpzo.heads import HEADS, LinearHead
from edge_sharpzo.loss import cross_entropy, share_right

WEIGHTS = (0.0, *(2.0**e for e in range(-6, 11)))  # of a head's logits beside the prompt's
LEAD = 4.0  # the better of prompt and head gets at least this times the other's weight: few photos judge a mix badly
SHARPNESSES = tuple(2.0 ** (e / 2) for e in range(-8, 9))


@dataclass(frozen=True)
class Fusion:
    """What the closed-form heads add to a prompt."""

    alone: LinearHead  # the best head by itself
    added: LinearHead | None  # its logits join the prompt's; None where the prompt is better off alone
    alone_val: float | None  # accuracy on validation photos, of which nothing was learnt yet
    mixed_val: float | None  # of the prompt with the added head, likewise
    calibration: Calibration  # of the mix

    def logits(self, prompt: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The mix's logits [N, K] from the prompt's [N, K] and the image features [N, D]."""
        return prompt if self.added is None else prompt + self.added.logits(features)


def anchored(text: np.ndarray, as_written: np.ndarray, shots: float) -> np.ndarray:
    """Class features [K, D] between the tuned prompt's, `text`, and those of the template as written, normalised.

    The template's share is a half at one photo a class, a fifth at two, and nothing to speak of from four on: what
    little a photo or two say must not cost more than the model knew before (as Wortsman et al., CVPR 2022, do with weights).
    """
    share = 1 / (1 + shots**2)
    mixed = (1 - share) * text + share * as_written
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def settled(validated: np.ndarray, final: np.ndarray, as_written: np.ndarray, splits: Splits, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The class features [K, D] that `fuse` starts from, `validated` and `final`, anchored to those of the template.

    Where the template as written validates no worse than the validated prompt, both are the template's.
    """
    train, val = splits.train, splits.val
    shots = len(train.labels) / len(as_written)
    validated, final = anchored(validated, as_written, shots), anchored(final, as_written, shots)
    if len(val.labels):
        written, tuned = cross_entropy(np.stack([as_written, validated]), val.features, val.labels, scale)
        if written <= tuned:
            return as_written, as_written
    return validated, final


def fuse(names: Sequence[str], scale: float, validated: np.ndarray, final: np.ndarray, splits: Splits, mix: bool = True) -> Fusion:
    """Chooses the best of the heads `names`, and the weight to add it with, by validation loss.

    `scale` is the logit scale, `validated` the text features [K, D] of the best prompt that has learnt nothing of the
    validation photos, by which it is chosen, `final` those of the prompt that the head will be added to. The heads are
    then fitted again, on the borrowed validation photos too. Without validation photos the first of `names` is taken,
    and added with weight one; nothing is added where not `mix`.
    """
    train, (features, labels), _, borrowed = splits
    heads = {name: _fitted(name, scale, validated, train) for name in names}
    prompt, beside = scale * features @ validated.T, {name: head.logits(features) for name, head in heads.items()}
    best, weight = names[0], 1.0
    if len(labels):
        best = min(names, key=lambda name: calibrated_loss(beside[name], labels))
        head_leads = calibrated_loss(beside[best], labels) < calibrated_loss(prompt, labels)
        allowed = [w for w in WEIGHTS if (w >= LEAD if head_leads else w <= 1 / LEAD)]
        weight = min(allowed, key=lambda w: calibrated_loss(prompt + w * beside[best], labels))
    weight = weight if mix else 0.0
    mixed = prompt + weight * beside[best]
    every = Split(np.concatenate([train.features, borrowed.features]), np.concatenate([train.labels, borrowed.labels]))
    alone = _fitted(best, scale, final, every)
    return Fusion(
        alone=alone,
        added=alone.weighted(weight) if weight else None,
        alone_val=share_right(beside[best], labels),
        mixed_val=share_right(mixed, labels),
        calibration=calibrate(mixed, labels),
    )


def calibrated_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy at the temperature that suits best, so that logits of any scale compare."""
    return min(tempered_loss(logits, labels, sharpness) for sharpness in SHARPNESSES)


def _fitted(name: str, scale: float, text: np.ndarray, photos: Split) -> LinearHead:
    """The head fitted to `photos`, scaled so that its logits on them spread as widely as the prompt's do."""
    head = HEADS[name](*photos, len(text))
    prompt, own = (_spread(logits) for logits in (scale * photos.features @ text.T, head.logits(photos.features)))
    return head.weighted(prompt / own if own > 0 else 1.0)


def _spread(logits: np.ndarray) -> float:
    return float((logits - logits.mean(axis=1, keepdims=True)).std())
