"""ONNX's messages, and the few makers of them that a device needs, without the onnx package.

`import onnx` registers the schema of every operator, 11 MB that a device never asks for. The
package's generated module of protobuf messages is loaded alone; the classes are the same as onnx's
own.
"""

from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
else:

    def _messages() -> Any:
        package = find_spec("onnx")
        spec = spec_from_file_location(
            "edge_sharpzo_onnx_messages",
            Path(package.submodule_search_locations[0]) / "onnx_ml_pb2.py",
        )
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    _found = _messages()
    ModelProto, GraphProto, NodeProto = _found.ModelProto, _found.GraphProto, _found.NodeProto
    TensorProto, ValueInfoProto = _found.TensorProto, _found.ValueInfoProto

__all__ = [
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "TensorProto",
    "ValueInfoProto",
    "node",
    "tensor",
    "value_info",
]

Attribute = int | float | str | Sequence[int]
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # AttributeProto's types
_KINDS = {
    "bool": TensorProto.BOOL,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute
) -> NodeProto:
    """A node with its attributes, named by its first output: some engines want names apart."""
    made = NodeProto(op_type=operator, name=outputs[0], input=inputs, output=outputs)
    for name, value in attributes.items():
        match value:
            case str():
                made.attribute.add(name=name, type=_STRING, s=value.encode())
            case float():
                made.attribute.add(name=name, type=_FLOAT, f=value)
            case int():
                made.attribute.add(name=name, type=_INT, i=value)
            case _:
                made.attribute.add(name=name, type=_INTS, ints=value)
    return made


def tensor(array: np.ndarray, name: str) -> TensorProto:
    """An initialiser of an array: bool, float32, float64, int64 or uint8."""
    return TensorProto(
        name=name,
        dims=array.shape,
        data_type=_KINDS[array.dtype.name],
        raw_data=array.tobytes(),
    )


def value_info(
    name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT
) -> ValueInfoProto:
    """An input or output of TensorProto's `kind`; dimensions that are text are free."""
    made = ValueInfoProto(name=name)
    made.type.tensor_type.elem_type = kind
    for size in shape:
        dim = made.type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
    return made
