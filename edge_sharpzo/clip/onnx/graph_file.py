"""ONNX files, read without their weights and written with them.

onnx.load and onnx.save hold every weight in memory, several times over. Here tensors of `LARGE`
bytes or more become references into the file itself (ONNX's external data), which onnxruntime maps,
tower by tower.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from edge_sharpzo.clip.onnx.messages import ModelProto, TensorProto

LARGE = 4096  # bytes
# Beside the weights: models of open_clip take a tenth of each.
MOST_FIELDS, MOST_PARSED = 200_000, 1 << 26  # fields, bytes
_COPIED = 1 << 20  # bytes copied at once
# Field numbers of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types


def read_graph(path: Path) -> ModelProto:
    """The model in `path`, large initialisers as external data of that same file.

    Raises ValueError, or protobuf's own errors, for what is no ONNX file, or one with more beside
    its weights than a model has.
    """
    model = ModelProto()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        for number, start, first, end in reader.fields(0, len(data)):
            if number != _GRAPH:
                model.MergeFromString(reader.taken(start, end))
                continue
            for inner, start, content, stop in reader.fields(first, end):
                if inner == _INITIALIZER:
                    _add_initializer(
                        model.graph.initializer.add(), reader, content, stop, path.name
                    )
                else:
                    model.graph.MergeFromString(reader.taken(start, stop))
    return model


def _add_initializer(
    tensor: TensorProto, reader: "_Reader", start: int, end: int, location: str
) -> None:
    for number, begin, content, stop in reader.fields(start, end):
        if number != _RAW_DATA or stop - content < LARGE:
            tensor.MergeFromString(reader.taken(begin, stop))
            continue
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", content), ("length", stop - content)):
            tensor.external_data.add(key=key, value=str(value))


def write_graph(model: ModelProto, folder: Path, out: Path) -> None:
    """Writes `model` as one file with all weights inside; `model` loses them.

    Its external data lies in `folder`.

    Each weight follows the rest as a message of its own, which protobuf adds to the graph's other
    initialisers.
    """
    tensors = [
        TensorProto.FromString(tensor.SerializeToString()) for tensor in model.graph.initializer
    ]
    apart = [tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        tensor for tensor in tensors if tensor.data_location != TensorProto.EXTERNAL
    )
    with out.open("wb") as stream:
        stream.write(model.SerializeToString())
        for tensor in apart:
            where = {entry.key: entry.value for entry in tensor.external_data}
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            length, head = int(where["length"]), tensor.SerializeToString()
            head += _key(_RAW_DATA) + _as_varint(length)
            initializer = _key(_INITIALIZER) + _as_varint(len(head) + length) + head
            stream.write(_key(_GRAPH) + _as_varint(len(initializer) + length) + initializer)
            with (folder / where["location"]).open("rb") as source:
                source.seek(int(where.get("offset", 0)))
                for start in range(0, length, _COPIED):
                    stream.write(source.read(min(_COPIED, length - start)))


def _key(field: int) -> bytes:
    return _as_varint(field << 3 | _LENGTH)


def _as_varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


class _Reader:
    """The fields of a protobuf file, as long as there are no more of them than a model has."""

    def __init__(self, data: mmap.mmap):
        self._data = data
        self._fields, self._bytes = 0, 0  # read so far

    def taken(self, start: int, end: int) -> bytes:
        """A part of the file, to be parsed."""
        self._bytes += end - start
        if self._bytes > MOST_PARSED:
            raise ValueError("it holds more beside its weights than a model does")
        return self._data[start:end]

    def fields(self, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """The fields of a message: number, and three places in the data.

        Where the field starts, where its content starts, where it ends.
        """
        while position < end:
            start = position
            key, position = _varint(self._data, position, end)
            wire, content = key & 7, position
            if wire == _VARINT:
                _, position = _varint(self._data, position, end)
            elif wire == _LENGTH:
                length, content = _varint(self._data, position, end)
                position = content + length
            elif wire in (_FIXED64, _FIXED32):
                position += 8 if wire == _FIXED64 else 4
            else:
                raise ValueError(f"wire type {wire}")
            if position > end:
                raise ValueError("a field ends behind its message")
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise ValueError("it holds more parts than a model does")
            yield key >> 3, start, content, position


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """A variable-length integer and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("an integer does not end")
