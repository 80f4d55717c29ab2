"""Writes the three towers of a model into one `clip.onnx`."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from edge_sharpzo import __version__
from edge_sharpzo.clip.card import CARD_KEY, TOKENIZER_KEY, ModelCard
from edge_sharpzo.clip.search_start import SEARCH_START_KEY, stored_start
from export.towers import DenseTextTower, ImageTower, PackedTextTower, TokenTable

OPSET = 20
# Bytes of weights; larger files keep them beside, so that a device maps only the tower it needs.
INLINE_LIMIT = 200_000_000
SMALL = 1024  # elements; smaller tensors (norms, biases, shapes) are never converted

PACKED_INPUTS = ("ctx", "names", "positions", "mask", "eot")
DENSE_INPUTS = ("ctx", "before", "after", "eot")


class Towers(nn.Module):
    """The three towers behind one forward: they become one graph whose parts share nothing."""

    def __init__(
        self, image: ImageTower, text: PackedTextTower | DenseTextTower, tokens: TokenTable
    ):
        super().__init__()
        self.image, self.text, self.tokens = image, text, tokens

    def forward(
        self, pixel_values: Tensor, token_ids: Tensor, *text: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.image(pixel_values), self.text(*text), self.tokens(token_ids)


def _examples(card: ModelCard) -> tuple[list[str], list[Tensor], list[dict[int, object]]]:
    """Input names, example tensors with more than one row in every dynamic dimension, and which
    dimensions those are.
    """
    dynamic, width, text = torch.export.Dim.DYNAMIC, card.text.width, card.text
    names = ["pixel_values", "token_ids"]
    tensors = [torch.randn(2, 3, *card.image.size), torch.arange(5)]
    shapes: list[dict[int, object]] = [{0: dynamic}, {0: dynamic}]
    if text.layout == "packed":
        names += PACKED_INPUTS
        tensors += [
            torch.randn(2, 4, width),
            torch.randn(6, width),
            torch.arange(11),
            torch.zeros(11, 11),
            torch.tensor([7, 10]),
        ]
        shapes += [
            {0: dynamic, 1: dynamic},
            {0: dynamic},
            {0: dynamic},
            {0: dynamic, 1: dynamic},
            {0: dynamic},
        ]
    else:
        behind = text.context_length - 4 - len(text.start)
        names += DENSE_INPUTS
        tensors += [
            torch.randn(2, 4, width),
            torch.randn(3, len(text.start), width),
            torch.randn(3, behind, width),
        ]
        tensors += [torch.tensor([5, 6, 7])]
        shapes += [{0: dynamic, 1: dynamic}, {0: dynamic}, {0: dynamic, 1: dynamic}, {0: dynamic}]
    return names, tensors, shapes


def build_graph(towers: Towers, card: ModelCard) -> onnx.ModelProto:
    """Exports the towers with torch's exporter; P, K, T, n_ctx and the photo count are dynamic."""
    names, tensors, shapes = _examples(card)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator has no ONNX form
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            towers.eval(),
            tuple(tensors),
            input_names=names,
            output_names=["image_features", "text_features", "token_embeddings"],
            dynamic_shapes={
                "pixel_values": shapes[0],
                "token_ids": shapes[1],
                "text": tuple(shapes[2:]),
            },
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    torch.backends.mha.set_fastpath_enabled(fast_path)
    return plain_graph(program)


def plain_graph(program: torch.onnx.ONNXProgram | None) -> onnx.ModelProto:
    """What torch's exporter returned, as one graph without functions or unused nodes.

    Not torch's whole optimisation: it would fold batch norms into convolutions, whose weights then
    no longer fit into half precision exactly. onnxruntime folds them when it loads the file.
    """
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    optimizer.inline(program.model)
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    return program.model_proto


def store_in_half(model: onnx.ModelProto, lossy: bool) -> None:
    """Stores large float32 weights in float16 and casts them in the graph.

    Without `lossy` only those that float16 holds exactly, so that the numbers do not change at all.
    """
    graph, casts = model.graph, []
    table_reads = {
        n.input[0]: n
        for n in graph.node
        if n.op_type in ("Gather", "GatherND") and "token_embeddings" in n.output
    }
    for tensor in graph.initializer:
        if (
            tensor.data_type != TensorProto.FLOAT
            or np.prod(tensor.dims) < SMALL
            or tensor.name.endswith(".scale")
        ):
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all() or not (lossy or np.array_equal(half, values)):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name))
        if name in table_reads:  # cast the rows that were read, not the whole table
            node = table_reads[name]
            node.output[0] = "token_embeddings_half"
            graph.node.append(
                helper.make_node(
                    "Cast", ["token_embeddings_half"], ["token_embeddings"], to=TensorProto.FLOAT
                )
            )
            continue
        for node in graph.node:
            node.input[:] = [f"{name}.float32" if n == name else n for n in node.input]
        casts.append(helper.make_node("Cast", [name], [f"{name}.float32"], to=TensorProto.FLOAT))
    for index, cast in enumerate(casts):
        graph.node.insert(index, cast)
    del graph.value_info[:]


def store_in_int8(model: onnx.ModelProto) -> None:
    """Stores the weights of all matrix products in 8 bits, with a scale for each column, and scales
    them back in the graph.

    As ONNX's quantised models do (DequantizeLinear in front of MatMul); whether products are then
    taken in floating point or in integers is the device's choice. Convolutions and the token table
    stay what they are.
    """
    graph = model.graph
    weights = {
        t.name: t
        for t in graph.initializer
        if t.data_type == TensorProto.FLOAT and len(t.dims) == 2 and np.prod(t.dims) >= SMALL
    }
    products = [
        node for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights
    ]
    names = sorted({node.input[1] for node in products})
    for node in products:
        node.input[1] += ".float32"
    for name in names:
        values = numpy_helper.to_array(weights[name])
        scale = np.maximum(np.abs(values).max(axis=0), np.finfo(np.float32).tiny) / np.float32(127)
        weights[name].CopyFrom(
            numpy_helper.from_array(np.round(values / scale).astype(np.int8), name)
        )
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        graph.node.insert(
            0,
            helper.make_node(
                "DequantizeLinear",
                [name, f"{name}.scale"],
                [f"{name}.float32"],
                f"{name}.dequantize",
                axis=1,
            ),
        )


def write(
    model: onnx.ModelProto,
    card: ModelCard,
    tokenizer_json: str,
    path: Path,
    search_start: np.ndarray | None = None,
) -> list[Path]:
    """Writes the model with its metadata to `path`; returns that file and, for large models, its
    `.data` beside it. `search_start` as `learned_start` gives it.
    """
    del model.metadata_props[:]
    told = {CARD_KEY: card.to_json(), TOKENIZER_KEY: tokenizer_json}
    if search_start is not None:
        told[SEARCH_START_KEY] = stored_start(search_start)
    for key, value in told.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "edge-sharpzo", __version__
    model.doc_string = f"{card.name} ({card.weights}), prompt embeddings as inputs"
    for node in model.graph.node:  # source lines of the exporter's machine
        del node.metadata_props[:]
        node.doc_string = ""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + ".data")
    data.unlink(missing_ok=True)  # onnx appends
    size = sum(len(t.raw_data) for t in model.graph.initializer)
    if size > INLINE_LIMIT:
        onnx.save(
            model, str(path), save_as_external_data=True, location=data.name, size_threshold=SMALL
        )
        data.chmod(path.stat().st_mode)
    else:
        onnx.save(model, str(path))
    return [path, data] if data.exists() else [path]
