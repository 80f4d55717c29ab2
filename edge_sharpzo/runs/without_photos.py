"""What a classifier makes of labelled photos where some of its classes are known by name alone."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from edge_sharpzo.system.text import percent
from edge_sharpzo.tuning.loss import share_right


@dataclass(frozen=True)
class WithoutPhotos:
    """Classes that had no photo to learn from, and shares of photos that are right, 0 to 1."""

    classes: list[str]  # their folders
    test: int  # photos of these classes
    right: float | None  # the share of them that is right; None: there are none
    others_right: float | None  # and of the photos of other classes
    others_alone: float | None  # and of those, were the names not there to answer

    @classmethod
    def measured(cls, classes: list[str], logits: np.ndarray, labels: np.ndarray) -> Self | None:
        """Of photos with logits [N, K] and labels [N]; `classes` are the last of the K.

        None where there are no such classes.
        """
        if not classes:
            return None
        learnt = logits.shape[1] - len(classes)
        others = labels < learnt
        return cls(
            classes=list(classes),
            test=int((~others).sum()),
            right=share_right(logits[~others], labels[~others]),
            others_right=share_right(logits[others], labels[others]),
            others_alone=share_right(logits[others, :learnt], labels[others]),
        )

    def told(self, classes: int, photos: int) -> str:
        """One sentence for a person; `photos` were measured, among all `classes`."""
        named = f"{self.test} photos of the classes without photos {percent(self.right)}"
        others = f"{photos - self.test} of the others {percent(self.others_right)}"
        alone = f"without the names these would have {percent(self.others_alone)}"
        return f"right among all {classes} classes: of {named}, of {others}; {alone}"
