"""The score of being known as a part of an ONNX graph; `known.py` has the same in NumPy.

Operators that have not changed since ONNX's version 13 are enough.
"""

import numpy as np

from edge_sharpzo.classifier.known import Known, Sum
from edge_sharpzo.clip.onnx.messages import GraphProto
from edge_sharpzo.clip.onnx.part import Part

KNOWN = "known"


def add_known(graph: GraphProto, features: str, known: Known) -> None:
    """Adds the nodes that make `known` [N], 0 and above for photos of the classes.

    `features` names the image features [N, D]; no name in the graph begins with `known`.
    """
    part = Part(KNOWN)
    precision = known.precision
    halves = np.full((len(precision), 1), 0.5)
    stretched = part.add("MatMul", features, part.number(precision))
    depth = part.add("MatMul", part.add("Mul", stretched, features), part.number(halves))
    terms: dict[str, list[tuple[float, str]]] = {
        "density": [(1, _among(part, features, known.means, precision)), (-1, depth)]
    }
    if any(each.text for each in known.sums):
        of_text, of_words = (
            _log_sum(part, features, known.sharpness * text, np.zeros(len(text)))
            for text in (known.text, known.words)
        )
        terms["text"] = [(1, of_text), (-1, of_words)]
    if any(each.background for each in known.sums):
        behind = _among(part, features, known.background, precision)
        terms["background"] = [(-1, behind), (1, depth)]
    scores = [_summed(part, features, known, each, terms) for each in known.sums]
    lower = part.add("Min", *scores)
    part.add("Gather", lower, part.whole(0), out=KNOWN, axis=1)
    graph.node.extend(part.nodes)
    graph.initializer.extend(part.constants)


def _summed(
    part: Part,
    features: str,
    known: Known,
    weights: Sum,
    terms: dict[str, list[tuple[float, str]]],
) -> str:
    """One of the sums less its mean and the threshold, [N, 1]; `terms` by their name in `Sum`."""
    plane = weights.plane * known.normal[None]
    score = _linear(part, features, plane, np.array([-weights.mean - known.threshold]))
    for name, parts in terms.items():
        for sign, term in parts:
            weighted = part.add("Mul", term, part.number([sign * getattr(weights, name)]))
            score = part.add("Add", score, weighted)
    return score


def _linear(part: Part, features: str, weight: np.ndarray, bias: np.ndarray) -> str:
    """[N, P] of features [N, D], weight [P, D] and bias [P]."""
    return part.add("Gemm", features, part.number(weight.T), part.number(bias))


def _log_sum(part: Part, features: str, weight: np.ndarray, bias: np.ndarray) -> str:
    """The logarithm of the sum of exponentials of the same [N, P], [N, 1].

    A logit less its log-softmax, which does not overflow.
    """
    logits = _linear(part, features, weight, bias)
    difference = part.add("Sub", logits, part.add("LogSoftmax", logits, axis=1))
    return part.add("Gather", difference, part.whole([0]), axis=1)  # it is the same everywhere


def _among(part: Part, features: str, places: np.ndarray, precision: np.ndarray) -> str:
    """The log density about `places` [P, D], less half of what features stretch to, [N, 1]."""
    rows = places.astype(np.float64) @ precision
    return _log_sum(part, features, rows, -(rows * places).sum(axis=1) / 2)
