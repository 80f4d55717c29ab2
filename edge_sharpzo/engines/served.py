"""What a service offers of a model: one served model for each tower, and one for its card.

Those of the model `clip` are `clip-text`, `clip-tokens`, `clip-image` and `clip-card`, and, where
weights are stored in 8 bits, `clip-text-integer`. Each takes and gives the tensors of the tower in
`clip.onnx`, and says with every answer which model has computed it, and of which request.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.towers import OUTPUTS, Tower
from edge_sharpzo.system.storage import parse_json

if TYPE_CHECKING:
    from edge_sharpzo.clip.model import Clip

SHA256 = "model_sha256"  # an output of every served model: `ClipOnnx.sha256` as uint8 [32]
# An input and an output of every served model: bytes, uint8 [N], that are sent behind all else and
# come back as they are. What a broken connection has repeated, shifted or mixed up ends otherwise.
NONCE, ECHO = "nonce", "nonce_echo"
NONCE_BYTES = 16
MOST_CARD_BYTES = 64_000_000  # the largest tokenizer that is read, and room


class Served(StrEnum):
    """What is served, by what stands behind the model's name and a hyphen."""

    TEXT = "text"
    TEXT_INTEGER = "text-integer"  # products in integers, see `clip/onnx/integer.py`
    TOKENS = "tokens"
    IMAGE = "image"
    CARD = "card"

    @property
    def output(self) -> str:
        """The name of its output beside `SHA256` and `ECHO`."""
        return _OUTPUTS[self]


_OUTPUTS = {
    Served.TEXT: OUTPUTS[Tower.TEXT],
    Served.TEXT_INTEGER: OUTPUTS[Tower.TEXT],
    Served.TOKENS: OUTPUTS[Tower.TOKENS],
    Served.IMAGE: OUTPUTS[Tower.IMAGE],
    Served.CARD: "card",  # `Companion.to_array`
}


@dataclass(frozen=True)
class Companion:
    """All of a model but its weights."""

    sha256: str  # `ClipOnnx.sha256`
    metadata: dict[str, str]  # of `clip.onnx`: card, tokenizer, learned start

    @classmethod
    def of(cls, clip: "Clip") -> "Companion":
        """That of a model."""
        return cls(clip.sha256, clip.metadata)

    def to_array(self) -> np.ndarray:
        """As a tensor, uint8 [N]: UTF-8 of JSON."""
        text = json.dumps({"sha256": self.sha256, "metadata": self.metadata}, ensure_ascii=False)
        return np.frombuffer(text.encode(), np.uint8)

    @classmethod
    def of_array(cls, array: np.ndarray) -> "Companion":
        """Reads what `to_array` gave. Raises ValueError for anything else."""
        if array.dtype != np.uint8 or array.ndim != 1 or array.size > MOST_CARD_BYTES:
            raise ValueError(f"it is {array.dtype} {list(array.shape)}, no bytes of a card")
        fields = parse_json(array.tobytes().decode())
        if not isinstance(fields, dict) or set(fields) != {"sha256", "metadata"}:
            raise ValueError("it has not the fields of a card")
        sha256, metadata = fields["sha256"], fields["metadata"]
        texts = [sha256, *metadata, *metadata.values()] if isinstance(metadata, dict) else [None]
        if not all(isinstance(each, str) for each in texts):
            raise ValueError("a field of it is no text")
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise ValueError("its checksum is none")
        return cls(sha256, metadata)
