"""Trains the text tower to land on the teacher's vectors."""

import math
import time
from collections.abc import Callable

import torch
from open_clip import IMAGENET_CLASSNAMES
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.recipe.texts import MAIN_TEMPLATE, TextSampler

TEACHER_SCALE = (
    16.0  # of the cosines that the teacher's and the student's class distributions are compared at
)
BATCH = 512
PEAK_RATE = 1.2e-3
WARMUP_STEPS = 80
TOKEN_STD = 0.04


def text_tower(
    token_vectors: torch.Tensor, width: int, layers: int, heads: int, dim: int
) -> TextTransformer:
    """CLIP's causal text transformer; its token table is the PCA of `token_vectors` [V, any]."""
    tower = TextTransformer(77, len(token_vectors), width, heads, layers, output_dim=dim)
    centred = token_vectors - token_vectors.mean(0)
    basis = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :width]
    table = centred @ basis
    with torch.no_grad():
        tower.token_embedding.weight.copy_(table / table.std() * TOKEN_STD)
        tower.token_embedding.weight[-2:].normal_(0, 0.02)  # start and end tokens have no words
    return tower


class Encoder:
    """The tower as called in training: any length, bfloat16 inside, L2-normalised float32 out."""

    def __init__(self, tower: TextTransformer):
        self.tower = tower
        self.mask = tower.build_causal_mask()

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Features [batch, dim] of ids [batch, length]."""
        length = ids.shape[1]
        self.tower.attn_mask = self.mask[:length, :length]
        # On CPUs torch's fused attention has a backward pass that is many times slower than plain
        # products.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            return F.normalize(self.tower(ids).float(), dim=-1)


def train(
    tower: TextTransformer, sampler: TextSampler, steps: int, save: Callable[[], None]
) -> None:
    """`steps` of AdamW on (1 - cosine) + KL / 2 over the 1,000 classes; prints progress, saves
    every 200 steps.
    """
    classes = sampler.targets.classes
    encoder = Encoder(tower)
    matrices = [p for n, p in tower.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    others = [p for n, p in tower.named_parameters() if p.ndim < 2 or "embedding" in n]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
    started, average = time.time(), None
    queue: list[tuple[torch.Tensor, torch.Tensor]] = []
    for step in range(1, steps + 1):
        if not queue:
            queue = sampler.batches(8, BATCH)
        ids, wanted = queue.pop()
        rate = (
            PEAK_RATE
            * min(1, step / WARMUP_STEPS)
            * (0.49 * (1 + math.cos(math.pi * step / steps)) + 0.02)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        got = encoder(ids)
        cosine = (got * wanted).sum(1).mean()
        teacher = (TEACHER_SCALE * wanted @ classes.T).log_softmax(1)
        student = (TEACHER_SCALE * got @ classes.T).log_softmax(1)
        loss = 1 - cosine + 0.5 * F.kl_div(student, teacher, log_target=True, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        average = loss.item() if average is None else 0.95 * average + 0.05 * loss.item()
        if step % 50 == 0 or step == steps:
            spent = time.time() - started
            left = spent / step * (steps - step)
            print(
                f"step {step}/{steps}  loss {average:.3f}  cosine {cosine:.3f}  {spent:.0f} s, "
                f"{left:.0f} s left",
                flush=True,
            )
        if step % 200 == 0 or step == steps:
            save()
    tower.attn_mask = encoder.mask


@torch.no_grad()
def class_recall(tower: TextTransformer, classes: torch.Tensor) -> float:
    """Share of the 1,000 class names, in the main template, whose features lie nearest their own
    target.
    """
    ids = SimpleTokenizer()([MAIN_TEMPLATE.format(name) for name in IMAGENET_CLASSNAMES])[:, :24]
    encoder = Encoder(tower.eval())
    features = torch.cat([encoder(part) for part in ids.split(250)])
    tower.train()
    tower.attn_mask = encoder.mask
    return ((features @ classes.T).argmax(1) == torch.arange(1000)).float().mean().item()
