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

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.images import preprocess
from edge_sharpzo.text_tower import TextTower

MAX_ABS = {"fp32": 1e-4, "fp16": 5e-3}
MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999}
NAME_WORDS = ["red", "apple", "old", "wooden", "house", "green", "tree", "small", "dog", "bicycle", "wheel", "lake", "river"]


@dataclass
class Agreement:
    """How close two sets of L2-normalised features are."""

    what: str
    max_abs: float
    cosine: float

    @classmethod
    def of(cls, what: str, ours: np.ndarray, theirs: np.ndarray) -> "Agreement":
        return cls(what, float(np.abs(ours - theirs).max()), float((ours * theirs).sum(-1).min()))

    def holds(self, precision: str) -> bool:
        return self.max_abs <= MAX_ABS[precision] and self.cosine >= MIN_COSINE[precision]


@contextmanager
def context_replaced(model: nn.Module, ctx: Tensor, first: int) -> Iterator[None]:
    """Within it, open_clip's dense text tower reads `ctx` [n, W] from position `first` in place of token embeddings."""
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
    """open_clip's text features [P, K, D] for prompts `ids` [K, L] with `contexts` [P, n, W] in place from `first`."""
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
    """Text tower at several P, class counts, name lengths and context lengths, with random contexts."""
    rng = np.random.default_rng(seed)
    card = clip.card.text
    session = clip.session("text")
    results = []
    room = card.context_length - 8
    for candidates, classes, longest, n_ctx in ((1, 1, 1, 1), (3, 10, 4, 4), (16, 3, 1, 4), (2, 40, min(12, room // 2), min(16, room // 4))):
        names = names_for_check(classes, longest, seed)
        words = " ".join(["photo"] * n_ctx) + " {}."
        prompt = clip.prompts.for_tuning(names, words)
        ids = torch.tensor([clip.prompts.padded(words.replace("{}", n)) for n in names])
        if not torch.equal(ids, tokenizer([words.replace("{}", n) for n in names])):
            raise RuntimeError("the device's tokenizer and open_clip's differ")
        n = len(prompt.context)
        contexts = (rng.standard_normal((candidates, n, card.width)) * 4 * card.embedding_std).astype(np.float32)
        tower = TextTower(clip, prompt.classes, n, session=session)
        theirs = dense_reference(model, ids, contexts, len(card.start))
        results.append(Agreement.of(f"text  P={candidates} K={classes} n_ctx={n}", tower(contexts), theirs))
    return results


def check_images(clip: ClipOnnx, model: nn.Module, photos: list[Path]) -> tuple[list[Agreement], np.ndarray, np.ndarray]:
    """Image tower on photos with open_clip's pixels and with the device's own; returns the features of both sides."""
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    theirs_pixels, our_pixels = [], []
    for photo in photos:
        with Image.open(photo) as image:
            theirs_pixels.append(transform(image).numpy())
            our_pixels.append(preprocess(image.convert("RGB"), clip.card.image))
    session = clip.session("image")
    with torch.no_grad():
        theirs = model.encode_image(torch.from_numpy(np.stack(theirs_pixels)), normalize=True).numpy()
    same_pixels = session.run(None, {"pixel_values": np.stack(theirs_pixels)})[0]
    end_to_end = session.run(None, {"pixel_values": np.stack(our_pixels)})[0]
    agreements = [
        Agreement.of(f"image {len(photos)} photos", same_pixels, theirs),
        Agreement.of(f"image {len(photos)} photos, device's own preprocessing", end_to_end, theirs),
    ]
    return agreements, same_pixels, theirs


def zero_shot_agrees(clip: ClipOnnx, model: nn.Module, tokenizer: Any, ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> bool:
    """The same seeded class names give every photo the same class on both sides (ties within 1e-3 of a logit aside)."""
    names = names_for_check(10, 3, seed)
    text = TextTower(clip, clip.prompts.as_written(names, "a photo of a {}."), 0).as_written()
    with torch.no_grad():
        reference = model.encode_text(tokenizer([f"a photo of a {n}." for n in names]), normalize=True).numpy()
    wanted = clip.card.logit_scale * theirs @ reference.T
    chosen = (ours @ text.T).argmax(1)
    return bool((wanted.max(1) - wanted[np.arange(len(wanted)), chosen] <= 1e-3).all())
