"""The model card in `clip.onnx`'s own metadata: everything the device must know of a model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import parse_json
from edge_sharpzo.system.text import first_line, is_line

FORMAT = 1
CARD_KEY = "edge_sharpzo"
TOKENIZER_KEY = "tokenizer.json"
CLASSIFIER_KEY = "edge_sharpzo_classifier"  # in its place, in a `classifier.onnx`

MAX_IMAGE_SIDE, MOST_WIDTH, MOST_TOKENS = 2048, 1 << 16, 1 << 24
MOST_SCALE = 10_000.0  # of logits


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
    if CLASSIFIER_KEY in metadata:
        raise UserError(
            f"{path} is a finished classifier, not a model to tune: give the folder of the run "
            "that made it, or the model of that run"
        )
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
            f"{path} carries a damaged model card ({first_line(error, 120)}): export it again"
        ) from error
    return card


def _check(card: ModelCard) -> None:
    """Raises ValueError for values that no exporter writes."""
    image, text = card.image, card.text
    told = [card.name, card.weights, card.precision, text.words]
    told += [each for each in (card.weights_sha256, card.licence) if each is not None]
    told += [*card.versions, *card.versions.values()]
    _require(
        all(isinstance(each, str) and len(each) <= 1000 and is_line(each) for each in told),
        "a text is no line",
    )
    _require(
        len(image.size) == 2 and all(_whole(side, 1, MAX_IMAGE_SIDE) for side in image.size),
        f"image size {image.size}",
    )
    _require(_whole(image.fill, 0, 255), "image fill")
    _require(
        len(image.mean) == len(image.std) == 3
        and all(_number(each, -1000, 1000) for each in image.mean)
        and all(_number(each, 1e-6, 1000) for each in image.std),
        "image mean or std",
    )
    _require(
        _whole(text.width, 1, MOST_WIDTH)
        and _whole(card.feature_dim, 1, MOST_WIDTH)
        and _whole(text.context_length, 1, 4096),
        "text size",
    )
    ids = [*text.start, *text.end, text.pad]
    _require(len(ids) <= 17 and all(_whole(each, 0, MOST_TOKENS) for each in ids), "token ids")
    _require(
        text.layout != Layout.PACKED or (len(text.start), text.pool) == (1, Pool.END),
        "a packed layout without one start token, or not read at the end token",
    )
    _require(
        _whole(text.n_ctx, 1, text.context_length - 1) and text.words.strip() != "",
        "initial context",
    )
    _require(
        _number(text.embedding_std, 1e-9, 1e4)
        and _number(card.logit_scale, 1e-9, MOST_SCALE)
        and _number(card.logit_bias, -1e6, 1e6),
        "a scale is not a positive number",
    )


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _whole(value: Any, least: int, most: int) -> bool:
    """Whether `value` is a whole number within bounds; JSON's true and 1.0 are none."""
    return type(value) is int and least <= value <= most


def _number(value: Any, least: float, most: float) -> bool:
    """Whether `value` is a number within bounds; NaN is not."""
    return type(value) in (int, float) and least <= value <= most
