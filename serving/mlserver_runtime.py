"""MLServer's runtime of a served model: tensors in, tensors out, one call at a time."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from mlserver import MLModel
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlserver.utils import get_model_uri

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import first_line
from serving.model import ServedModel
from serving.settings import MODEL_FILE
from serving.tensors import Tensor

Made = TypeVar("Made")


class OneLine(logging.Filter):
    """Of an error MLServer's log shall hold a line, and no traceback: most are a client's."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shortens the record."""
        said, error = record.getMessage()[:300], (record.exc_info or (None, None))[1]
        if error and (cause := first_line(error, 300)) not in said:
            said = f"{said} {cause}"
        record.msg, record.args = " ".join(said.split()), ()
        record.exc_info = record.exc_text = None
        return True


class ServedTower(MLModel):
    """One model of a repository. Computing has a thread of its own, so the server goes on."""

    _model: ServedModel | None = None

    async def load(self) -> bool:
        """Opens it. Raises UserError."""
        path = await get_model_uri(self.settings, [MODEL_FILE])
        threads = ((self.settings.parameters and self.settings.parameters.extra) or {})["threads"]
        self._worker = ThreadPoolExecutor(1, f"{self.name}-")
        self._model = await self._apart(lambda: ServedModel(Path(path), threads))
        return True

    async def unload(self) -> bool:
        """Closes it."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._model = None
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The outputs that are asked for, or all. Raises InferenceError for what does not fit."""
        try:
            return await self._apart(lambda: self._answer(payload))
        except UserError as error:
            raise InferenceError(f"{self.name}: {error}") from None

    async def _apart(self, work: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _answer(self, payload: InferenceRequest) -> InferenceResponse:
        model = self._model
        assert model is not None, "MLServer asks none that is not loaded"
        kinds = {each.name: each for each in model.inputs}
        feeds = {each.name: _array(each, kinds.get(each.name)) for each in payload.inputs}
        if len(feeds) < len(payload.inputs):
            raise UserError("an input is sent twice: send each once")
        found = model.run(feeds)
        wanted = [each.name for each in payload.outputs or ()] or list(found)
        for name in wanted:
            if name not in found:
                raise UserError(f"there is no output {name[:80]!r}: ask for {', '.join(found)}")
        outputs = {each.name: each for each in model.outputs}
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[_told(outputs[name], found[name]) for name in wanted],
        )


def _array(sent: RequestInput, wanted: Tensor | None) -> np.ndarray:
    """What was sent, as an array. Raises UserError for what is none."""
    if wanted is None:  # `run` says so
        return np.empty(0)
    # The request's types are members of an enumeration over REST, and text over gRPC.
    datatype = getattr(sent.datatype, "value", sent.datatype)
    if datatype != wanted.kind.name:
        raise UserError(f"the input {sent.name} is {datatype}: send {wanted}")
    try:
        values = np.asarray(getattr(sent.data, "root", sent.data))
        whole = wanted.kind.dtype.kind in "iu"
        if values.size and values.dtype.kind not in ("iu" if whole else "iuf"):
            raise ValueError(f"not all are {'whole ' if whole else ''}numbers")
        found = values.astype(wanted.kind.dtype)
        if whole and not np.array_equal(found, values):
            raise ValueError("a number is too large or too small")
        return found.reshape(sent.shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"the input {sent.name} does not hold what its shape {sent.shape} says ({error}): "
            f"send {wanted}"
        ) from None


def _told(tensor: Tensor, found: np.ndarray) -> ResponseOutput:
    return ResponseOutput(
        name=tensor.name,
        datatype=tensor.kind.name,
        shape=list(found.shape),
        data=found.ravel().tolist(),
    )
