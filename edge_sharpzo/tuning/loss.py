"""The few-shot loss on top of the text features: values, and the model for Gauss-Newton."""

from typing import Protocol

import numpy as np

from edge_sharpzo.photos.labelled import Split

# Photos that a Hessian is taken over at most, spread over the classes; its cost grows with them.
HESSIAN_PHOTOS = 96


def cross_entropy(
    text: np.ndarray, features: np.ndarray, labels: np.ndarray, scale: float
) -> np.ndarray:
    """Mean cross-entropy [P] float64 of the logits `scale * features @ text.T`.

    Text features [P, K, D] of P candidates, photo features [N, D] with labels [N].
    """
    candidates, classes, dim = text.shape
    logits = scale * (features @ text.reshape(-1, dim).T).reshape(
        len(features), candidates, classes
    )
    top = logits.max(axis=2)
    log_sum = top + np.log(np.exp(logits - top[:, :, None]).sum(axis=2))
    return (log_sum - logits[np.arange(len(labels)), :, labels]).mean(axis=0, dtype=np.float64)


def share_right(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of rows [N, K] whose largest logit is their label's [N]; None without rows."""
    return float((logits.argmax(axis=1) == labels).mean()) if len(labels) else None


def accuracy(text: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of photos [N, D] whose nearest text feature [K, D] is their class's.

    None without photos.
    """
    return share_right(features @ text.T, labels)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def by_logits(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient [M, K] of N photos' mean cross-entropy by the logits of probabilities `p` [M, K].

    The first N rows are those of the photos with `labels` [N]; the others take no part.
    """
    photos = len(labels)
    residual = p / np.float32(photos)
    residual[np.arange(photos), labels] -= np.float32(1 / photos)
    residual[photos:] = 0
    return residual


class ConvexLoss(Protocol):
    """A convex function of the black box's output, known in closed form."""

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Losses [P] float64 of outputs [P, ...]."""
        ...

    def coordinates(self, outputs: np.ndarray) -> np.ndarray:
        """What the loss sees of outputs [P, ...], linear in them [P, ...], float32."""
        ...

    def expand(self, start: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [m] and Hessian [m, m], float64, of the loss.

        At coordinates `start` [...], along `columns` [m, ...].
        """
        ...


class FewShotLoss:
    """Cross-entropy of the text features against cached photo features."""

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        scale: float,
        held_back: Split | None = None,
    ):
        """Photo `features` [N, D] and `labels` [N]; `scale` is the logit scale.

        `held_back` are photos that join the loss only with `add_held_back`.
        """
        more_features, more_labels = held_back or (features[:0], labels[:0])
        self._every_feature = np.concatenate([features, more_features]).astype(np.float32)
        self._every_label = np.concatenate([labels, more_labels])
        self.scale = scale
        self._scaled = np.float32(scale) * self._every_feature
        # Logits are the coordinates where they are fewer than the text features themselves.
        self._in_logits = len(self._scaled) <= self._scaled.shape[1]
        self._count(len(features))

    def _count(self, photos: int) -> None:
        self.features, self.labels = self._every_feature[:photos], self._every_label[:photos]
        by_class = np.argsort(self.labels, kind="stable")
        self._sample = by_class[:: -(-len(by_class) // HESSIAN_PHOTOS) or 1]

    @property
    def waiting(self) -> int:
        """How many held-back photos have not joined the loss yet."""
        return len(self._every_label) - len(self.labels)

    def add_held_back(self) -> None:
        """From now on the loss is over those photos too; coordinates stay what they were."""
        self._count(len(self._every_label))

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Losses [P] of text features [P, K, D]."""
        return cross_entropy(outputs, self.features, self.labels, self.scale)

    def coordinates(self, outputs: np.ndarray) -> np.ndarray:
        """Logits [P, N, K] of text features [P, K, D]; these themselves where N is above D."""
        return self._as_logits(outputs, self._scaled) if self._in_logits else outputs

    def expand(self, start: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ConvexLoss`.

        With S the slopes of a photo's logits along the columns [m, K] and p its probabilities [K]:
        the gradient is the mean over all photos of S (p - one-hot of the label), the Hessian that
        of S (diag(p) - p p^T) S^T over at most `HESSIAN_PHOTOS` of them.
        """
        count = len(columns)
        p = softmax(start if self._in_logits else self._scaled @ start.T)
        residual = by_logits(p, self.labels)
        by_coordinate = residual if self._in_logits else residual.T @ self._scaled
        gradient = columns.reshape(count, -1) @ by_coordinate.ravel()

        p = p[self._sample]
        slopes = self._slopes(columns)
        root = np.sqrt(p / np.float32(len(p)))
        weighted = slopes.reshape(count, -1) * root.ravel()
        centre = np.einsum("jnc,nc->jn", weighted.reshape(slopes.shape), np.sqrt(p))
        hessian = weighted @ weighted.T - centre @ centre.T
        return gradient.astype(np.float64), hessian.astype(np.float64)

    def _slopes(self, columns: np.ndarray) -> np.ndarray:
        """Slopes [m, n, K] of the sampled photos' logits along `columns` [m, ...]."""
        if not self._in_logits:
            return self._as_logits(columns, self._scaled[self._sample])
        whole = len(self._sample) == len(self._scaled)
        return columns if whole else columns[:, self._sample]

    @staticmethod
    def _as_logits(text: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """`scaled` [N, D] times text features, or their slopes, [m, K, D]: [m, N, K]."""
        logits = text.reshape(-1, text.shape[-1]) @ scaled.T
        return np.ascontiguousarray(logits.reshape(*text.shape[:2], -1).swapaxes(1, 2))
