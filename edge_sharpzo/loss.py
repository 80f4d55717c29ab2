"""The few-shot loss on top of the text features, in closed form: values, and the model that Gauss-Newton steps on."""

from typing import Protocol

import numpy as np

MODEL_NUMBERS = 2**22  # logits' derivatives held at once; larger problems keep each photo's most probable classes alone


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


class LocalModel(Protocol):
    """A loss along m directions, as a function of the steps a [m] along them."""

    def gradient(self, a: np.ndarray) -> np.ndarray:
        """[m], float64."""
        ...

    def hessian(self, a: np.ndarray) -> np.ndarray:
        """[m, m], float64, positive semidefinite."""
        ...


class ConvexLoss(Protocol):
    """A convex function of the black box's output, known in closed form."""

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Losses [P] float64 of outputs [P, ...]."""
        ...

    def along(self, output: np.ndarray, columns: np.ndarray) -> LocalModel:
        """The loss of `output + a @ columns`, for `output` [...] and `columns` [m, ...]."""
        ...


class FewShotLoss:
    """Cross-entropy of the text features against cached photo features."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, scale: float):
        """Photo `features` [N, D] and `labels` [N]; `scale` is the logit scale."""
        self.features, self.labels, self.scale = np.ascontiguousarray(features, np.float32), np.asarray(labels), scale

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Losses [P] of text features [P, K, D]."""
        return cross_entropy(outputs, self.features, self.labels, self.scale)

    def along(self, output: np.ndarray, columns: np.ndarray) -> "CrossEntropyModel":
        """See `ConvexLoss`: text features [K, D] that move along `columns` [m, K, D]."""
        photos, count = len(self.labels), len(columns)
        logits = self.scale * self.features @ output.T
        kept = self._kept_classes(logits, max(2, MODEL_NUMBERS // (count * photos)))
        return CrossEntropyModel(
            start=np.take_along_axis(logits, kept, axis=1),
            rest=_log_sum_of_others(logits, kept),
            slopes=self._slopes(columns, kept),
            wanted=(kept == self.labels[:, None]).astype(np.float32),
        )

    def _kept_classes(self, logits: np.ndarray, most: int) -> np.ndarray:
        """Each photo's own class and its most probable others, `most` in all [N, C]; every class where they are no more."""
        photos, classes = logits.shape
        if most >= classes:
            return np.tile(np.arange(classes), (photos, 1))
        ranked = logits.copy()
        ranked[np.arange(photos), self.labels] = np.inf
        return np.argpartition(-ranked, most - 1, axis=1)[:, :most]

    def _slopes(self, columns: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Derivatives [m, N, C] of the kept logits along `columns` [m, K, D]."""
        count, classes, dim = columns.shape
        if kept.shape[1] == classes:
            every = columns.reshape(-1, dim) @ (self.scale * self.features).T
            return np.ascontiguousarray(every.reshape(count, classes, -1).transpose(0, 2, 1))
        slopes = np.empty((count, *kept.shape), np.float32)
        for k in range(classes):
            photos, slots = np.nonzero(kept == k)
            slopes[:, photos, slots] = columns[:, k] @ (self.scale * self.features[photos]).T
        return slopes


class CrossEntropyModel:
    """Mean cross-entropy of logits that move linearly; a `LocalModel`."""

    def __init__(self, start: np.ndarray, rest: np.ndarray, slopes: np.ndarray, wanted: np.ndarray):
        """Logits `start` [N, C], their derivatives `slopes` [m, N, C], one-hot `wanted` [N, C].

        `rest` [N, 1] is one more logit, of the classes left out, which stay where they are; [N, 0] where none is.
        """
        self._start, self._rest, self._wanted = start, rest, wanted
        self._slopes = slopes
        self._flat = slopes.reshape(len(slopes), -1)

    def _probabilities(self, a: np.ndarray) -> np.ndarray:
        moved = self._start + (a.astype(np.float32) @ self._flat).reshape(self._start.shape)
        return softmax(np.concatenate([moved, self._rest], axis=1))[:, : moved.shape[1]]

    def gradient(self, a: np.ndarray) -> np.ndarray:
        """[m]: slopes times (probability - one-hot), mean over the photos."""
        residual = (self._probabilities(a) - self._wanted) / len(self._start)
        return (self._flat @ residual.ravel()).astype(np.float64)

    def hessian(self, a: np.ndarray) -> np.ndarray:
        """[m, m]: mean over the photos of S (diag p - p p^T) S^T, S the slopes of a photo's logits."""
        p = self._probabilities(a) / np.float32(len(self._start))
        spread = self._flat * np.sqrt(p).ravel()
        centre = np.einsum("jnc,nc->jn", self._slopes, p) * np.sqrt(np.float32(len(self._start)))
        return (spread @ spread.T - centre @ centre.T).astype(np.float64)


def _log_sum_of_others(logits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """log of the summed exponentials of the logits that are not kept [N, 1]; [N, 0] where all are."""
    photos, classes = logits.shape
    if kept.shape[1] == classes:
        return np.zeros((photos, 0), np.float32)
    others = logits.copy()
    np.put_along_axis(others, kept, -np.inf, axis=1)
    top = others.max(axis=1, keepdims=True)
    return top + np.log(np.exp(others - top).sum(axis=1, keepdims=True))
