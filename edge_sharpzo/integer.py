"""Matrix products in integers, for models whose weights are stored in 8 bits."""

import onnx
from onnx import NodeProto, TensorProto, helper


def multiply_in_integers(model: onnx.ModelProto) -> None:
    """Turns products of float inputs with 8-bit weights, in place, into products of 8-bit inputs with those weights.

    Inputs are rounded with one scale for the whole tensor, found anew at every call (ONNX's DynamicQuantizeLinear), and
    products are summed exactly in 32 bits. onnxruntime's CPU provider makes one operator of each such group. Rounded
    inputs move the outputs by some per cent: fit for classifying and for comparing prompts far apart, not for
    finite differences.
    """
    graph = model.graph
    weights = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    rounded: set[str] = set()
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            nodes.append(node)
            continue
        left, out = node.input[0], node.output[0]
        stored, scale = weights[node.input[1]].input[:2]
        if left not in rounded:
            rounded.add(left)
            nodes.append(helper.make_node("DynamicQuantizeLinear", [left], [f"{left}.int8", f"{left}.scale", f"{left}.zero"]))
        nodes += [
            helper.make_node("MatMulInteger", [f"{left}.int8", stored, f"{left}.zero"], [f"{out}.sum"]),
            helper.make_node("Cast", [f"{out}.sum"], [f"{out}.float32"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{left}.scale", scale], [f"{out}.scale"]),
            helper.make_node("Mul", [f"{out}.float32", f"{out}.scale"], [out]),
        ]
    used = {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(node for node in nodes if node.output[0] not in weights or node.output[0] in used)
