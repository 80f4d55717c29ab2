"""CLIP's towers as exported: prompt embeddings in, L2-normalised features out."""

import math

import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F


class UnsupportedTowerError(ValueError):
    """The text tower cannot be exported exactly; the message says why."""


def text_layout(text: nn.Module, pool_type: str) -> str:
    """`packed` or `dense`: how a text tower can be evaluated exactly with prompt embeddings as inputs.

    `text` is an open_clip CLIP or TextTransformer. Packing needs a causal mask (tokens after the end token
    and other classes' tokens never reach the output) and pooling at the end token; every other plain
    transformer runs dense, all positions and the padding included.

    Raises UnsupportedTowerError where neither is exact.
    """
    if not hasattr(text, "transformer") or not hasattr(text, "token_embedding"):
        raise UnsupportedTowerError(f"its text tower is a {type(text).__name__} (a Hugging Face encoder), which takes no prompt embeddings")
    if getattr(text, "cls_emb", None) is not None:
        raise UnsupportedTowerError("its text tower appends a class token behind the padding (CoCa), so a prompt has no end token to read")
    if getattr(text, "use_pad_mask", False):
        raise UnsupportedTowerError("its text tower masks padding by token id, which prompt embeddings do not have")
    blocks = text.transformer.resblocks
    if not all(type(b) is ResidualAttentionBlock and isinstance(b.attn, nn.MultiheadAttention) for b in blocks):
        raise UnsupportedTowerError(f"its text tower is built of {type(blocks[0]).__name__}, of which only the plain form is known")
    causal = text.attn_mask is not None
    return "packed" if causal and pool_type in ("argmax", "eos") else "dense"


class ImageTower(nn.Module):
    """pixel_values [N, 3, H, W] -> image_features [N, D]."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def forward(self, pixel_values: Tensor) -> Tensor:
        return F.normalize(self.visual(pixel_values), dim=-1)


class TokenTable(nn.Module):
    """token_ids [T] -> token_embeddings [T, W]; the device reads names and initial words through it."""

    def __init__(self, text: nn.Module):
        super().__init__()
        self.weight = nn.Parameter(text.token_embedding.weight.detach().clone(), requires_grad=False)

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.weight[token_ids]


class TextTower(nn.Module):
    """What the packed and the dense tower share: open_clip's blocks, with the attention mask as an input."""

    def __init__(self, text: nn.Module):
        super().__init__()
        self.blocks = text.transformer.resblocks
        self.ln_final = text.ln_final
        self.projection = text.text_projection
        self.register_buffer("positional_embedding", text.positional_embedding.detach().clone())

    @staticmethod
    def block(block: ResidualAttentionBlock, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """One residual block for the rows `queries` [B, Q, W], attending to `keys` [B, L, W]; `mask` [Q, L] is added."""
        attention = block.attn
        batch, width, heads = queries.shape[0], queries.shape[2], attention.num_heads

        def split(rows: Tensor) -> Tensor:
            return rows.reshape(batch, -1, heads, width // heads).transpose(1, 2)

        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        if keys is queries:
            projected = F.linear(block.ln_1(queries), weight, bias).chunk(3, -1)
        else:
            own = F.linear(block.ln_1(queries), weight[:width], bias[:width])
            projected = (own, *F.linear(block.ln_1(keys), weight[width:], bias[width:]).chunk(2, -1))
        q, k, v = (split(rows) for rows in projected)
        scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(width // heads)) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, -1, width)
        rows = queries + block.ls_1(attention.out_proj(mixed))
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
    """All K class prompts of a candidate in one sequence: start token, context, then every class's own tokens.

    `mask` lets a class token see the start, the context and the earlier tokens of its own class, `positions`
    restart behind the context for each class, `eot` lists the end tokens' rows. Exact for causal towers.
    """

    def __init__(self, text: nn.Module, start_token: int):
        super().__init__(text)
        self.register_buffer("start", text.token_embedding.weight[start_token].detach().clone().reshape(1, 1, -1))

    def forward(self, ctx: Tensor, names: Tensor, positions: Tensor, mask: Tensor, eot: Tensor) -> Tensor:
        """ctx [P, n, W], names [T, W], positions [1+n+T], mask [1+n+T, 1+n+T], eot [K] -> text_features [P, K, D]."""
        candidates = ctx.shape[0]
        start = self.start.expand(candidates, -1, -1)
        rows = torch.cat([start, ctx, names.unsqueeze(0).expand(candidates, -1, -1)], 1)
        rows = rows + self.positional_embedding[positions]
        for block in self.blocks[:-1]:
            rows = self.block(block, rows, rows, mask)
        # Only the end tokens are read out, so the last block is computed for them alone.
        return self.project(self.block(self.blocks[-1], rows[:, eot], rows, mask[eot]))


class DenseTextTower(TextTower):
    """All positions of all K prompts, padding included: for towers without a causal mask."""

    def __init__(self, text: nn.Module):
        super().__init__(text)
        length = text.context_length
        causal = text.attn_mask
        self.register_buffer("mask", torch.zeros(length, length) if causal is None else causal.detach().clone())

    def forward(self, ctx: Tensor, before: Tensor, after: Tensor, eot: Tensor) -> Tensor:
        """ctx [P, n, W], before [K, s, W], after [K, L-s-n, W], eot [K] (row to pool) -> text_features [P, K, D]."""
        candidates, classes, width = ctx.shape[0], after.shape[0], ctx.shape[2]
        before = before.unsqueeze(0).expand(candidates, -1, -1, -1)
        after = after.unsqueeze(0).expand(candidates, -1, -1, -1)
        middle = ctx.unsqueeze(1).expand(-1, classes, -1, -1)
        length = self.positional_embedding.shape[0]
        rows = torch.cat([before, middle, after], 2).reshape(candidates * classes, length, width)
        rows = rows + self.positional_embedding
        for block in self.blocks:
            rows = self.block(block, rows, rows, self.mask)
        pooled = rows.reshape(candidates, classes, length, width)[:, torch.arange(classes), eot]
        return self.project(pooled)


def as_text_module(model: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds the text tower's parts, and its pool type."""
    text = getattr(model, "text", model)
    pool_type = text.pool_type if isinstance(text, TextTransformer) else getattr(text, "text_pool_type", "argmax")
    return text, pool_type
