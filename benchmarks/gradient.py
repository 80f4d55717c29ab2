"""CoOp: the same prompt, trained with true gradients. Needs torch; the reference that forward-only
methods are held against.

Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022: four context vectors from
"a photo of a", cross-entropy on the same cached photo features. Full batches, Adam, 200 steps; the
learning rate is the one whose last prompt has the lowest validation loss.
"""

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.descent import RATES
from edge_sharpzo.pipeline import Prepared
from edge_sharpzo.tuning.loss import accuracy, cross_entropy
from export.check import context_replaced
from export.source import load_source

STEPS = 200


def coop(model_name: str, problem: Prepared) -> dict[str, float]:
    """Held-out accuracy of the prompt trained at the best rate, that rate, and its training and
    validation loss.
    """
    return trained(model_name, problem)[0]


def trained(model_name: str, problem: Prepared) -> tuple[dict[str, float], np.ndarray]:
    """As `coop`, and the context vectors [n_ctx, W]."""
    model = load_source(model_name, None).model.requires_grad_(False)
    clip, prompt = problem.task.clip, problem.task.prompt
    card = clip.card.text
    context = torch.from_numpy(clip.token_embeddings(prompt.context))
    rows = [[*card.start, *prompt.context, *row] for row in prompt.classes]
    length = max(len(row) for row in rows)
    ids = torch.tensor([row + [card.pad] * (length - len(row)) for row in rows])
    shorten(model, length)
    features, labels = (torch.from_numpy(np.asarray(part)) for part in problem.splits.train)
    best: dict[str, float] = {}
    best_context = context.numpy()
    for rate in RATES:
        ctx = context.clone().requires_grad_(True)
        adam = torch.optim.Adam([ctx], lr=rate)
        for _ in range(STEPS):
            with context_replaced(model, ctx, len(card.start)):
                text = model.encode_text(ids, normalize=True)
            loss = F.cross_entropy(clip.card.logit_scale * features @ text.T, labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad(), context_replaced(model, ctx, len(card.start)):
            final = model.encode_text(ids, normalize=True).numpy()
        val_loss = float(cross_entropy(final[None], *problem.splits.val, clip.card.logit_scale)[0])
        if not best or val_loss < best["val_loss"]:
            held_out = accuracy(final, *problem.splits.test) or 0.0
            best_context = ctx.detach().numpy()
            best = {
                "held_out": held_out,
                "rate": rate,
                "loss": float(loss.detach()),
                "val_loss": val_loss,
            }
    return best, best_context


def shorten(model: torch.nn.Module, length: int) -> None:
    """Cuts a causal text tower to `length` positions, which changes no number and saves most of the
    time.
    """
    text = getattr(model, "text", model)
    if text.attn_mask is None:
        raise ValueError("the text tower is not causal: its padding takes part")
    text.positional_embedding = torch.nn.Parameter(
        text.positional_embedding[:length], requires_grad=False
    )
    text.attn_mask = text.attn_mask[:length, :length]
