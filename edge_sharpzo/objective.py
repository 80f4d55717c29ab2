"""The black box: from a low-dimensional vector w to the few-shot loss of the prompt it stands for."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.loss import FewShotLoss
from edge_sharpzo.text_tower import TextTower

DEFAULT_TEMPLATE = "a photo of a {}."
SLAB = 64  # candidates whose text features are held at once,
SLAB_LOGITS = 2**24  # or fewer, so that their logits stay below so many numbers


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
        dim: int | None = 512,
        projection_std: float | None = None,
        seed: int = 0,
        later: tuple[np.ndarray, np.ndarray] | None = None,
        integer: bool = False,
    ):
        """`names` of the K classes, training photos `features` [N, D] (L2-normalised) with `labels` [N].

        `later` are photos of the same form that join the loss only with `loss.count_all()`.

        `dim` is the length of w; None for the whole prompt space, n_ctx * W, with A the standard deviation of the
        model's token embeddings times the identity. `projection_std` is the standard deviation of A's entries; None
        scales them so that |w| has the unit of sqrt(dim) such standard deviations, which suits any model. `integer` takes
        the products in integers where weights are stored so, which finite differences do not survive; see `integer.py`.
        """
        prompt = clip.prompts.for_tuning(names, template, context_tokens)
        clip.let_go()
        self.loss = FewShotLoss(features, labels, clip.card.logit_scale, later)
        self.logit_scale = clip.card.logit_scale
        self.initial_context = clip.token_embeddings(prompt.context)  # p0 [n_ctx, W]
        self.dim = dim or self.initial_context.size
        self.queries: Counter[str] = Counter()
        self._tower = TextTower(clip, prompt.classes, len(prompt.context), integer=integer)
        self._unit = np.float32(clip.card.text.embedding_std)
        self._projection: np.ndarray | None = None  # A, transposed
        if dim is not None:
            std = self._unit / np.sqrt(dim) if projection_std is None else projection_std
            rng = np.random.default_rng([seed, 0x5A])
            self._projection = (std * rng.standard_normal((dim, self.initial_context.size))).astype(np.float32)

    def contexts(self, points: np.ndarray) -> np.ndarray:
        """Contexts [P, n_ctx, W] float32 of points w [P, dim]."""
        points = np.asarray(points, np.float32)
        shift = self._unit * points if self._projection is None else points @ self._projection
        return self.initial_context + shift.reshape(-1, *self.initial_context.shape)

    def text_features(self, points: np.ndarray, kind: str) -> np.ndarray:
        """L2-normalised text features [P, K, D] of points [P, dim]; counts P queries of `kind`."""
        self.queries[kind] += len(points)
        return self._tower(self.contexts(points))

    def losses(self, points: np.ndarray, kind: str) -> np.ndarray:
        """Training loss [P] float64 of points [P, dim]; counts P queries of `kind`."""
        size = max(1, min(SLAB, SLAB_LOGITS // (len(self.loss.labels) * self._tower.classes)))
        slabs = (self.text_features(points[i : i + size], kind) for i in range(0, len(points), size))
        return np.concatenate([self.loss.values(text) for text in slabs])
