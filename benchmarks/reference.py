"""One loss evaluation as the published PyTorch loop makes it: what our query is compared with.

A re-creation from the method's description (Yang et al., SharpZO, arXiv 2506.20990, section 3, and
CoOp's way to build prompts), not the authors' code: every class prompt in full, all positions of
the text tower, one candidate at a time.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.towers import as_text_module


class PublishedEvaluation:
    """Mean cross-entropy of cached image features for one context, in PyTorch, dense."""

    def __init__(
        self,
        model: nn.Module,
        ids: Tensor,
        first: int,
        n_ctx: int,
        features: np.ndarray,
        labels: np.ndarray,
    ):
        """`model` is an open_clip model with a causal text tower; `ids` [K, L] are the class
        prompts' tokens.

        The context takes the `n_ctx` positions from `first` on; image `features` [N, D] with
        `labels` [N].
        """
        self.text: Any = as_text_module(model)[0]
        with torch.no_grad():
            rows = self.text.token_embedding(ids)
            self.scale = model.logit_scale.exp()
        self.prefix, self.suffix = rows[:, :first], rows[:, first + n_ctx :]
        self.ends = ids.argmax(1)  # the end token has the largest id
        self.features, self.labels = torch.from_numpy(features), torch.from_numpy(labels)

    def text_features(self, context: Tensor) -> Tensor:
        """Normalised features [K, D] of the class prompts with `context` [n, W]."""
        text, classes = self.text, len(self.prefix)
        rows = torch.cat([self.prefix, context.expand(classes, -1, -1), self.suffix], dim=1)
        rows = text.transformer(rows + text.positional_embedding, attn_mask=text.attn_mask)
        rows = text.ln_final(rows)[torch.arange(classes), self.ends]
        return F.normalize(rows @ text.text_projection, dim=-1)

    def __call__(self, context: Tensor) -> float:
        """The loss of `context` [n, W]."""
        with torch.no_grad():
            logits = self.scale * self.features @ self.text_features(context).T
            return float(F.cross_entropy(logits, self.labels))
