"""The parts that an exported CLIP falls into, each of which opens alone."""

from enum import StrEnum

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
