"""What a model file may hold: it is untrusted, and looked through before the engine sees it.

Only what `export` writes passes. Whatever runs code in loops, makes random numbers, nests graphs,
reads other files or stores weights in a second way is refused, known or not.
"""

import math
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.onnx.messages import GraphProto, ModelProto, NodeProto, TensorProto

# Arithmetic, products, norms, pooling, and what moves or joins parts of tensors.
_OPERATORS = """
    Abs Add And AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant Conv Cos
    DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor Gather GatherND Gelu Gemm
    GlobalAveragePool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Min
    Mod Mul Neg Not Or PRelu Pad Pow Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceSum Relu
    Reshape Shape Sigmoid Sin Slice Softmax Softplus Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze
    Where
"""
OPERATORS = frozenset(_OPERATORS.split())
# Of these the engine may make more weights when it opens a model: no more than it has.
OF_WEIGHTS = frozenset(
    {"Cast", "Constant", "DequantizeLinear", "Identity", "Reshape", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
MOST_WORK = 64  # bytes that it may touch for it, for each byte of weights
_FIELDS = {
    "model": "ir_version opset_import producer_name producer_version domain model_version "
    "doc_string graph metadata_props",
    "graph": "name node initializer input output value_info doc_string metadata_props",
    "node": "op_type domain name input output attribute doc_string metadata_props",
    "attribute": "name type doc_string f i s t floats ints",
    "weight": "name dims data_type raw_data data_location external_data doc_string",
    "constant": "name dims data_type raw_data doc_string",
}
_ITEM_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.DOUBLE: 8,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.BOOL: 1,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
}


def check_model(model: ModelProto, folder: Path) -> None:
    """Looks through a graph whose weights lie in files of `folder`.

    Raises ValueError with what is wrong, FileNotFoundError with the name of a file that is not
    there, or is a link to another place.
    """
    _only("model", model)
    _only("graph", model.graph)
    for node in model.graph.node:
        _check_node(node)
    files = {name: _size(folder, name) for name in locations(model.graph)}
    outside = 0
    for tensor in model.graph.initializer:
        _only("weight", tensor)
        if tensor.data_location == TensorProto.EXTERNAL:
            outside += _check_external(tensor, files)
        else:
            _check_inside(tensor)
    if outside > sum(files.values()):
        raise ValueError("its weights overlap")
    _check_of_weights(model.graph)


def _check_of_weights(graph: GraphProto) -> None:
    """Raises ValueError for nodes that compute with weights alone, beyond changes of their form.

    The engine runs them when it opens the model, and nothing stops it there.
    """
    sizes = {"": 0} | {tensor.name: _bytes(tensor) for tensor in graph.initializer}
    most, work = MOST_WORK * (sum(sizes.values()) + 1_000_000), 0
    for node in graph.node:
        if not all(name in sizes for name in node.input):
            continue
        if node.op_type not in OF_WEIGHTS:
            raise ValueError(f"its '{node.op_type}' takes nothing but weights")
        size = sum(sizes[name] for name in node.input) + node.ByteSize()
        sizes |= dict.fromkeys(node.output, size)
        work += size
    if work > most:
        raise ValueError("it turns its weights round and round")


def locations(graph: GraphProto) -> set[str]:
    """The names of the files that hold weights of `graph`."""
    entries = (entry for tensor in graph.initializer for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}


def _only(kind: str, message: Any) -> None:
    """Raises ValueError for a field that no exported model has."""
    allowed = _FIELDS[kind].split()
    for field, _ in message.ListFields():
        if field.name not in allowed:
            raise ValueError(f"a {kind} of it holds '{field.name}'")


def _check_node(node: NodeProto) -> None:
    _only("node", node)
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        name = ".".join(part for part in (node.domain, node.op_type) if part)
        raise ValueError(f"it holds the operator '{name}'")
    for attribute in node.attribute:
        _only("attribute", attribute)
        if attribute.HasField("t"):
            _only("constant", attribute.t)
            _check_inside(attribute.t)


def _size(folder: Path, name: str) -> int:
    """Bytes of a file of weights, which lies in `folder` itself."""
    file = folder / name
    if Path(name).name != name or "\0" in name or file.is_symlink() or not file.is_file():
        raise FileNotFoundError(name[:100])
    return file.stat().st_size


def _check_inside(tensor: TensorProto) -> None:
    if len(tensor.raw_data) != _bytes(tensor):
        raise _misfit(tensor)


def _check_external(tensor: TensorProto, files: dict[str, int]) -> int:
    """Bytes that the tensor takes of one of the `files`, by their sizes."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    if len(told) < len(tensor.external_data) or tensor.raw_data or "location" not in told:
        raise _misfit(tensor)
    offset, length = (_whole(told.get(key, "0")) for key in ("offset", "length"))
    if length != _bytes(tensor) or offset + length > files[told["location"]]:
        raise _misfit(tensor)
    return length


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1


def _bytes(tensor: TensorProto) -> int:
    if tensor.data_type not in _ITEM_BYTES or min(tensor.dims, default=0) < 0:
        raise _misfit(tensor)
    return _ITEM_BYTES[tensor.data_type] * math.prod(tensor.dims)


def _misfit(tensor: TensorProto) -> ValueError:
    return ValueError(f"its weight '{tensor.name[:80]}' is not of the size that its shape says")
