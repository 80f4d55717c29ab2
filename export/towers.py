"""CLIP's towers as exported: prompt embeddings in, L2-normalised features out."""

import math
from collections.abc import Sequence

import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from edge_sharpzo.clip.card import Layout


class UnsupportedTowerError(ValueError):
    """The text tower cannot be exported exactly; the message says why."""


def text_layout(text: nn.Module, pool_type: str) -> Layout:
    """`packed` or `dense`: how a text tower can be evaluated exactly with prompt embeddings as
    inputs.

    `text` is an open_clip CLIP or TextTransformer. Packing needs a causal mask (tokens after the
    end token and other classes' tokens never reach the output) and pooling at the end token; every
    other plain transformer runs dense, all positions and the padding included.

    Raises UnsupportedTowerError where neither is exact.
    """
    if not hasattr(text, "transformer") or not hasattr(text, "token_embedding"):
        raise UnsupportedTowerError(
            f"its text tower is a {type(text).__name__} (a Hugging Face encoder), which takes no "
            "prompt embeddings"
        )
    if getattr(text, "cls_emb", None) is not None:
        raise UnsupportedTowerError(
            "its text tower appends a class token behind the padding (CoCa), so a prompt has no "
            "end token to read"
        )
    if getattr(text, "use_pad_mask", False):
        raise UnsupportedTowerError(
            "its text tower masks padding by token id, which prompt embeddings do not have"
        )
    blocks = text.transformer.resblocks
    if not all(
        type(b) is ResidualAttentionBlock and isinstance(b.attn, nn.MultiheadAttention)
        for b in blocks
    ):
        raise UnsupportedTowerError(
            f"its text tower is built of {type(blocks[0]).__name__}, of which only the plain form "
            "is known"
        )
    causal = text.attn_mask is not None
    packs = causal and pool_type in ("argmax", "eos") and len(blocks) > 1
    return Layout.PACKED if packs else Layout.DENSE


class ImageTower(nn.Module):
    """pixel_values [N, 3, H, W] -> image_features [N, D]."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def forward(self, pixel_values: Tensor) -> Tensor:
        return F.normalize(self.visual(pixel_values), dim=-1)


class TokenTable(nn.Module):
    """token_ids [T] -> token_embeddings [T, W]; the device reads names and initial words through
    it.
    """

    def __init__(self, text: nn.Module):
        super().__init__()
        self.weight = nn.Parameter(
            text.token_embedding.weight.detach().clone(), requires_grad=False
        )

    def forward(self, token_ids: Tensor) -> Tensor:
        return F.embedding(token_ids, self.weight)


class TextTower(nn.Module):
    """What the packed and the dense tower share: open_clip's blocks, with the attention mask as an
    input.
    """

    def __init__(self, text: nn.Module):
        super().__init__()
        self.blocks = text.transformer.resblocks
        self.ln_final = text.ln_final
        self.projection = text.text_projection
        self.register_buffer("positional_embedding", text.positional_embedding.detach().clone())

    @staticmethod
    def in_projection(block: ResidualAttentionBlock, rows: Tensor) -> Tensor:
        """Queries, keys and values [B, L, 3 W] of rows [B, L, W]."""
        return F.linear(block.ln_1(rows), block.attn.in_proj_weight, block.attn.in_proj_bias)

    @staticmethod
    def block(
        block: ResidualAttentionBlock, rows: Tensor, projected: Sequence[Tensor], mask: Tensor
    ) -> Tensor:
        """One residual block for `rows` [B, Q, W] with queries [B, Q, W], keys and values [B, L,
        W]; `mask` [Q, L] is added.
        """
        batch, width, heads = rows.shape[0], rows.shape[2], block.attn.num_heads
        q, k, v = (
            part.reshape(batch, -1, heads, width // heads).transpose(1, 2) for part in projected
        )
        scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(width // heads)) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, -1, width)
        rows = rows + block.ls_1(block.attn.out_proj(mixed))
        return rows + block.ls_2(block.mlp(block.ln_2(rows)))

    def project(self, rows: Tensor) -> Tensor:
        """Normalised features [..., D] of pooled rows [..., W]."""
        rows = self.ln_final(rows)
        if isinstance(self.projection, nn.Linear):
            rows = self.projection(rows)
        elif self.projection is not None:
            rows = rows @ self.projection
        return F.normalize(rows, dim=-1)


class PackedTextTower(TextTower):
    """All K class prompts of a candidate in one sequence: start token, context, then every class's
    own tokens.

    `mask` lets a class token see the start, the context and the earlier tokens of its own class,
    `positions` restart behind the context for each class, `eot` lists the end tokens' rows. Exact
    for causal towers.
    """

    def __init__(self, text: nn.Module, start_token: int):
        super().__init__(text)
        self.register_buffer(
            "start", text.token_embedding.weight[start_token].detach().clone().reshape(1, -1)
        )
        last = self.blocks[-1].attn
        width = text.transformer.width
        for name, rows in (("q", slice(width)), ("kv", slice(width, None))):
            self.register_buffer(f"{name}_weight", last.in_proj_weight[rows].detach().clone())
            self.register_buffer(f"{name}_bias", last.in_proj_bias[rows].detach().clone())

    def forward(
        self, ctx: Tensor, names: Tensor, positions: Tensor, mask: Tensor, eot: Tensor
    ) -> Tensor:
        """ctx [P, n, W], names [T, W], positions [1+n+T], mask [1+n+T, 1+n+T], eot [K] ->
        text_features [P, K, D].
        """
        candidates, first = ctx.shape[0], self.blocks[0]
        behind = 1 + ctx.shape[1]
        where = self.positional_embedding[positions]
        parts = (self.start + where[:1], ctx + where[1:behind], names + where[behind:])

        def joined(start: Tensor, context: Tensor, own: Tensor) -> Tensor:
            return torch.cat(
                [start.expand(candidates, -1, -1), context, own.expand(candidates, -1, -1)], 1
            )

        rows = joined(*parts)
        # The first projection of all rows but the context's is the same for every candidate.
        projected = joined(*(self.in_projection(first, part) for part in parts)).chunk(3, -1)
        rows = self.block(first, rows, projected, mask)
        for block in self.blocks[1:-1]:
            rows = self.block(block, rows, self.in_projection(block, rows).chunk(3, -1), mask)
        # Only the end tokens are read out, so the last block is computed for them alone.
        last = self.blocks[-1]
        keys, values = F.linear(last.ln_1(rows), self.kv_weight, self.kv_bias).chunk(2, -1)
        ends = rows[:, eot]
        queries = F.linear(last.ln_1(ends), self.q_weight, self.q_bias)
        return self.project(self.block(last, ends, (queries, keys, values), mask[eot]))


class DenseTextTower(TextTower):
    """All positions of all K prompts, padding included: for towers without a causal mask."""

    def __init__(self, text: nn.Module):
        super().__init__(text)
        length = text.context_length
        causal = text.attn_mask
        self.register_buffer(
            "mask", torch.zeros(length, length) if causal is None else causal.detach().clone()
        )

    def forward(self, ctx: Tensor, before: Tensor, after: Tensor, eot: Tensor) -> Tensor:
        """ctx [P, n, W], before [K, s, W], after [K, L-s-n, W], eot [K] (row to pool) ->
        text_features [P, K, D].
        """
        candidates, classes, width = ctx.shape[0], after.shape[0], ctx.shape[2]
        before = before.unsqueeze(0).expand(candidates, -1, -1, -1)
        after = after.unsqueeze(0).expand(candidates, -1, -1, -1)
        middle = ctx.unsqueeze(1).expand(-1, classes, -1, -1)
        length = self.positional_embedding.shape[0]
        rows = torch.cat([before, middle, after], 2).reshape(candidates * classes, length, width)
        rows = rows + self.positional_embedding
        for block in self.blocks:
            rows = self.block(block, rows, self.in_projection(block, rows).chunk(3, -1), self.mask)
        pooled = rows.reshape(candidates, classes, length, width)[:, torch.arange(classes), eot]
        return self.project(pooled)


def as_text_module(model: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds the text tower's parts, and its pool type."""
    text = getattr(model, "text", model)
    pool_type = (
        text.pool_type
        if isinstance(text, TextTransformer)
        else getattr(text, "text_pool_type", "argmax")
    )
    return text, pool_type
