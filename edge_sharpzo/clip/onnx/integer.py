"""Matrix products in integers, for models whose weights are stored in 8 bits."""

from edge_sharpzo.clip.onnx.messages import ModelProto, NodeProto, TensorProto, node


def has_bytes(model: ModelProto) -> bool:
    """Whether there is a product that `multiply_in_integers` would take otherwise."""
    nodes = model.graph.node
    weights = {each.output[0] for each in nodes if each.op_type == "DequantizeLinear"}
    return any(each.op_type == "MatMul" and each.input[1] in weights for each in nodes)


def multiply_in_integers(model: ModelProto) -> None:
    """Turns float products with 8-bit weights into products of 8-bit numbers, in place.

    Inputs are rounded with one scale for the whole tensor, found anew at every call (ONNX's
    DynamicQuantizeLinear), and products are summed exactly in 32 bits. onnxruntime's CPU provider
    makes one operator of each such group. Rounded inputs move the outputs by some per cent: fit for
    classifying and for comparing prompts far apart, not for finite differences.
    """
    graph = model.graph
    weights = {old.output[0]: old for old in graph.node if old.op_type == "DequantizeLinear"}
    rounded: set[str] = set()
    nodes: list[NodeProto] = []
    for old in graph.node:
        if old.op_type != "MatMul" or old.input[1] not in weights:
            nodes.append(old)
            continue
        left, out = old.input[0], old.output[0]
        stored, scale = weights[old.input[1]].input[:2]
        if left not in rounded:
            rounded.add(left)
            nodes.append(
                node(
                    "DynamicQuantizeLinear",
                    [left],
                    [f"{left}.int8", f"{left}.scale", f"{left}.zero"],
                )
            )
        nodes += [
            node("MatMulInteger", [f"{left}.int8", stored, f"{left}.zero"], [f"{out}.sum"]),
            node("Cast", [f"{out}.sum"], [f"{out}.float32"], to=TensorProto.FLOAT),
            node("Mul", [f"{left}.scale", scale], [f"{out}.scale"]),
            node("Mul", [f"{out}.float32", f"{out}.scale"], [out]),
        ]
    used = {name for made in nodes for name in made.input}
    del graph.node[:]
    graph.node.extend(
        made for made in nodes if made.output[0] not in weights or made.output[0] in used
    )
