"""The score of being known as a part of an ONNX graph; `known.py` has the same in NumPy.

Operators that have not changed since ONNX's version 13 are enough.
"""

import numpy as np

from edge_sharpzo.classifier.known import Known
from edge_sharpzo.clip.onnx.messages import GraphProto
from edge_sharpzo.clip.onnx.part import Part

KNOWN = "known"


def add_known(graph: GraphProto, features: str, known: Known) -> None:
    """Adds the nodes that make `known` [N], 0 and above for photos of the classes.

    `features` names the image features [N, D]; no name in the graph begins with `known`.
    """
    part = Part(KNOWN)
    precision, (density, of_text, behind, side) = known.precision, known.weights
    halves = np.full((len(precision), 1), 0.5)
    stretched = part.add("MatMul", features, part.number(precision))
    depth = part.add("MatMul", part.add("Mul", stretched, features), part.number(halves))
    score = _linear(part, features, side * known.normal[None], np.array([-known.threshold]))
    terms = [(behind - density, depth), (density, _among(part, features, known.means, precision))]
    if of_text:
        for sign, text in ((1, known.text), (-1, known.words)):
            logits = known.sharpness * text, np.zeros(len(text))
            terms.append((sign * of_text, _log_sum(part, features, *logits)))
    if behind:
        terms.append((-behind, _among(part, features, known.background, precision)))
    for weight, term in terms:
        score = part.add("Add", score, part.add("Mul", term, part.number([weight])))
    part.add("Gather", score, part.whole(0), out=KNOWN, axis=1)
    graph.node.extend(part.nodes)
    graph.initializer.extend(part.constants)


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
