"""The learned start of the search in `clip.onnx`'s own metadata: context vectors, as JSON."""

import base64
import json
from collections.abc import Mapping

import numpy as np

from edge_sharpzo.clip.card import TextCard
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import parse_json
from edge_sharpzo.system.text import first_line

SEARCH_START_KEY = "edge_sharpzo_search_start"
# Any element at most, in standard deviations of the token embeddings; a good prompt has some ten.
MOST_STDS = 1000.0
_HALF = np.dtype("<f2")


def stored_start(start: np.ndarray) -> str:
    """Context vectors [n, W] as stored under `SEARCH_START_KEY`, in float16."""
    with np.errstate(over="ignore"):
        values = base64.b64encode(start.astype(_HALF).tobytes()).decode()
    return json.dumps({"shape": list(start.shape), "float16": values})


def parse_start(metadata: Mapping[str, str], card: TextCard, path: str) -> np.ndarray | None:
    """The learned start [n, W], float32, of a model with this `card`; None where it has none.

    `path` names the file in messages. Raises UserError for a damaged one.
    """
    if SEARCH_START_KEY not in metadata:
        return None
    try:
        return _parsed(metadata[SEARCH_START_KEY], card)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} carries a damaged start of the search ({first_line(error, 120)}): "
            "export it again"
        ) from error


def _parsed(text: str, card: TextCard) -> np.ndarray:
    """Raises ValueError, TypeError or KeyError for what no export writes."""
    fields = parse_json(text)
    if not isinstance(fields, dict) or set(fields) != {"shape", "float16"}:
        raise ValueError("not the fields that it has")
    tokens, width = fields["shape"]
    if not type(tokens) is type(width) is int:
        raise TypeError("its shape is no two whole numbers")
    if width != card.width or not 1 <= tokens < card.context_length:
        raise ValueError(f"of the shape {fields['shape']}")
    values = np.frombuffer(base64.b64decode(fields["float16"], validate=True), _HALF)
    start = values.astype(np.float32).reshape(tokens, width)
    if not (np.abs(start) <= MOST_STDS * card.embedding_std).all():  # nor NaN
        raise ValueError("a number is none, or too large")
    return start
