"""The matrix products of one packed call on their own: what nothing that computes the same numbers
could do without.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export.towers import as_text_module


@dataclass(frozen=True)
class Product:
    """`left` [..., m, k] times a weight [k, n], or times `right` [..., k, n]."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    weight: np.ndarray | None = None

    @property
    def flop(self) -> int:
        """Operations: a multiplication and an addition for each."""
        return 2 * int(np.prod(self.left)) * self.right[-1]


def packed_products(model: nn.Module, candidates: int, rows: int, classes: int) -> list[Product]:
    """Products of one packed call of an open_clip model's text tower, with its weights.

    `candidates` P in one call, `rows` L of the packed sequence, `classes` K: the last block is
    computed for K rows alone.
    """
    text, _ = as_text_module(model)
    blocks, width = text.transformer.resblocks, text.transformer.width
    products = []

    def linear(count: int, weight: np.ndarray) -> None:
        """`weight` [n, k], as PyTorch stores it, for `count` rows of each candidate."""
        products.append(
            Product(
                (candidates * count, weight.shape[1]),
                (weight.shape[1], weight.shape[0]),
                np.ascontiguousarray(weight.T),
            )
        )

    for index, block in enumerate(blocks):
        queries = classes if index == len(blocks) - 1 else rows
        heads = block.attn.num_heads
        weight = block.attn.in_proj_weight.detach().numpy()
        if queries == rows:
            linear(rows, weight)
        else:
            linear(queries, weight[:width])
            linear(rows, weight[width:])
        size = width // heads
        products.append(
            Product((candidates, heads, queries, size), (candidates, heads, size, rows))
        )
        products.append(
            Product((candidates, heads, queries, rows), (candidates, heads, rows, size))
        )
        for layer in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
            linear(queries, layer.weight.detach().numpy())
    linear(classes, text.text_projection.detach().numpy().T)
    return products


class ProductsOnly:
    """An onnxruntime graph of nothing but `products`, called without arguments.

    Every product reads an input of its shape. Of each result one number is handed out, so that none
    can be left away.
    """

    def __init__(self, products: list[Product], threads: int):
        """`threads` of onnxruntime."""
        rng = np.random.default_rng(0)
        one = {"zeros": [0, 0], "ones": [1, 1], "last two": [-2, -1]}
        weights = [numpy_helper.from_array(np.array(values), name) for name, values in one.items()]
        nodes, inputs, outputs = [], [], []
        self._feeds: dict[str, np.ndarray] = {}

        def feed(shape: tuple[int, ...]) -> str:
            name = "x" + "_".join(map(str, shape))
            if name not in self._feeds:
                self._feeds[name] = rng.standard_normal(shape, np.float32)
                inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            return name

        for index, product in enumerate(products):
            if product.weight is not None:
                right = f"w{index}"
                weights.append(numpy_helper.from_array(product.weight, right))
            else:
                right = feed(product.right)
            nodes.append(helper.make_node("MatMul", [feed(product.left), right], [f"y{index}"]))
            nodes.append(helper.make_node("Slice", [f"y{index}", *one], [f"number{index}"]))
            outputs.append(helper.make_tensor_value_info(f"number{index}", TensorProto.FLOAT, None))
        model = helper.make_model(
            helper.make_graph(nodes, "products", inputs, outputs, weights),
            opset_imports=[helper.make_opsetid("", 20)],
            ir_version=9,
        )
        self.flop = sum(product.flop for product in products)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self) -> None:
        self._session.run(None, self._feeds)


def peak_product(threads: int) -> ProductsOnly:
    """The largest product of a ViT-B/16-size tower, 784 x 512 x 2,048: its GFLOP/s are taken as the
    machine's peak.
    """
    weight = np.random.default_rng(0).standard_normal((512, 2048), np.float32)
    return ProductsOnly([Product((784, 512), weight.shape, weight)], threads)
