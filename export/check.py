"""Compares a written `clip.onnx`, through the device's own code, with open_clip in PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.images import preprocess
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.tuning.loss import cross_entropy
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE

MAX_ABS = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.1}
MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.97}
# Share of photos with PyTorch's zero-shot class.
MIN_SAME = {
    "fp32": 1.0,
    "fp16": 0.99,
    "int8": 0.99,
}
BATCH = 16  # photos in one call
THINGS = [
    "person",
    "animal",
    "plant",
    "building",
    "vehicle",
    "piece of cloth",
    "meal",
    "landscape",
    "tool",
    "pattern",
]
NAME_WORDS = [
    "red",
    "apple",
    "old",
    "wooden",
    "house",
    "green",
    "tree",
    "small",
    "dog",
    "bicycle",
    "wheel",
    "lake",
    "river",
]


@dataclass
class Check:
    """What was compared and found, and whether that will do."""

    what: str
    holds: bool


@dataclass
class Agreement:
    """How close two sets of L2-normalised features are."""

    what: str
    max_abs: float
    cosine: float

    @classmethod
    def of(cls, what: str, ours: np.ndarray, theirs: np.ndarray) -> "Agreement":
        return cls(what, float(np.abs(ours - theirs).max()), float((ours * theirs).sum(-1).min()))

    def check(self, precision: str) -> Check:
        """Whether it will do for weights stored in `precision`."""
        holds = self.max_abs <= MAX_ABS[precision] and self.cosine >= MIN_COSINE[precision]
        return Check(f"{self.what}: max-abs {self.max_abs:.1e}, cosine {self.cosine:.7f}", holds)


@contextmanager
def context_replaced(model: nn.Module, ctx: Tensor, first: int) -> Iterator[None]:
    """Within it, open_clip's dense text tower reads `ctx` [n, W] from position `first` in place of
    token embeddings.
    """
    table = getattr(model, "text", model).token_embedding

    def replace(_: nn.Module, __: Any, rows: Tensor) -> Tensor:
        rows = rows.clone()
        rows[:, first : first + len(ctx)] = ctx
        return rows

    handle = table.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def dense_reference(model: nn.Module, ids: Tensor, contexts: np.ndarray, first: int) -> np.ndarray:
    """open_clip's text features [P, K, D] for prompts `ids` [K, L] with `contexts` [P, n, W] in
    place from `first`.
    """
    features = []
    for ctx in torch.from_numpy(contexts):
        with torch.no_grad(), context_replaced(model, ctx, first):
            features.append(model.encode_text(ids, normalize=True).numpy())
    return np.stack(features)


def names_for_check(count: int, longest: int, seed: int) -> list[str]:
    """`count` class names of 1 to `longest` words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(NAME_WORDS, 1 + int(rng.integers(longest)))) for _ in range(count)]


def check_text(clip: ClipOnnx, model: nn.Module, tokenizer: Any, seed: int = 0) -> list[Agreement]:
    """Text tower at several P, class counts, name lengths and context lengths, with random
    contexts; in integers too where weights are.
    """
    rng = np.random.default_rng(seed)
    card = clip.card.text
    sessions = {"text ": clip.session(Tower.TEXT)}
    if clip.card.precision == "int8":
        sessions["text in integers "] = clip.session(Tower.TEXT, integer=True)
    results = []
    room = card.context_length - 8
    for candidates, classes, longest, n_ctx in (
        (1, 1, 1, 1),
        (3, 10, 4, 4),
        (16, 3, 1, 4),
        (2, 40, min(12, room // 2), min(16, room // 4)),
    ):
        names = names_for_check(classes, longest, seed)
        words = " ".join(["photo"] * n_ctx) + " {}."
        prompt = clip.prompts.for_tuning(names, words)
        ids = torch.tensor([clip.prompts.padded(words.replace("{}", n)) for n in names])
        if not torch.equal(ids, tokenizer([words.replace("{}", n) for n in names])):
            raise RuntimeError("the device's tokenizer and open_clip's differ")
        n = len(prompt.context)
        contexts = (
            rng.standard_normal((candidates, n, card.width)) * 4 * card.embedding_std
        ).astype(np.float32)
        theirs = dense_reference(model, ids, contexts, len(card.start))
        for way, session in sessions.items():
            tower = TextTower(clip, prompt.classes, n, session=session)
            results.append(
                Agreement.of(f"{way} P={candidates} K={classes} n_ctx={n}", tower(contexts), theirs)
            )
    return results


def check_images(
    clip: ClipOnnx, model: nn.Module, photos: list[Path]
) -> tuple[list[Agreement], np.ndarray, np.ndarray]:
    """Image tower on photos with open_clip's pixels and with the device's own; returns the features
    of both sides.
    """
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    theirs_pixels, our_pixels = [], []
    for photo in photos:
        with Image.open(photo) as image:
            theirs_pixels.append(transform(image).numpy())
            our_pixels.append(preprocess(image.convert("RGB"), clip.card.image))
    session = clip.session(Tower.IMAGE, integer=True)

    def encoded(pixels: list[np.ndarray]) -> np.ndarray:
        batches = (np.stack(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH))
        return np.concatenate([session.run(None, {"pixel_values": batch})[0] for batch in batches])

    with torch.no_grad():
        batches = torch.from_numpy(np.stack(theirs_pixels)).split(BATCH)
        theirs = np.concatenate(
            [model.encode_image(batch, normalize=True).numpy() for batch in batches]
        )
    same_pixels, end_to_end = encoded(theirs_pixels), encoded(our_pixels)
    agreements = [
        Agreement.of(f"image {len(photos)} photos", same_pixels, theirs),
        Agreement.of(f"image {len(photos)} photos, device's own preprocessing", end_to_end, theirs),
    ]
    return agreements, same_pixels, theirs


def check_zero_shot(
    clip: ClipOnnx, model: nn.Module, tokenizer: Any, ours: np.ndarray, theirs: np.ndarray
) -> Check:
    """Zero-shot classes of photos, given as features [N, D] of both sides, among ten everyday
    things (ties within 1e-3 of a logit aside).

    States the loss too: how much less likely the device finds PyTorch's answers than PyTorch does.
    """
    prompts = [DEFAULT_TEMPLATE.replace("{}", name) for name in THINGS]
    rows = clip.prompts.as_written(THINGS, DEFAULT_TEMPLATE)
    text = template_features(TextTower(clip, rows, 0, integer=True), clip.card.text.width)
    with torch.no_grad():
        reference = model.encode_text(tokenizer(prompts), normalize=True).numpy()
    wanted, found = (
        clip.card.logit_scale * theirs @ reference.T,
        clip.card.logit_scale * ours @ text.T,
    )
    chosen, answers = found.argmax(1), wanted.argmax(1)
    same = float((wanted.max(1) - wanted[np.arange(len(wanted)), chosen] <= 1e-3).mean())
    loss, before = (
        float(cross_entropy(t[None], f, answers, clip.card.logit_scale)[0])
        for t, f in ((text, ours), (reference, theirs))
    )
    what = (
        f"zero-shot: {100 * same:.1f} % of {len(ours)} photos as PyTorch, "
        f"loss {loss:.4f} ({loss - before:+.4f})"
    )
    return Check(what, same >= MIN_SAME[clip.card.precision])
