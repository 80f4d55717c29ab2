"""The score of being known as a part of an ONNX graph; `known.py` has the same in NumPy.

Operators that have not changed since ONNX's version 13 are enough.
"""

import numpy as np

from edge_sharpzo.classifier.known import Known
from edge_sharpzo.clip.onnx.messages import GraphProto, node, tensor

KNOWN = "known"


def add_known(graph: GraphProto, features: str, known: Known) -> None:
    """Adds the nodes that make `known` [N], 0 and above for photos of the classes.

    `features` names the image features [N, D]; no name in the graph begins with `known`.
    """
    part = _Part(graph)
    precision, (density, of_text, behind, side) = known.precision, known.weights
    halves = np.full((len(precision), 1), 0.5)
    stretched = part.add("MatMul", features, part.constant(precision))
    depth = part.add("MatMul", part.add("Mul", stretched, features), part.constant(halves))
    score = part.linear(features, side * known.normal[None], np.array([-known.threshold]))
    score = part.plus(score, density, part.log_sum(features, *_gaussians(known.means, precision)))
    score = part.plus(score, behind - density, depth)
    if of_text:
        for sign, text in ((1, known.text), (-1, known.words)):
            logits = known.sharpness * text, np.zeros(len(text))
            score = part.plus(score, sign * of_text, part.log_sum(features, *logits))
    if behind:
        among = part.log_sum(features, *_gaussians(known.background, precision))
        score = part.plus(score, -behind, among)
    part.add("Gather", score, part.whole(0), out=KNOWN, axis=1)


def _gaussians(places: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight [P, D] and bias [P] of the log densities about `places`, less what all share."""
    rows = places.astype(np.float64) @ precision
    return rows, -(rows * places).sum(axis=1) / 2


class _Part:
    """Nodes and constants that are added to a graph, each under a name of its own."""

    def __init__(self, graph: GraphProto):
        self._graph, self._names = graph, 0

    def _name(self) -> str:
        self._names += 1
        return f"{KNOWN}.{self._names}"

    def add(self, operator: str, *inputs: str, out: str = "", **attributes: int) -> str:
        """Adds a node and returns the name of its output."""
        name = out or self._name()
        self._graph.node.append(node(operator, inputs, [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        """Adds a float32 constant and returns its name."""
        name = self._name()
        self._graph.initializer.append(tensor(np.asarray(array, np.float32), name))
        return name

    def whole(self, number: int | list[int]) -> str:
        """A constant of whole numbers."""
        name = self._name()
        self._graph.initializer.append(tensor(np.array(number, np.int64), name))
        return name

    def linear(self, features: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """[N, P] of features [N, D], weight [P, D] and bias [P]."""
        return self.add("Gemm", features, self.constant(weight.T), self.constant(bias))

    def plus(self, total: str, factor: float, more: str) -> str:
        """`total` and `factor` times `more`, all [N, 1]."""
        return self.add("Add", total, self.add("Mul", more, self.constant(np.array([factor]))))

    def log_sum(self, features: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """The logarithm of the sum of exponentials of the same [N, P], [N, 1].

        A logit less its log-softmax, which does not overflow.
        """
        logits = self.linear(features, weight, bias)
        shares = self.add("LogSoftmax", logits, axis=1)
        difference = self.add("Sub", logits, shares)  # the same in every column
        return self.add("Gather", difference, self.whole([0]), axis=1)
