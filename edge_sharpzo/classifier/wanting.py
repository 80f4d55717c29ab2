"""Which class more photos would help most: the one whose photos the others read worst.

Its errors count by their probability, each photo left out, so that a few photos tell more than
their number of wrong answers. How fast these fall with more photos was tried too, and named no
better class (`benchmarks/wanting.py`).
"""

import numpy as np

from edge_sharpzo.classifier.suspects import Judgement

APART = 2.0  # standard errors that the class lies above the others
LEAST_PHOTOS = 4  # of the class
WORTH_TELLING = 0.1  # and how far at least, as a share of photos


def wanting(judgement: Judgement) -> int | None:
    """The class that more photos would help most; None where the photos cannot tell."""
    labels, missing = judgement.labels, judgement.missing
    count = np.bincount(labels, minlength=judgement.probabilities.shape[1])
    errors = np.bincount(labels, missing, minlength=len(count)) / np.maximum(count, 1)
    errors[count < LEAST_PHOTOS] = 0
    worst = int(errors.argmax())
    others = missing[labels != worst]
    if not count[worst] or not len(others):
        return None
    chance = missing.std() / np.sqrt(count[worst])
    apart = errors[worst] - others.mean()
    return worst if apart >= max(APART * chance, WORTH_TELLING) else None
