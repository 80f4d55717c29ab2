"""A served model that takes strings, texts or photo files, and gives a feature for each."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.engines.served import Served
from edge_sharpzo.engines.transport import FaultError, RefusedError
from edge_sharpzo.system.errors import UserError

if TYPE_CHECKING:
    from edge_sharpzo.engines.service import Service

# The features [N, D] of the N strings of each call.
Features = Callable[[Sequence[Sequence[bytes]]], list[np.ndarray]]
MOST_DIM = 1 << 16
_KINDS = {Served.TEXT: "texts", Served.IMAGE: "photos"}


class Embedding:
    """One such model of a service."""

    def __init__(self, service: "Service", served: Served):
        """Asks what its tensors are called. Raises UserError where it has others than it needs."""
        self._service, self._served = service, served
        model = f"{service.model}-{served}"
        found = service.tensors(served)
        what = f"{_KINDS[served]} as strings, BYTES [N]"
        cure = f"serve '{model}' with one input, {what}, and one output of features, FP32 [N, D]"
        for number, each in found.items():
            if each is None:
                place = service.spread.endpoints[number].name
                raise UserError(f"{place} takes strings, but has no '{model}': {cure}", "engine")
        (inputs, outputs), *others = (each for each in found.values() if each)
        if any(other != (inputs, outputs) for other in others):
            raise UserError(
                f"the endpoints {service.where} call the tensors of '{model}' differently: serve "
                "one model at all",
                field="engine",
            )
        features = [name for name, kind in outputs.items() if kind == "FP32"]
        if list(inputs.values()) != ["BYTES"] or len(features) != 1:
            told = "; ".join(
                f"{side}: " + ", ".join(f"{name} {kind}" for name, kind in each.items())
                for side, each in (("inputs", inputs), ("outputs", outputs))
            )
            raise UserError(
                f"'{model}' of {service.where} cannot be used ({told}): {cure}", field="engine"
            )
        (self.input,), (self.output,) = inputs, features

    def asked(
        self, number: int, strings: Sequence[bytes], seconds: float, dim: int | None = None
    ) -> np.ndarray:
        """L2-normalised features [N, D], float32, of N strings, from one endpoint.

        It has so many `seconds`; D is `dim`, or anything where that is None. Raises FaultError, or
        UserError for features of another length, or not one for each string.
        """
        feeds = {self.input: np.array(strings, dtype=object)}
        found = self._service.plain(number, self._served, feeds, self.output, seconds)
        place, rows = self._service.spread.endpoints[number].name, len(strings)
        fits = found.ndim == 2 and len(found) == rows and 0 < found.shape[1] <= MOST_DIM
        if found.dtype != np.float32 or not fits:
            raise RefusedError(
                f"{place} gives {found.dtype} {list(found.shape)} for {rows} {self._kind}, "
                f"expected float32 [{rows}, D]: serve '{self._service.model}-{self._served}' so "
                "that each string has one feature",
                field="engine",
            )
        if dim not in (None, found.shape[1]):
            raise RefusedError(
                f"{place} gives features of {found.shape[1]} numbers for {self._kind}, and of "
                f"{dim} for texts before: serve texts and photos of one and the same model",
                field="engine",
            )
        lengths = np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise FaultError("an answer that is no finite numbers, or zeros alone")
        return (found / lengths).astype(np.float32)

    @property
    def _kind(self) -> str:
        return _KINDS[self._served]


class PhotoSession:
    """Photos as PNG files, one in a call; a `TowerSession` in the place of an image tower's."""

    def __init__(self, features: Features, at_once: int):
        """`features` are of PNG files; `at_once` calls are worth giving at once."""
        self._features = features
        self.at_once = at_once

    def run_all(self, calls: Sequence[Feeds]) -> list[np.ndarray]:
        """See `TowerSession`; pixel values [1, 3, H, W] are levels between 0 and 1."""
        return self._features([[_png(feeds["pixel_values"][0])] for feeds in calls])


def _png(values: np.ndarray) -> bytes:
    """A PNG file of pixel values [3, H, W], which are whole levels of 255."""
    from PIL import Image

    levels = np.rint(255 * values).astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels)).save(file, "PNG", compress_level=1)
    return file.getvalue()
