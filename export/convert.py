"""From a loaded model to a checked `clip.onnx`."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from edge_sharpzo.clip.card import (
    ImageCard,
    Interpolation,
    Layout,
    ModelCard,
    Pool,
    ResizeMode,
    TextCard,
)
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.prompts import DEFAULT_WORDS
from export.check import Agreement, Check, check_images, check_text, check_zero_shot
from export.graph import Towers, build_graph, store_in_half, store_in_int8, write
from export.search_start import learned_start
from export.source import ExportError, Source
from export.tokenizer import TokenizerCard, tokenizer_card
from export.towers import (
    DenseTextTower,
    ImageTower,
    PackedTextTower,
    TokenTable,
    UnsupportedTowerError,
    as_text_module,
    text_layout,
)

POOLS = {"argmax": Pool.END, "eos": Pool.END, "last": Pool.LAST, "first": Pool.FIRST}


def model_card(
    source: Source, text: nn.Module, pool: Pool, layout: Layout, tokens: TokenizerCard
) -> ModelCard:
    """Everything the device must know about `source`, all but how its weights are stored."""
    table = text.token_embedding.weight.detach().float()
    bias = getattr(source.model, "logit_bias", None)
    image, ids = source.preprocess, tokens.ids
    return ModelCard(
        name=source.name,
        weights=source.weights,
        weights_sha256=source.sha256,
        licence=source.licence,
        precision="fp32",
        feature_dim=int(_feature_dim(source)),
        logit_scale=float(source.model.logit_scale.detach().exp()),
        logit_bias=float(bias.detach()) if bias is not None else 0.0,
        image=ImageCard(
            size=(int(image["size"][0]), int(image["size"][1])),
            resize_mode=ResizeMode(image["resize_mode"]),
            interpolation=Interpolation(image["interpolation"]),
            mean=tuple(image["mean"]),
            std=tuple(image["std"]),
            fill=int(image.get("fill_color", 0)),
        ),
        text=TextCard(
            layout=layout,
            width=table.shape[1],
            context_length=text.context_length,
            start=tuple(ids.start),
            end=tuple(ids.end),
            pad=ids.pad,
            pool=pool,
            clean=ids.clean,
            embedding_std=float(table.std()),
            words=DEFAULT_WORDS,
            n_ctx=len(tokens.prompts.encode(DEFAULT_WORDS)),
        ),
        versions={package: version(package) for package in ("open_clip_torch", "torch", "onnx")},
    )


def _feature_dim(source: Source) -> int:
    height, width = source.preprocess["size"]
    with torch.no_grad():
        return source.model.encode_image(torch.zeros(1, 3, height, width)).shape[1]


def export(source: Source, out: Path, precision: str, search_start: bool = False) -> list[Path]:
    """Writes `source` to `out`; returns the files written. Nothing is checked yet, see `verify`.

    With `search_start` a start of the search is learned, which takes minutes, and goes along.
    Raises ExportError where its text tower or tokenizer has no exact form on the device.
    """
    text, pool_type = as_text_module(source.model)
    try:
        layout = text_layout(text, pool_type)
    except UnsupportedTowerError as error:
        raise ExportError(f"{source.name} cannot be exported: {error}") from error
    tokens = tokenizer_card(source.tokenizer, text.context_length)
    card = model_card(source, text, POOLS[pool_type], layout, tokens)
    card = replace(card, precision=precision)
    packed = layout is Layout.PACKED
    tower = PackedTextTower(text, tokens.ids.start[0]) if packed else DenseTextTower(text)
    table = TokenTable(text)
    model = build_graph(Towers(ImageTower(source.model.visual), tower, table), card)
    start = learned_start(tower, table, tokens.prompts, card) if search_start else None
    if precision == "int8":
        store_in_int8(model)
    store_in_half(model, lossy=precision != "fp32")
    return write(model, card, tokens.json, out, start)


def verify(source: Source, out: Path, photos: list[Path]) -> tuple[list[Agreement], Check]:
    """Compares the file with PyTorch: features, and zero-shot classes of the photos."""
    clip = ClipOnnx(out)
    images, ours, theirs = check_images(clip, source.model, photos)
    texts = check_text(clip, source.model, source.tokenizer)
    zero_shot = check_zero_shot(clip, source.model, source.tokenizer, ours, theirs)
    return images + texts, zero_shot
