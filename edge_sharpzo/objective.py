"""The black box: from a low-dimensional vector w to the few-shot loss of the prompt it stands for."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.text_tower import TextTower

DEFAULT_TEMPLATE = "a photo of a {}."
SLAB = 64  # candidates whose text features are held at once,
SLAB_LOGITS = 2**24  # or fewer, so that their logits stay below so many numbers


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


class PromptObjective:
    """`ctx = p0 + reshape(A @ w)` (SharpZO, section 3): p0 the initial words, A a fixed random Gaussian matrix.

    Every loss evaluation of one candidate on the whole training set is one query, counted by kind in `queries`.
    """

    def __init__(
        self,
        clip: ClipOnnx,
        names: Sequence[str],
        features: np.ndarray,
        labels: np.ndarray,
        *,
        template: str = DEFAULT_TEMPLATE,
        context_tokens: int | None = None,
        dim: int = 512,
        projection_std: float | None = None,
        seed: int = 0,
    ):
        """`names` of the K classes, training photos `features` [N, D] (L2-normalised) with `labels` [N].

        `projection_std` is the standard deviation of A's entries; None scales them so that |w| has the unit of
        sqrt(dim) standard deviations of the model's token embeddings, which suits any model.
        """
        prompt = clip.prompts.for_tuning(names, template, context_tokens)
        self.dim = dim
        self.features, self.labels = np.ascontiguousarray(features, np.float32), np.asarray(labels)
        self.logit_scale = clip.card.logit_scale
        self.initial_context = clip.token_embeddings(prompt.context)  # p0 [n_ctx, W]
        self.queries: Counter[str] = Counter()
        self._tower = TextTower(clip, prompt.classes, len(prompt.context))
        std = clip.card.text.embedding_std / np.sqrt(dim) if projection_std is None else projection_std
        rng = np.random.default_rng([seed, 0x5A])
        self._projection = (std * rng.standard_normal((dim, self.initial_context.size))).astype(np.float32)  # A, transposed

    def contexts(self, points: np.ndarray) -> np.ndarray:
        """Contexts [P, n_ctx, W] float32 of points w [P, dim]."""
        shift = np.asarray(points, np.float32) @ self._projection
        return self.initial_context + shift.reshape(-1, *self.initial_context.shape)

    def text_features(self, points: np.ndarray, kind: str) -> np.ndarray:
        """L2-normalised text features [P, K, D] of points [P, dim]; counts P queries of `kind`."""
        self.queries[kind] += len(points)
        return self._tower(self.contexts(points))

    def losses(self, points: np.ndarray, kind: str) -> np.ndarray:
        """Training loss [P] float64 of points [P, dim]; counts P queries of `kind`."""
        size = max(1, min(SLAB, SLAB_LOGITS // (len(self.labels) * self._tower.classes)))
        slabs = (self.text_features(points[i : i + size], kind) for i in range(0, len(points), size))
        return np.concatenate([self.loss_of(text) for text in slabs])

    def loss_of(self, text: np.ndarray) -> np.ndarray:
        """Training loss [P] of text features [P, K, D] at hand; no query."""
        return cross_entropy(text, self.features, self.labels, self.logit_scale)
