"""Cuts a graph down to one of its towers, and says how much memory that takes."""

from collections.abc import Callable, Collection, MutableSequence
from typing import Any

from edge_sharpzo.clip.onnx.messages import GraphProto, ModelProto, TensorProto


def weight_bytes(graph: GraphProto) -> int:
    """Memory that a session of `graph` takes for its large weights, in bytes.

    float16 is computed with as float32.
    """
    stored = (
        (tensor.data_type, entry.value)
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "length"
    )
    return sum(int(size) * (2 if kind == TensorProto.FLOAT16 else 1) for kind, size in stored)


def keep_output(model: ModelProto, output: str) -> None:
    """Cuts `model` down, in place, to what `output` needs."""
    graph = model.graph
    needed, used = {output}, set()
    for index in reversed(range(len(graph.node))):  # ONNX stores nodes in topological order
        if needed.intersection(graph.node[index].output):
            used.add(index)
            needed.update(graph.node[index].input)
    _drop(graph.node, lambda index, _: index not in used)
    _drop(graph.initializer, lambda _, tensor: tensor.name not in needed)
    _drop(graph.input, lambda _, value: value.name not in needed)
    _drop(graph.output, lambda _, value: value.name != output)
    del graph.value_info[:]


def set_names_apart(graph: GraphProto, prefix: str, keep: Collection[str]) -> None:
    """Puts `prefix` before the names of all values but those to `keep`, in place.

    Whatever names a model has, none of them is then one of what is added to it.
    """

    def apart(name: str) -> str:
        return prefix + name if name and name not in keep else name

    for node in graph.node:
        node.input[:] = [apart(name) for name in node.input]
        node.output[:] = [apart(name) for name in node.output]
    for each in (*graph.initializer, *graph.input, *graph.output):
        each.name = apart(each.name)


def _drop(items: MutableSequence[Any], unwanted: Callable[[int, Any], bool]) -> None:
    for index in reversed(range(len(items))):
        if unwanted(index, items[index]):
            del items[index]
