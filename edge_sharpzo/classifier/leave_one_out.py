"""What a head would say of each photo had it not learnt from it, in closed form."""

import numpy as np

from edge_sharpzo.classifier.heads import class_means, leaning_gaussians

_TINY = 1e-12


def left_out_logits(
    features: np.ndarray, labels: np.ndarray, text: np.ndarray, places: np.ndarray | None = None
) -> np.ndarray:
    """Logits [N, K], float64, of `text_gda` for each photo as if fitted without it.

    They are log densities, less a constant. Photo features [N, D], labels [N], text features
    [K, D]. Behind them, [N, K + P], come those about other `places` [P, D].

    Without a photo x of class k, which has n photos and the mean m, the scatter about the class
    means is less by n / (n - 1) d d^T, where d = x - m; so its inverse is known from that of the
    whole (Sherman and Morrison, 1950). The mean of class k is without it too. What all photos share
    stays: their centre, how far means lean on the text, and the strength of the ridge.
    """
    x, rows = features.astype(np.float64), np.arange(len(labels))
    means, precision, leaning = leaning_gaussians(x, labels, text)
    if places is not None:
        means = np.concatenate([means, places])
    count = np.bincount(labels, minlength=len(text))[labels].astype(np.float64)
    own = class_means(x, labels, len(text))[labels]
    said = leaning.offset + leaning.lean * text[labels]
    others = count[:, None] * own - x + leaning.worth * said
    without = others / np.maximum(count - 1 + leaning.worth, _TINY)[:, None]

    # Squared distances to all means by the precision P of the whole.
    at_means = means @ precision
    far = ((x @ precision) * x).sum(axis=1)[:, None] - 2 * x @ at_means.T
    far += (at_means * means).sum(axis=1)
    from_own = x - without
    far[rows, labels] = ((from_own @ precision) * from_own).sum(axis=1)
    # P is D times an inverse: it is larger by c / (1 - c d^T P d / D) / D P d (P d)^T without x.
    away = x - own
    lost = np.where(count > 1, count / np.maximum(count - 1, 1), 0.0)
    moved = away @ precision
    dim = x.shape[1]
    left = 1 - lost * (moved * away).sum(axis=1) / dim
    more = lost / np.maximum(left, _TINY) / dim
    along = (moved * x).sum(axis=1)[:, None] - moved @ means.T
    along[rows, labels] = (moved * from_own).sum(axis=1)
    return np.asarray(-(far + more[:, None] * along**2) / 2)
