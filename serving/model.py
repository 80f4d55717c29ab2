"""A served model at work: the tower of a repository, open as a device would open it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_sharpzo.clip.onnx.graph_file import read_graph
from edge_sharpzo.clip.onnx.messages import ModelProto
from edge_sharpzo.clip.onnx.parts import keep_output, weight_bytes
from edge_sharpzo.clip.providers import CPU, open_session
from edge_sharpzo.clip.session import Session
from edge_sharpzo.clip.towers import OUTPUTS, Tower, output_shape
from edge_sharpzo.engines.served import ECHO, NONCE, SHA256, Served
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.system.text import first_line
from serving.tensors import Tensor, check_feeds

_TOWERS = {output: tower for tower, output in OUTPUTS.items()}


class ServedModel:
    """`model.onnx` of a repository.

    The same graph, session and settings as on a device, so that the numbers are the same to the
    last bit, where processor, onnxruntime and threads are. What is constant is kept beside it.
    """

    def __init__(self, path: Path, threads: int = 0):
        """Opens it; `threads` 0 is onnxruntime's choice. Raises UserError."""
        try:
            graph = read_graph(path)
            self.inputs = [Tensor.of(value) for value in graph.graph.input]
            self.outputs = [Tensor.of(value) for value in graph.graph.output]
            name = next(o.name for o in self.outputs if o.name not in (SHA256, ECHO))
            self._constants = {SHA256: _constant(graph, path, SHA256)}
        except Exception as error:  # protobuf's own errors, whose class depends on its backend
            raise UserError(
                f"{path} is damaged: delete {path.parent.parent.parent}, it is written anew"
            ) from error
        self._session: Session | None = None
        if name == Served.CARD.output:
            self._constants[name] = _constant(graph, path, name)
            return
        self._output, width = name, self.outputs[0].shape[-1]
        tower = _TOWERS[name]
        keep_output(graph, name)
        weights = weight_bytes(graph.graph)
        self._session = Session(
            lambda: open_session(
                graph, path.parent, CPU, threads, wait_actively=tower != Tower.IMAGE
            ),
            tower,
            path,
            weights,
            threads or usable_cores(),
            lambda feeds: output_shape(tower, feeds, width),
            MemoryLimit(),
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by their names. Raises UserError for what does not fit."""
        check_feeds(self.inputs, feeds)
        given = {name: array for name, array in feeds.items() if name != NONCE}
        found = {**self._constants, ECHO: feeds[NONCE]}
        if self._session is None:
            return found
        try:
            return {self._output: self._session.run_all([given])[0], **found}
        except UserError as error:
            raise UserError(
                f"this cannot be computed with ({first_line(error.__cause__ or error, 200)}): send "
                "what belongs together, or less at once"
            ) from error


def _constant(model: ModelProto, path: Path, output: str) -> np.ndarray:
    """What the output is a copy of, uint8 [N]."""
    (source,) = next(node.input for node in model.graph.node if output in node.output)
    tensor = next(each for each in model.graph.initializer if each.name == source)
    if tensor.raw_data:
        return np.frombuffer(tensor.raw_data, np.uint8)
    where = {entry.key: entry.value for entry in tensor.external_data}
    return np.fromfile(path, np.uint8, int(where["length"]), offset=int(where["offset"]))
