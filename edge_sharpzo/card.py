"""The model card that travels in `clip.onnx`'s own metadata: everything the device must know about a model."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_sharpzo.errors import UserError
from edge_sharpzo.storage import parse_json

FORMAT = 1
CARD_KEY = "edge_sharpzo"
TOKENIZER_KEY = "tokenizer.json"

RESIZE_MODES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
LAYOUTS = ("packed", "dense")
POOLS = ("end", "last", "first")
CLEANING = ("lower", "whitespace", "canonicalize")
MAX_IMAGE_SIDE = 2048


@dataclass(frozen=True)
class ImageCard:
    """How a photo becomes the image tower's input."""

    size: tuple[int, int]  # height, width in pixels
    resize_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: int = 0  # padding grey level of resize mode `longest`


@dataclass(frozen=True)
class TextCard:
    """How prompts are laid out for the text tower."""

    layout: str  # packed: all classes in one causal sequence; dense: every position of every class
    width: int
    context_length: int
    start: tuple[int, ...]  # token ids in front of every prompt
    end: tuple[int, ...]  # and behind it
    pad: int
    pool: str  # the position read out: the end token, the last or the first
    clean: str
    embedding_std: float  # of the token-embedding table; the unit of the tuner's scales
    words: str  # the initial context
    n_ctx: int


@dataclass(frozen=True)
class ModelCard:
    """One exported CLIP model."""

    name: str
    weights: str
    weights_sha256: str | None
    licence: str | None
    precision: str
    feature_dim: int
    logit_scale: float
    logit_bias: float
    image: ImageCard
    text: TextCard
    versions: dict[str, str]

    def to_json(self) -> str:
        """The card as stored under `CARD_KEY`."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)


def parse_card(metadata: Mapping[str, str], path: str) -> ModelCard:
    """Reads and checks the card; `path` names the file in messages. Raises UserError for a foreign or damaged one."""
    if CARD_KEY not in metadata or TOKENIZER_KEY not in metadata:
        raise UserError(f"{path} was not exported by edge-sharpzo (it carries no model card): make one with `make export` on a workstation")
    try:
        fields = parse_json(metadata[CARD_KEY])
        if fields.pop("format") != FORMAT:
            raise UserError(f"{path} has another format than this version reads ({FORMAT}): export it again with this version")
        image, text = fields.pop("image"), fields.pop("text")
        for name in ("size", "mean", "std"):
            image[name] = tuple(image[name])
        for name in ("start", "end"):
            text[name] = tuple(text[name])
        card = ModelCard(image=ImageCard(**image), text=TextCard(**text), **fields)
        _check(card)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} carries a damaged model card ({error}): export it again") from error
    return card


def _check(card: ModelCard) -> None:
    """Raises ValueError for values that no exporter writes."""
    image, text = card.image, card.text

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(what)

    def numbers(values: tuple[Any, ...], count: int) -> bool:
        return len(values) == count and all(isinstance(v, int | float) and math.isfinite(v) for v in values)

    def ids(values: tuple[Any, ...]) -> bool:
        return len(values) <= 8 and all(isinstance(v, int) and v >= 0 for v in values)

    whole = (image.fill, text.width, text.context_length, text.pad, text.n_ctx, card.feature_dim)
    require(all(isinstance(value, int) for value in whole), "a number is not whole")
    require(0 <= image.fill <= 255, "image fill")
    require(numbers(image.size, 2) and all(0 < s <= MAX_IMAGE_SIDE and s == int(s) for s in image.size), f"image size {image.size}")
    require(numbers(image.mean, 3) and numbers(image.std, 3) and min(image.std) > 0, "image mean or std")
    require(image.resize_mode in RESIZE_MODES and image.interpolation in INTERPOLATIONS, "image resizing")
    require(text.layout in LAYOUTS and text.pool in POOLS and text.clean in CLEANING, "text layout, pool or cleaning")
    require(0 < text.width <= 65536 and 0 < text.context_length <= 4096, "text size")
    require(ids(text.start) and ids(text.end) and text.pad >= 0, "token ids")
    require(0 < text.n_ctx < text.context_length and text.words.strip() != "", "initial context")
    require(numbers((text.embedding_std, card.logit_scale, card.logit_bias), 3), "a number is not finite")
    require(text.embedding_std > 0 and 0 < card.logit_scale <= 10_000 and card.feature_dim > 0, "a scale is not positive")
