"""The few-shot loss on top of the text features, in closed form: values, and the model that Gauss-Newton steps on."""

from typing import Protocol

import numpy as np

MODEL_NUMBERS = 2**19  # derivatives of logits in one expansion; larger problems keep each photo's most probable classes alone


def cross_entropy(text: np.ndarray, features: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """Mean cross-entropy [P] float64 of `scale * features @ text.T` for text features [P, K, D], photos [N, D], labels [N]."""
    candidates, classes, dim = text.shape
    logits = scale * (features @ text.reshape(-1, dim).T).reshape(len(features), candidates, classes)
    top = logits.max(axis=2)
    log_sum = top + np.log(np.exp(logits - top[:, :, None]).sum(axis=2))
    return (log_sum - logits[np.arange(len(labels)), :, labels]).mean(axis=0, dtype=np.float64)


def accuracy(text: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of photos [N, D] whose nearest text feature [K, D] is their class's; None without photos."""
    if not len(labels):
        return None
    return float(((features @ text.T).argmax(axis=1) == labels).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


class ConvexLoss(Protocol):
    """A convex function of the black box's output, known in closed form."""

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Losses [P] float64 of outputs [P, ...]."""
        ...

    def coordinates(self, outputs: np.ndarray) -> np.ndarray:
        """What the loss sees of outputs [P, ...], linear in them [P, ...], float32."""
        ...

    def expand(self, start: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [m] and Hessian [m, m], float64, of the loss at coordinates `start` along `columns` [m, ...]."""
        ...


class FewShotLoss:
    """Cross-entropy of the text features against cached photo features."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, scale: float):
        """Photo `features` [N, D] and `labels` [N]; `scale` is the logit scale."""
        self.features, self.labels, self.scale = np.ascontiguousarray(features, np.float32), np.asarray(labels), scale
        self._scaled = np.float32(scale) * self.features
        # Logits are the coordinates where they are fewer than the text features themselves.
        self._in_logits = len(self.features) <= self.features.shape[1]

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Losses [P] of text features [P, K, D]."""
        return cross_entropy(outputs, self.features, self.labels, self.scale)

    def coordinates(self, outputs: np.ndarray) -> np.ndarray:
        """Logits [P, N, K] of text features [P, K, D], or those features where the photos are more than D."""
        return self._as_logits(outputs) if self._in_logits else outputs

    def expand(self, start: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ConvexLoss`. With S the slopes of a photo's logits and p its probabilities, means over the photos of

        S (p - one-hot) and S (diag p - p p^T) S^T, the Gauss-Newton matrix of cross-entropy. Where that would
        need too many numbers, a photo's least probable classes are left out of both.
        """
        photos, count = len(self.labels), len(columns)
        logits = start if self._in_logits else self._scaled @ start.T
        p = softmax(logits)
        residual = p.copy()
        residual[np.arange(photos), self.labels] -= 1
        most = max(2, MODEL_NUMBERS // (count * photos))
        if most < p.shape[1]:
            kept = self._likely_classes(p, most)
            p, residual = np.take_along_axis(p, kept, axis=1), np.take_along_axis(residual, kept, axis=1)
            slopes = self._slopes(columns, kept)
        else:
            slopes = columns if self._in_logits else self._as_logits(columns)
        flat = slopes.reshape(count, -1)
        gradient = flat @ (residual / photos).ravel()
        root = np.sqrt(p / photos)
        spread = flat * root.ravel()
        centre = np.sqrt(np.float32(photos)) * np.einsum("jnc,nc->jn", spread.reshape(slopes.shape), root)
        return gradient.astype(np.float64), (spread @ spread.T - centre @ centre.T).astype(np.float64)

    def _likely_classes(self, p: np.ndarray, most: int) -> np.ndarray:
        """Each photo's own class and its most probable others, `most` in all [N, most]."""
        ranked = p.copy()
        ranked[np.arange(len(p)), self.labels] = np.inf
        return np.argpartition(-ranked, most - 1, axis=1)[:, :most]

    def _as_logits(self, columns: np.ndarray) -> np.ndarray:
        """Slopes of all logits [m, N, K] from slopes of the text features [m, K, D]."""
        slopes = columns.reshape(-1, columns.shape[-1]) @ self._scaled.T
        return np.ascontiguousarray(slopes.reshape(*columns.shape[:2], -1).swapaxes(1, 2))

    def _slopes(self, columns: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Slopes of the kept logits [m, N, C] from those of the coordinates."""
        if self._in_logits:
            return np.take_along_axis(columns, kept[None], axis=2)
        slopes = np.empty((len(columns), *kept.shape), np.float32)
        for k in range(columns.shape[1]):
            photos, slots = np.nonzero(kept == k)
            slopes[:, photos, slots] = columns[:, k] @ self._scaled[photos].T
        return slopes
