"""The calls of a round as they travel: what the text tower asks for, and how long the messages are.

No weights are needed: a message's length depends on the tower's widths and on the names alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from tritonclient.grpc import service_pb2 as protocol
from tritonclient.utils import np_to_triton_dtype

from benchmarks.synthetic import class_names, contexts
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.clip.towers import Tower, output_shape
from edge_sharpzo.engines.served import ECHO, NONCE, NONCE_BYTES, SHA256, Served
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE


@dataclass(frozen=True)
class Widths:
    """What of a text tower decides about its calls."""

    width: int
    features: int


@dataclass(frozen=True)
class Traffic:
    """One call: what a device computes, and bytes of the message to it and of its answer."""

    candidates: int
    rows: int  # positions of all its candidates; a tower takes about as long for each
    up: int
    down: int


class _Sized:
    """As much of a model as `TextTower` asks for: the embedded one's tokens, in other widths."""

    def __init__(self, widths: Widths):
        embedded = ClipOnnx(EMBEDDED_MODEL)
        self.prompts = embedded.prompts
        text = replace(embedded.card.text, width=widths.width)
        self.card = replace(embedded.card, text=text, feature_dim=widths.features)
        self.memory = MemoryLimit()

    def token_embeddings(self, ids: list[int]) -> np.ndarray:
        return np.zeros((len(ids), self.card.text.width), np.float32)


class _Recorder:
    """A session that keeps what it is asked, and answers zeros."""

    at_once = 1

    def __init__(self, features: int):
        self.calls: list[Feeds] = []
        self._features = features

    def run_all(self, calls: Sequence[Feeds]) -> list[np.ndarray]:
        self.calls += calls
        return [
            np.zeros(output_shape(Tower.TEXT, feeds, self._features), np.float32) for feeds in calls
        ]


def traffic(widths: Widths, classes: int, candidates: int) -> list[Traffic]:
    """The calls of a round of `candidates`, in their order, for the first of ImageNet's classes
    (EuroSAT's ten).
    """
    model, recorder = _Sized(widths), _Recorder(widths.features)
    prompt = model.prompts.for_tuning(class_names(classes), DEFAULT_TEMPLATE)
    tower = TextTower(cast(Clip, model), prompt.classes, len(prompt.context), session=recorder)
    tower(contexts(candidates, len(prompt.context), widths.width, model.card.text.embedding_std))
    return [
        Traffic(
            len(feeds["ctx"]),
            len(feeds["ctx"]) * len(feeds["positions"]),
            request_bytes(feeds),
            answer_bytes(feeds, widths.features),
        )
        for feeds in recorder.calls
    ]


def request_bytes(feeds: Feeds) -> int:
    """Length of the gRPC message that asks for one call."""
    arrays = {**feeds, NONCE: np.zeros(NONCE_BYTES, np.uint8)}
    request = protocol.ModelInferRequest(model_name=f"clip-{Served.TEXT}", id="0")
    for name in (Served.TEXT.output, SHA256, ECHO):
        request.outputs.add(name=name)
    for name, array in arrays.items():
        request.inputs.add(
            name=name, datatype=np_to_triton_dtype(array.dtype), shape=list(array.shape)
        )
        request.raw_input_contents.append(array.tobytes())
    return cast(int, request.ByteSize())


def answer_bytes(feeds: Feeds, features: int) -> int:
    """Length of the gRPC message that answers it."""
    arrays: Mapping[str, np.ndarray] = {
        Served.TEXT.output: np.zeros(output_shape(Tower.TEXT, feeds, features), np.float32),
        SHA256: np.zeros(32, np.uint8),
        ECHO: np.zeros(NONCE_BYTES, np.uint8),
    }
    answer = protocol.ModelInferResponse(model_name=f"clip-{Served.TEXT}", id="0")
    for name, array in arrays.items():
        answer.outputs.add(
            name=name, datatype=np_to_triton_dtype(array.dtype), shape=list(array.shape)
        )
        answer.raw_output_contents.append(array.tobytes())
    return cast(int, answer.ByteSize())
