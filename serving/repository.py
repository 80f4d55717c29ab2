"""Writes a model repository of a `clip.onnx`, which MLServer and Triton take as it is."""

import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import edge_sharpzo
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.onnx.graph_file import write_graph
from edge_sharpzo.clip.onnx.messages import ModelProto, TensorProto, node, tensor, value_info
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.served import ECHO, NONCE, SHA256, Companion, Served
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import as_type, parse_json, read_text
from export.workspace import workspace
from serving import settings
from serving.tensors import Tensor

ORIGIN = "edge-sharpzo.json"  # says what a repository was made of
MOST_FILE_BYTES = 2**31 - 1  # what protobuf reads
_FORMAT = 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOWERS = {
    Served.TEXT: (Tower.TEXT, False),
    Served.TEXT_INTEGER: (Tower.TEXT, True),
    Served.TOKENS: (Tower.TOKENS, False),
    Served.IMAGE: (Tower.IMAGE, True),  # as a device encodes photos
}


@dataclass(frozen=True)
class Repository:
    """Served models on disk, all of one model file."""

    folder: Path
    models: tuple[str, ...]  # their names

    def file(self, model: str) -> Path:
        """The graph of a model."""
        return _file(self.folder / model)


@dataclass(frozen=True)
class _Origin:
    """What a repository was made of. Where this is equal, it need not be made again."""

    name: str
    sha256: str  # of the model, `ClipOnnx.sha256`
    version: str  # of this package
    sizes: dict[str, int]  # of each `model.onnx` in bytes, by the name of its model
    format: int = _FORMAT


def write_repository(
    clip: ClipOnnx, out: Path, name: str = "clip", may_write: bool = True
) -> Repository:
    """The repository of `clip` in the folder `out`, its models called `name` and a tower's name.

    It is written beside and renamed; where it is there already, nothing is written. Raises
    UserError for a name that servers cannot take, for a tower too large for one file, and where
    something else is in `out`.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"--name {name}: take letters, digits, points, hyphens and underscores, 64 at most, "
            "with a letter or a digit first"
        )
    out = out.absolute()
    found = _origin(out)
    if found and _is_of(found, out, clip, name):
        return Repository(out, tuple(found.sizes))
    if not may_write:
        raise UserError(
            f"{out} is being served, and holds another model or version: stop that server, or give "
            "another --out"
        )
    _check_replaceable(out, found)
    out.parent.mkdir(parents=True, exist_ok=True)
    with workspace(out.parent) as room:
        made = room / "new"
        made.mkdir()
        sizes = {}
        for kind, graph in _graphs(clip):
            model = f"{name}-{kind}"
            sizes[model] = _write_model(made / model, model, graph, clip.folder)
        clip.check_unchanged()
        _write(made / "settings.json", settings.mlserver_settings())
        origin = _Origin(name, clip.sha256, edge_sharpzo.__version__, sizes)
        _write(made / ORIGIN, settings.as_json(asdict(origin)))
        if out.exists():
            out.rename(room / "old")
        made.rename(out)
    return Repository(out, tuple(sizes))


def _origin(folder: Path) -> _Origin | None:
    """What the repository in `folder` was made of; None where there is none."""
    try:
        return as_type(parse_json(read_text(folder / ORIGIN)), _Origin)
    except (OSError, ValueError):
        return None


def _is_of(found: _Origin, folder: Path, clip: ClipOnnx, name: str) -> bool:
    """Whether the repository in `folder` is just what would be written."""
    wanted = _Origin(name, clip.sha256, edge_sharpzo.__version__, found.sizes)
    if found != wanted or set(found.sizes) != {f"{name}-{kind}" for kind, _ in _graphs(clip)}:
        return False
    try:
        sizes = {model: _file(folder / model).stat().st_size for model in found.sizes}
    except OSError:
        return False
    return sizes == found.sizes


def _check_replaceable(out: Path, found: _Origin | None) -> None:
    """Raises UserError where `out` holds what this package did not write."""
    if not (out.exists() or out.is_symlink()):
        return
    if out.is_symlink() or not out.is_dir():
        raise UserError(f"{out} is no folder: give another --out")
    ours = {ORIGIN, "settings.json", *(found.sizes if found else ())}
    if others := sorted({each.name for each in out.iterdir()} - (ours if found else set())):
        raise UserError(
            f"{out} holds {others[0]!r}, which was not written here, so nothing is overwritten: "
            "give another --out, or move it away"
        )


def _graphs(clip: ClipOnnx) -> Iterator[tuple[Served, ModelProto]]:
    """All that is served, with its graph; weights are external data in `clip.folder`."""
    yield Served.CARD, _card(clip)
    for kind, (tower, integer) in _TOWERS.items():
        graph = clip.tower(tower, integer)
        if kind is Served.TEXT_INTEGER and graph == clip.tower(tower):
            continue  # no weights in 8 bits, or no processor for their products
        yield kind, _signed(graph, clip)


def _card(clip: ClipOnnx) -> ModelProto:
    """A graph that gives the card, whatever it is asked."""
    model = ModelProto(ir_version=8)
    model.opset_import.add(version=17)
    model.graph.name = "card"
    _add_constant(model, Served.CARD.output, Companion.of(clip).to_array())
    return _signed(model, clip)


def _signed(model: ModelProto, clip: ClipOnnx) -> ModelProto:
    """`model` with the checksum of `clip` as a further output, and an input that comes back."""
    _add_constant(model, SHA256, np.frombuffer(bytes.fromhex(clip.sha256), np.uint8))
    _check_free(model, {NONCE, ECHO})
    graph = model.graph
    graph.node.append(node("Identity", [NONCE], [ECHO]))
    for values, name in ((graph.input, NONCE), (graph.output, ECHO)):
        values.append(value_info(name, ["nonce_bytes"], TensorProto.UINT8))
    return model


def _add_constant(model: ModelProto, name: str, value: np.ndarray) -> None:
    """Gives `model` an output of a constant value, uint8 [N]."""
    source = f"{name}.constant"
    _check_free(model, {name, source})
    graph = model.graph
    graph.initializer.append(tensor(value, source))
    graph.node.append(node("Identity", [source], [name]))
    graph.output.append(value_info(name, value.shape, TensorProto.UINT8))


def _check_free(model: ModelProto, names: set[str]) -> None:
    """Raises UserError where a part of the model has one of the names."""
    graph = model.graph
    taken = {each.name for each in (*graph.input, *graph.initializer)}
    if clash := sorted(names & taken.union(*(each.output for each in graph.node))):
        raise UserError(f"a part of the model has the name {clash[0]!r}: export the model again")


def _write_model(folder: Path, name: str, graph: ModelProto, weights: Path) -> int:
    """Writes one model's folder; `weights` is where its external data lies.

    Returns the size of `model.onnx` in bytes.
    """
    size = graph.ByteSize() + sum(
        int(entry.value)
        for each in graph.graph.initializer
        for entry in each.external_data
        if entry.key == "length"
    )
    if size > MOST_FILE_BYTES:
        raise UserError(
            f"{name} would take {size / 1e9:.1f} GB, and one file of a server holds 2 GB: export "
            "the model with PRECISION=fp16 or PRECISION=int8"
        )
    inputs, outputs = (
        [Tensor.of(value) for value in values] for values in (graph.graph.input, graph.graph.output)
    )
    file = _file(folder)
    file.parent.mkdir(parents=True)
    write_graph(graph, weights, file)
    _flush(file)
    _write(folder / "model-settings.json", settings.mlserver_model(name, inputs, outputs))
    _write(folder / "config.pbtxt", settings.triton_config(name, inputs, outputs))
    return file.stat().st_size


def _file(folder: Path) -> Path:
    """The graph of the model in `folder`."""
    return folder / settings.VERSION / settings.MODEL_FILE


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf8")
    _flush(file)


def _flush(file: Path) -> None:
    """Makes a file last through a power cut."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
