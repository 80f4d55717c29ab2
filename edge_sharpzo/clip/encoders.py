"""What the objective needs of a model: contexts in, text features out, wherever that runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.system.errors import not_one_of

if TYPE_CHECKING:
    from edge_sharpzo.clip.model import Clip


class TextEncoder(Protocol):
    """The text tower for the prompts of some classes, as a function of their context.

    The objective asks for nothing else of a model. `TextTower` runs it here.
    """

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        ...

    def __call__(self, contexts: np.ndarray, /) -> np.ndarray:
        """L2-normalised text features [P, K, D] of `contexts` [P, n_ctx, W], both float32."""
        ...


class MakeEncoder(Protocol):
    """Makes an encoder for a model and some classes."""

    def __call__(
        self, clip: "Clip", classes: Sequence[Sequence[int]], n_ctx: int, integer: bool, /
    ) -> TextEncoder:
        """`classes` holds each class's own token ids behind `n_ctx` context vectors.

        `integer` allows products in integers where weights are stored so, see `onnx/integer.py`.
        """
        ...


ENCODERS: dict[str, MakeEncoder] = {LOCAL: TextTower}


def encoder_maker(engine: str) -> MakeEncoder:
    """What makes the encoders of `engine`: a name, or the address of where the towers run.

    Raises UserError for an engine that does not exist.
    """
    if "://" in engine:
        return TextTower
    if engine not in ENCODERS:
        raise not_one_of(
            (*ENCODERS, "an address such as kserve://HOST:8001/MODEL"), "engine", engine
        )
    return ENCODERS[engine]


def template_features(encode: TextEncoder, width: int) -> np.ndarray:
    """Features [K, D] of prompts without context vectors: a template taken word for word.

    `encode` was made with n_ctx = 0 and whole prompts as classes; `width` is W.
    """
    return encode(np.zeros((1, 0, width), np.float32))[0]
