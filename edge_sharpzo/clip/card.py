"""The model card in `clip.onnx`'s own metadata: everything the device must know of a model."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import parse_json

FORMAT = 1
CARD_KEY = "edge_sharpzo"
TOKENIZER_KEY = "tokenizer.json"

MAX_IMAGE_SIDE = 2048


class ResizeMode(StrEnum):
    """How a photo of any shape gets the tower's size."""

    SHORTEST = "shortest"  # its shortest side fits, the rest is cropped
    LONGEST = "longest"  # its longest side fits, the rest is padded
    SQUASH = "squash"  # both fit, whatever its shape


class Interpolation(StrEnum):
    """How pixels are resampled."""

    BICUBIC = "bicubic"
    BILINEAR = "bilinear"
    NEAREST = "nearest"


class Layout(StrEnum):
    """How prompts reach the text tower."""

    PACKED = "packed"  # all classes in one causal sequence
    DENSE = "dense"  # every position of every class


class Pool(StrEnum):
    """The position that the text tower reads out."""

    END = "end"  # the end token
    LAST = "last"
    FIRST = "first"


class Cleaning(StrEnum):
    """How text is cleaned before it becomes tokens."""

    LOWER = "lower"
    WHITESPACE = "whitespace"
    CANONICALIZE = "canonicalize"


@dataclass(frozen=True)
class ImageCard:
    """How a photo becomes the image tower's input."""

    size: tuple[int, int]  # height, width in pixels
    resize_mode: ResizeMode
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: int = 0  # padding grey level of resize mode `longest`


@dataclass(frozen=True)
class TextCard:
    """How prompts are laid out for the text tower."""

    layout: Layout
    width: int
    context_length: int
    start: tuple[int, ...]  # token ids in front of every prompt
    end: tuple[int, ...]  # and behind it
    pad: int
    pool: Pool
    clean: Cleaning
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


_IMAGE_KINDS: dict[str, Callable[[Any], Any]] = {
    "size": tuple,
    "mean": tuple,
    "std": tuple,
    "resize_mode": ResizeMode,
    "interpolation": Interpolation,
}
_TEXT_KINDS: dict[str, Callable[[Any], Any]] = {
    "start": tuple,
    "end": tuple,
    "layout": Layout,
    "pool": Pool,
    "clean": Cleaning,
}


def parse_card(metadata: Mapping[str, str], path: str) -> ModelCard:
    """Reads and checks the card; `path` names the file in messages.

    Raises UserError for a foreign or damaged one.
    """
    if CARD_KEY not in metadata or TOKENIZER_KEY not in metadata:
        raise UserError(
            f"{path} was not exported by edge-sharpzo (it carries no model card): make one with "
            "`make export` on a workstation"
        )
    try:
        fields = parse_json(metadata[CARD_KEY])
        if fields.pop("format") != FORMAT:
            raise UserError(
                f"{path} has another format than this version reads ({FORMAT}): export it again "
                "with this version"
            )
        image, text = fields.pop("image"), fields.pop("text")
        for part, kinds in ((image, _IMAGE_KINDS), (text, _TEXT_KINDS)):
            part |= {name: kind(part[name]) for name, kind in kinds.items()}
        card = ModelCard(image=ImageCard(**image), text=TextCard(**text), **fields)
        _check(card)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} carries a damaged model card ({error}): export it again"
        ) from error
    return card


def _check(card: ModelCard) -> None:
    """Raises ValueError for values that no exporter writes."""
    image, text = card.image, card.text

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(what)

    def numbers(values: tuple[Any, ...], count: int) -> bool:
        return len(values) == count and all(
            isinstance(v, int | float) and math.isfinite(v) for v in values
        )

    def ids(values: tuple[Any, ...]) -> bool:
        return len(values) <= 8 and all(isinstance(v, int) and v >= 0 for v in values)

    whole = (image.fill, text.width, text.context_length, text.pad, text.n_ctx, card.feature_dim)
    require(all(isinstance(value, int) for value in whole), "a number is not whole")
    require(0 <= image.fill <= 255, "image fill")
    require(
        numbers(image.size, 2) and all(0 < s <= MAX_IMAGE_SIDE and s == int(s) for s in image.size),
        f"image size {image.size}",
    )
    require(
        numbers(image.mean, 3) and numbers(image.std, 3) and min(image.std) > 0, "image mean or std"
    )
    require(0 < text.width <= 65536 and 0 < text.context_length <= 4096, "text size")
    require(ids(text.start) and ids(text.end) and text.pad >= 0, "token ids")
    require(0 < text.n_ctx < text.context_length and text.words.strip() != "", "initial context")
    require(
        numbers((text.embedding_std, card.logit_scale, card.logit_bias), 3),
        "a number is not finite",
    )
    require(
        text.embedding_std > 0 and 0 < card.logit_scale <= 10_000 and card.feature_dim > 0,
        "a scale is not positive",
    )
