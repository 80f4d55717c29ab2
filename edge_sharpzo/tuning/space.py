"""The space that is searched: from a low-dimensional vector w to a prompt's context vectors."""

import numpy as np


class PromptSpace:
    """`ctx = p0 + reshape(A @ w)` (SharpZO, section 3).

    p0 are the initial words' embeddings or a learned start, A is a fixed random Gaussian matrix;
    or, without `dim`, the standard deviation of the model's token embeddings times the identity.
    """

    def __init__(
        self,
        initial_context: np.ndarray,
        embedding_std: float,
        dim: int | None = 512,
        projection_std: float | None = None,
        seed: int = 0,
    ):
        """`initial_context` is p0 [n_ctx, W]; `dim` the length of w, None for n_ctx * W.

        `projection_std` is the standard deviation of A's entries; None scales them so that |w| has
        the unit of sqrt(dim) standard deviations of the token embeddings, which suits any model.
        """
        self.initial_context = initial_context
        self.dim = dim or initial_context.size
        self._unit = np.float32(embedding_std)
        self._projection: np.ndarray | None = None  # A, transposed [dim, n_ctx * W]
        if dim is not None:
            std = self._unit / np.sqrt(dim) if projection_std is None else projection_std
            rng = np.random.default_rng([seed, 0x5A])
            drawn = std * rng.standard_normal((dim, initial_context.size))
            self._projection = drawn.astype(np.float32)

    def contexts(self, points: np.ndarray) -> np.ndarray:
        """Contexts [P, n_ctx, W] float32 of points w [P, dim]."""
        points = np.asarray(points, np.float32)
        direct = self._projection is None
        shift = self._unit * points if direct else points @ self._projection
        return self.initial_context + shift.reshape(-1, *self.initial_context.shape)
