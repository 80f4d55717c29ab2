"""The packed text tower's gradient as two plain ONNX graphs, which any onnxruntime runs.

The forward graph gives the text features and what the backward graph needs of the way there; the
backward graph turns the loss's gradient by the text features into its gradient by the context. Both
are traced from PyTorch's own derivative, for the shapes of one packed sequence.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.utils import Extractor
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.gradient_problem import BACKWARD, FORWARD
from export.graph import OPSET, PACKED_INPUTS, plain_graph
from export.towers import PackedTextTower

UPSTREAM, GRADIENT, FEATURES = "upstream", "gradient", "text_features"
# What only moves or repeats numbers is done again in the backward graph, not handed over.
MOVES = {"Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze", "Identity"}


def export_gradient(
    tower: PackedTextTower, feeds: Mapping[str, np.ndarray], folder: Path
) -> tuple[Path, Path]:
    """Writes both graphs to `folder` for the shapes of `feeds`, by `PACKED_INPUTS`; returns them.

    `ctx` [1, n, W] is one candidate's context. The backward graph's inputs are `upstream` [1, K, D]
    and the forward graph's further outputs, its output is the `gradient` [1, n, W].
    """
    joint = _joint_graph(tower, feeds)
    graphs = _split(joint)
    folder.mkdir(parents=True, exist_ok=True)
    files = (folder / FORWARD, folder / BACKWARD)
    for graph, file in zip(graphs, files, strict=True):
        weights = f"{file.name}.data"  # beside it: onnxruntime maps them
        onnx.save(graph, str(file), save_as_external_data=True, location=weights)
    return files


def _joint_graph(tower: PackedTextTower, feeds: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Text features and gradient in one graph."""
    tower = tower.eval().requires_grad_(False)

    def joint(ctx: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        *packing, upstream = rest
        text, pull = torch.func.vjp(lambda ctx: tower(ctx, *packing), ctx)
        return text, pull(upstream)[0]

    inputs = [torch.from_numpy(np.asarray(feeds[name])) for name in PACKED_INPUTS]
    with torch.no_grad():
        inputs.append(torch.zeros_like(tower(*inputs)))
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = make_fx(joint, decomposition_table=core_aten_decompositions())(*inputs)
        traced.graph.eliminate_dead_code()
        traced.recompile()
        program = torch.onnx.export(
            torch.export.export(traced, tuple(inputs)),
            input_names=[*PACKED_INPUTS, UPSTREAM],
            output_names=[FEATURES, GRADIENT],
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    return plain_graph(program)


def _split(joint: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The forward graph, all that does not depend on `upstream`, and the backward graph.

    What depends on weights alone is in both.
    """
    late, early = {UPSTREAM}, set(PACKED_INPUTS)
    made_by = {name: node for node in joint.graph.node for name in node.output}
    handed = []
    for node in joint.graph.node:
        if late.isdisjoint(node.input):
            if not early.isdisjoint(node.input):
                early.update(node.output)
            continue
        late.update(node.output)
        for name in node.input:
            while name in early and name in made_by and made_by[name].op_type in MOVES:
                name = made_by[name].input[0]
            if name in early:
                handed.append(name)
    handed = list(dict.fromkeys(handed))
    packing = [name for name in handed if name in PACKED_INPUTS]
    saved = [name for name in handed if name not in (*PACKED_INPUTS, FEATURES)]
    features = [FEATURES] if FEATURES in handed else []
    parts = Extractor(joint)
    return (
        parts.extract_model(list(PACKED_INPUTS), [FEATURES, *saved]),
        parts.extract_model([UPSTREAM, *packing, *features, *saved], [GRADIENT]),
    )


def operators(file: Path) -> set[str]:
    """The operators of a graph."""
    return {node.op_type for node in onnx.load(str(file), load_external_data=False).graph.node}
