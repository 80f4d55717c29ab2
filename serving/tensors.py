"""What a served model takes and gives: names, types and sizes, as servers call them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_sharpzo.clip.onnx.messages import TensorProto, ValueInfoProto
from edge_sharpzo.system.errors import UserError

ANY = -1  # a dimension of any size


@dataclass(frozen=True)
class Kind:
    """A type of numbers."""

    dtype: np.dtype
    name: str  # of the Open Inference Protocol; Triton's config.pbtxt puts TYPE_ before it


KINDS: dict[int, Kind] = {  # by TensorProto's types
    TensorProto.FLOAT: Kind(np.dtype(np.float32), "FP32"),
    TensorProto.INT64: Kind(np.dtype(np.int64), "INT64"),
    TensorProto.UINT8: Kind(np.dtype(np.uint8), "UINT8"),
}


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a graph."""

    name: str
    kind: Kind
    shape: tuple[int, ...]  # ANY where the size is free

    @classmethod
    def of(cls, value: ValueInfoProto) -> "Tensor":
        """That of a graph. Raises KeyError for a type that no tower has."""
        tensor = value.type.tensor_type
        dims = (ANY if dim.dim_param else dim.dim_value for dim in tensor.shape.dim)
        return cls(value.name, KINDS[tensor.elem_type], tuple(dims))

    def fits(self, array: np.ndarray) -> bool:
        """Whether `array` is of this type and shape."""
        sizes = zip(self.shape, array.shape, strict=False)
        return (
            array.dtype == self.kind.dtype
            and array.ndim == len(self.shape)
            and all(wanted in (ANY, size) for wanted, size in sizes)
        )

    def __str__(self) -> str:
        return f"{self.kind.name} {list(self.shape)}"


def check_feeds(inputs: Iterable[Tensor], feeds: Mapping[str, np.ndarray]) -> None:
    """Raises UserError where `feeds` are not what `inputs` ask for."""
    wanted = {each.name: each for each in inputs}
    for name in wanted.keys() - feeds.keys():
        raise UserError(f"the input {name} is missing: send {', '.join(wanted)}")
    for name in feeds.keys() - wanted.keys():
        raise UserError(f"there is no input {name[:80]!r}: send {', '.join(wanted)}")
    for name, tensor in wanted.items():
        array = feeds[name]
        if not tensor.fits(array):
            raise UserError(
                f"the input {name} is {array.dtype} {list(array.shape)}: send {tensor}, where "
                f"{ANY} is any size"
            )
