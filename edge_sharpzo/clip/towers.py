"""The parts that an exported CLIP falls into, each of which opens alone."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LOCAL = "local"  # the engine that runs the towers in this process


class Tower(StrEnum):
    """A part of the model with a session of its own."""

    IMAGE = "image"
    TEXT = "text"
    TOKENS = "tokens"  # the table of token embeddings


OUTPUTS = {  # of each tower in the file's graph
    Tower.IMAGE: "image_features",
    Tower.TEXT: "text_features",
    Tower.TOKENS: "token_embeddings",
}


def output_shape(tower: Tower, feeds: Mapping[str, "np.ndarray"], width: int) -> tuple[int, ...]:
    """What shape the output of `tower` has for these inputs; `width` is its last dimension."""
    if tower == Tower.IMAGE:
        return (len(feeds["pixel_values"]), width)
    if tower == Tower.TEXT:
        return (len(feeds["ctx"]), len(feeds["eot"]), width)
    return (len(feeds["token_ids"]), width)
