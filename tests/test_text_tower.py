"""Packing several class prompts into one sequence."""

from pathlib import Path

import numpy as np
import pytest

from edge_sharpzo.clip import text_tower
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.text_tower import MASKED, TextTower, chunks, pack


def test_two_classes_packed_by_hand() -> None:
    """Rows: start, context, then class A's two tokens and class B's one."""
    packing = pack([[7, 9], [9]], prefix=2)
    x = MASKED
    assert packing.ids.tolist() == [7, 9, 9]
    assert packing.positions.tolist() == [0, 1, 2, 3, 2]
    assert packing.eot.tolist() == [3, 4]
    assert packing.mask.tolist() == [
        [0, x, x, x, x],  # start sees itself
        [0, 0, x, x, x],  # context: start, itself
        [0, 0, 0, x, x],  # A's first token
        [0, 0, 0, 0, x],  # A's end token sees A's first
        [0, 0, x, x, 0],  # B's end token sees nothing of A
    ]


@pytest.mark.parametrize(
    ("lengths", "tokens", "wanted"),
    [
        ([2, 2, 2], 4, [(0, 2), (2, 3)]),
        ([9], 4, [(0, 1)]),
        ([1, 9, 1], 4, [(0, 1), (1, 2), (2, 3)]),
        ([2, 2], 100, [(0, 2)]),
    ],
)
def test_chunks_hold_at_most_so_many_tokens(
    lengths: list[int], tokens: int, wanted: list[tuple[int, int]]
) -> None:
    groups = chunks([[0] * n for n in lengths], tokens)
    assert [(g.start, g.stop) for g in groups] == wanted


def test_chunks_and_batches_do_not_change_the_features(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = ClipOnnx(tiny_onnx)
    names = [f"number {i} thing" for i in range(9)]
    prompt = clip.prompts.for_tuning(names, "a photo of a {}.")
    contexts = (
        np.random.default_rng(0).standard_normal((5, 4, clip.card.text.width)).astype(np.float32)
    )
    whole = TextTower(clip, prompt.classes, 4)(contexts)
    monkeypatch.setattr(text_tower, "CHUNK_TOKENS", 12)
    monkeypatch.setattr(text_tower, "BATCH", 2)
    assert np.abs(TextTower(clip, prompt.classes, 4)(contexts) - whole).max() < 1e-6
    assert whole.shape == (5, 9, clip.card.feature_dim)


def test_features_have_length_one(tiny_onnx: Path) -> None:
    clip = ClipOnnx(tiny_onnx)
    tower = TextTower(clip, clip.prompts.as_written(["cat", "dog"], "a {}."), 0)
    features = template_features(tower, clip.card.text.width)
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
