"""Nodes and constants that are added to a graph."""

from collections.abc import Sequence

import numpy as np

from edge_sharpzo.clip.onnx.messages import Attribute, NodeProto, TensorProto, node, tensor


class Part:
    """Nodes and constants, each under a name of its own that begins with `prefix` and a point."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, out: str = "", **attributes: Attribute) -> str:
        """Adds a node and returns the name of its output."""
        name = out or f"{self._prefix}.{len(self.nodes)}.{operator}"
        self.nodes.append(node(operator, inputs, [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        """Adds a constant and returns its name."""
        name = f"{self._prefix}.constant.{len(self.constants)}"
        self.constants.append(tensor(array, name))
        return name

    def whole(self, numbers: int | Sequence[int] | Sequence[Sequence[int]]) -> str:
        """A constant of whole numbers."""
        return self.constant(np.array(numbers, np.int64))

    def number(self, numbers: float | Sequence[float] | np.ndarray) -> str:
        """A constant of float32 numbers."""
        return self.constant(np.array(numbers, np.float32))
