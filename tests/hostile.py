"""Makes hostile files: whole models and runs with something in them that no export or run writes.

Deterministic: `mutated` gives the same file for the same seed.
"""

import json
import random
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from helpers import Place
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import load_file

from edge_sharpzo.clip.card import CARD_KEY, TOKENIZER_KEY
from edge_sharpzo.system.tensors import save_tensors

Edit = Callable[[onnx.ModelProto], object]
HUGE = 10**12
JSON_POISON: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    HUGE,
    10**400,
    float("nan"),
    float("inf"),
    1e308,
    "",
    "\ud800",
    "a\x1b[2Jb\nc",
    "x" * 100_000,
    [],
    {},
    [[]] * 50,
    {"a": {"b": [1]}},
)


def metadata(key: str, edit: Callable[[Any], Any]) -> Edit:
    """Changes the JSON in a model's metadata; `edit` may return another value."""

    def change(model: onnx.ModelProto) -> None:
        entry = next(entry for entry in model.metadata_props if entry.key == key)
        value = json.loads(entry.value)
        made = edit(value)
        entry.value = json.dumps(value if made is None else made)

    return change


def card(edit: Callable[[Any], Any]) -> Edit:
    return metadata(CARD_KEY, edit)


def tokenizer(edit: Callable[[Any], Any]) -> Edit:
    return metadata(TOKENIZER_KEY, edit)


def before_output(output: str, nodes: Callable[[str], list[onnx.NodeProto]], *more: Any) -> Edit:
    """Puts nodes between a tower and its output: `nodes` gets the name of what the tower makes.

    The last of them has to make the output; `more` are arrays by name that they read.
    """

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["inner" if name == output else name for name in node.output]
        model.graph.node.extend(nodes("inner"))
        for name, array in more:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))

    return change


def doubled(times: int, output: str) -> Edit:
    """Joins a tower's output to itself, over and over."""

    def nodes(start: str) -> list[onnx.NodeProto]:
        names = [start, *(f"d{i}" for i in range(times)), output]
        return [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]

    return before_output(output, nodes)


def with_constants(
    output: str, operator: str, *arrays: Any, late: bool = False, **attributes: Any
) -> Edit:
    """A node of constants whose largest number is added to a tower's output.

    If `late`, the engine cannot know them before it runs: a nothing of the tower's is added.
    """
    given = [(f"c{i}", array) for i, array in enumerate(arrays)]
    names = [f"{name}.late" if late else name for name, _ in given]

    def nodes(start: str) -> list[onnx.NodeProto]:
        nothing = [
            helper.make_node("ReduceMax", [start], ["reduced"], keepdims=0),
            helper.make_node("Mul", ["reduced", "zero"], ["nothing"]),
        ]
        for name, _ in given:
            nothing += [
                helper.make_node("CastLike", ["nothing", name], [f"{name}.nothing"]),
                helper.make_node("Add", [name, f"{name}.nothing"], [f"{name}.late"]),
            ]
        return [
            *(nothing if late else []),
            helper.make_node(operator, names, ["bomb"], **attributes),
            helper.make_node("ReduceMax", ["bomb"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Add", [start, "number"], [output]),
        ]

    return before_output(output, nodes, *given, ("zero", np.float32(0)))


def nested(operator: str) -> Edit:
    """A node with a graph inside."""

    def change(model: onnx.ModelProto) -> None:
        inner = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "inner", [], [])
        names = ["then_branch", "else_branch"] if operator == "If" else ["body"]
        graphs: Any = dict.fromkeys(names, inner)
        model.graph.node.append(helper.make_node(operator, ["x"], ["y"], **graphs))

    return change


def sparse(model: onnx.ModelProto) -> None:
    """Weights as a sparse initialiser that lies in another file."""
    values = TensorProto(name="s", dims=[4], data_type=TensorProto.FLOAT)
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="../key")
    indices = helper.make_tensor("i", TensorProto.INT64, [4], [0, 1, 2, 3])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))


def external(**entries: str) -> Edit:
    """The first weight as external data with these entries."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return change


def weight(edit: Callable[[TensorProto], object]) -> Edit:
    """Changes the largest weight."""
    return lambda model: edit(max(model.graph.initializer, key=lambda t: len(t.raw_data)))


def _numbers(rng: random.Random) -> int:
    return rng.choice([-(2**40), -7, -1, 0, 1, 2, 3, 5, 64, 1000, 2**31, 2**40, 2**62])


def random_graph_edit(rng: random.Random) -> Edit:
    """One change to a node or a weight, of a kind that onnx itself could have stored."""

    def change(model: onnx.ModelProto) -> None:
        nodes, weights = model.graph.node, model.graph.initializer
        node, tensor = rng.choice(nodes), rng.choice(weights)
        kind = rng.randrange(9)
        if kind == 0:
            node.op_type = rng.choice(nodes).op_type
        elif kind == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(nodes).output[0]
        elif kind == 2 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(weights).name
        elif kind == 3 and node.input:
            del node.input[rng.randrange(len(node.input)) :]
        elif kind == 4 and len(tensor.dims):
            tensor.dims[rng.randrange(len(tensor.dims))] = _numbers(rng)
        elif kind == 5:
            tensor.data_type = rng.randrange(24)
        elif kind == 6:
            noise = np.random.default_rng(rng.randrange(2**32)).bytes(len(tensor.raw_data))
            tensor.raw_data = noise
        else:
            chosen = [n for n in nodes if n.attribute]
            attribute = rng.choice(rng.choice(chosen).attribute)
            if attribute.type == onnx.AttributeProto.TENSOR:
                attribute.t.raw_data = np.full(
                    len(attribute.t.raw_data) // 8, _numbers(rng), np.int64
                ).tobytes()
            attribute.i = _numbers(rng)
            attribute.ints[:] = [_numbers(rng) for _ in attribute.ints]
            attribute.f = rng.choice([float("nan"), -1.0, 1e38, 0.0])

    return change


def poisoned(value: Any, rng: random.Random) -> Any:
    """Some place in JSON with another value."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: poisoned(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        return [*value[:index], poisoned(value[index], rng), *value[index + 1 :]]
    return rng.choice(JSON_POISON)


def poisoned_tensor(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Another shape, type or content."""
    kind = rng.randrange(7)
    if kind == 0:
        return array.ravel()[:-1]
    if kind == 1:
        return array[None]
    if kind == 2:
        return array.astype(rng.choice(["int8", "float16", "float64", "bool", "uint64", "int64"]))
    if kind == 3:
        return np.zeros((0, *array.shape[1:]), array.dtype)
    if kind == 4:
        return np.concatenate([array.ravel()] * 3) if array.size else np.ones(5, array.dtype)
    changed = np.array(array).ravel()
    if changed.size:
        worst = [np.nan, np.inf, -1, 1e30] if changed.dtype.kind == "f" else [-1, 2**40, 10**6]
        at = rng.randrange(changed.size)
        with np.errstate(all="ignore"):
            changed[at] = np.array(rng.choice(worst)).astype(changed.dtype)
    return changed.reshape(array.shape)


def resealed(file: Path, edit: Callable[[dict[str, Any], dict[str, str]], object]) -> None:
    """Changes a tensor file and gives it the checksum of what is in it now."""
    tensors: dict[str, Any] = dict(load_file(file))
    with safe_open(file, "np") as stored:
        told = dict(stored.metadata())
    del told["sha256"]
    edit(tensors, told)
    save_tensors(file, tensors, told)


def random_tensor_edit(rng: random.Random) -> Callable[[dict[str, Any], dict[str, str]], object]:
    """One change to a tensor file's arrays or metadata."""

    def change(tensors: dict[str, Any], told: dict[str, str]) -> None:
        if rng.random() < 0.5:
            name = rng.choice(sorted(tensors))
            if rng.random() < 0.1:
                del tensors[name]
            else:
                tensors[name] = poisoned_tensor(tensors[name], rng)
            return
        name = rng.choice(sorted(set(told) - {"run"}))
        try:
            told[name] = json.dumps(poisoned(json.loads(told[name]), rng))
        except ValueError:
            told[name] = rng.choice(["", "nan", "-1", "1e999", "x" * 1000, "\x1b[2J"])

    return change


def copied(run: Path, to: Path) -> Path:
    """A copy of a run to be changed."""
    return Path(shutil.copytree(run, to))


def mutated(seed: int, place: Place, stopped: Path) -> list[list[object]]:
    """A hostile file, and the commands that read it. `stopped` is a run with a checkpoint."""
    rng = random.Random(seed)
    kind = seed % 5
    if kind in (0, 1):
        edit = (
            random_graph_edit(rng)
            if kind == 0
            else metadata(rng.choice([CARD_KEY, TOKENIZER_KEY]), lambda value: poisoned(value, rng))
        )
        return reading_model(place, place.edited_model(edit))
    run = copied(stopped if kind == 4 else place.run, place.tmp / "hostile")
    if kind == 2:
        name = rng.choice(["config.json", "summary.json"])
        found = poisoned(json.loads((run / name).read_text()), rng)
        (run / name).write_text(json.dumps(found))
    elif kind == 3:
        resealed(run / "prompt.safetensors", random_tensor_edit(rng))
    else:
        resealed(run / "checkpoint.safetensors", random_tensor_edit(rng))
        return [["tune", "--resume", run]]
    return reading_run(place, run)


def reading_model(place: Place, model: Path) -> list[list[object]]:
    """The commands that read a model."""
    return [
        ["info", model],
        ["doctor", "--onnx", model, "--threads", 1],
        place.tune(onnx=model),
        ["predict", run_of(place, model), place.photos / "test" / "red_things" / "000.png"],
    ]


def run_of(place: Place, model: Path) -> Path:
    """A run that says it was tuned for `model`."""
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from edge_sharpzo.system.errors import UserError

    run = copied(place.run, place.tmp / "run of it")
    try:
        digest = ClipOnnx(model).sha256
    except UserError:
        digest = "0" * 64
    resealed(run / "prompt.safetensors", lambda _, told: told.update(model_sha256=digest))
    config = json.loads((run / "config.json").read_text())
    config["options"]["onnx"] = str(model)
    (run / "config.json").write_text(json.dumps(config))
    return run


def reading_run(place: Place, run: Path) -> list[list[object]]:
    """The commands that read a finished run."""
    return [
        ["info", run],
        ["compare", run, place.run],
        ["predict", run, place.photos / "test" / "red_things" / "000.png"],
        ["eval", run, "--data", place.photos / "test"],
        ["tune", "--resume", run],
    ]
