"""A model file is untrusted: whatever its card claims, it is refused with a reason before anything
is built from it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from helpers import Place, invoke
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_sharpzo.clip.card import CARD_KEY, TOKENIZER_KEY, parse_card
from edge_sharpzo.system.errors import UserError

NAN, HUGE = float("nan"), 10**12
DELETED = object()
CARDS: dict[str, tuple[str, Any]] = {
    "format missing": ("format", DELETED),
    "format as text": ("format", "1"),
    "name missing": ("name", DELETED),
    "an unknown field": ("extra", 1),
    "image missing": ("image", DELETED),
    "image as list": ("image", []),
    "image size of one": ("image.size", [32]),
    "image size of three": ("image.size", [32, 32, 32]),
    "image size of zero": ("image.size", [0, 32]),
    "image size negative": ("image.size", [-32, 32]),
    "image size as text": ("image.size", ["32", "32"]),
    "image size as number": ("image.size", 32),
    "image size not whole": ("image.size", [32.5, 32]),
    "image size in floats": ("image.size", [32.0, 32.0]),
    "image size true": ("image.size", [True, 32]),
    "mean beyond float32": ("image.mean", [1e308, 0, 0]),
    "mean beyond a float": ("image.mean", [10**400, 0, 0]),
    "std of almost zero": ("image.std", [1e-30, 0.5, 0.5]),
    "name in a list": ("name", ["x"]),
    "name of two lines": ("name", "a\nb"),
    "name of half a letter": ("name", "\ud800"),
    "licence as number": ("licence", 5),
    "versions in a list": ("versions", ["torch"]),
    "versions in numbers": ("versions", {"torch": 2}),
    "width in floats": ("text.width", 32.0),
    "context length true": ("text.context_length", True),
    "feature dim in floats": ("feature_dim", 24.0),
    "two start tokens in a packed layout": ("text.start", [1, 2]),
    "no start token in a packed layout": ("text.start", []),
    "a packed layout read at the last token": ("text.pool", "last"),
    "padding huge": ("text.pad", HUGE),
    "end in floats": ("text.end", [1.0]),
    "embedding std beyond float32": ("text.embedding_std", 1e300),
    "logit bias beyond a float": ("logit_bias", -(10**400)),
    "logit scale true": ("logit_scale", True),
    "image size huge": ("image.size", [HUGE, HUGE]),
    "mean of two": ("image.mean", [0.5, 0.5]),
    "mean NaN": ("image.mean", [NAN, 0.5, 0.5]),
    "std of zero": ("image.std", [0, 0.5, 0.5]),
    "std negative": ("image.std", [-0.5, 0.5, 0.5]),
    "interpolation unknown": ("image.interpolation", "lanczos"),
    "interpolation as list": ("image.interpolation", ["bicubic"]),
    "resize mode unknown": ("image.resize_mode", "stretch"),
    "fill as text": ("image.fill", "white"),
    "fill negative": ("image.fill", -1),
    "text missing": ("text", DELETED),
    "layout unknown": ("text.layout", "sparse"),
    "pool unknown": ("text.pool", "mean"),
    "cleaning unknown": ("text.clean", "upper"),
    "width of zero": ("text.width", 0),
    "width huge": ("text.width", HUGE),
    "width as text": ("text.width", "32"),
    "width of another graph": ("text.width", 64),
    "context length of zero": ("text.context_length", 0),
    "context length huge": ("text.context_length", HUGE),
    "context length not whole": ("text.context_length", 77.5),
    "start as number": ("text.start", 5),
    "start negative": ("text.start", [-1]),
    "start of a thousand": ("text.start", [1] * 1000),
    "end as text": ("text.end", ["a"]),
    "padding negative": ("text.pad", -1),
    "padding as text": ("text.pad", "0"),
    "embedding std of zero": ("text.embedding_std", 0),
    "embedding std NaN": ("text.embedding_std", NAN),
    "no initial words": ("text.words", " "),
    "initial words as number": ("text.words", 5),
    "n_ctx of zero": ("text.n_ctx", 0),
    "n_ctx beyond the model": ("text.n_ctx", 77),
    "feature dim of zero": ("feature_dim", 0),
    "feature dim as text": ("feature_dim", "24"),
    "logit scale of zero": ("logit_scale", 0),
    "logit scale negative": ("logit_scale", -10),
    "logit scale huge": ("logit_scale", 1e9),
    "logit scale infinite": ("logit_scale", float("inf")),
    "logit scale as text": ("logit_scale", "100"),
    "logit bias NaN": ("logit_bias", NAN),
}


def with_card(model: onnx.ModelProto, edit: Callable[[dict[str, Any]], object]) -> None:
    entry = next(entry for entry in model.metadata_props if entry.key == CARD_KEY)
    card = json.loads(entry.value)
    edit(card)
    entry.value = json.dumps(card)


@pytest.mark.parametrize("case", CARDS)
def test_a_false_card_is_refused(case: str, place: Place) -> None:
    path, value = CARDS[case]
    *outer, last = path.split(".")

    def edit(card: dict[str, Any]) -> None:
        for name in outer:
            card = card[name]
        card.pop(last, None)
        if value is not DELETED:
            card[last] = value

    done = invoke("info", place.edited_model(lambda model: with_card(model, edit)))
    assert done.exit_code == 2, done.output
    assert "export it again" in done.stderr
    assert "Traceback" not in done.output


def external(location: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        tensor.external_data.add(key="location", value=location)

    return edit


def metadata(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        for index, entry in enumerate(model.metadata_props):
            if entry.key == key:
                if value is None:
                    del model.metadata_props[index]
                else:
                    entry.value = value
                return

    return edit


def without_node(model: onnx.ModelProto) -> None:
    del model.graph.node[len(model.graph.node) // 2]


def another_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9999


def wrong_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2:
            tensor.raw_data = tensor.raw_data[:-4]


def inside(edit: Callable[[onnx.NodeProto], object]) -> Callable[[onnx.ModelProto], None]:
    """Hides a node in a branch of a branch."""

    def change(model: onnx.ModelProto) -> None:
        node = helper.make_node("Identity", ["a"], ["b"])
        edit(node)
        graph = helper.make_graph([node], "inner", [], [])
        for _ in range(2):
            graph = helper.make_graph(
                [helper.make_node("If", ["c"], ["d"], then_branch=graph, else_branch=graph)],
                "branch",
                [],
                [],
            )
        model.graph.node.append(graph.node[0])

    return change


def constant_elsewhere(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    model.graph.node.append(helper.make_node("Constant", [], ["t"], value=tensor))


def own_function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function(
            "", "Relu6", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], []
        )
    )


GRAPHS: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "weights missing": (external("gone.data"), "needs its weights in gone.data beside it"),
    "weights at an absolute path": (
        external("/etc/passwd"),
        "needs its weights in /etc/passwd beside it",
    ),
    "weights in a folder below": (
        external("sub/gone.data"),
        "needs its weights in sub/gone.data beside it",
    ),
    "a foreign operator in a branch": (
        inside(lambda node: setattr(node, "domain", "evil.corp")),
        "(it holds the operator 'If')",
    ),
    "a constant outside its folder": (
        constant_elsewhere,
        "a constant of it holds 'external_data'",
    ),
    "a function of its own": (own_function, "(a model of it holds 'functions')"),
    "no card": (metadata(CARD_KEY, None), "was not exported by edge-sharpzo"),
    "no tokenizer": (metadata(TOKENIZER_KEY, None), "was not exported by edge-sharpzo"),
    "an empty tokenizer": (metadata(TOKENIZER_KEY, ""), "carries a damaged tokenizer"),
    "a tokenizer of another kind": (
        metadata(TOKENIZER_KEY, '{"model": {"type": "Magic"}}'),
        "carries a damaged tokenizer",
    ),
    "a card that is a list": (metadata(CARD_KEY, "[1]"), "damaged model card"),
    "a card that is a number": (metadata(CARD_KEY, "7"), "damaged model card"),
    "an empty card": (metadata(CARD_KEY, ""), "damaged model card"),
    "a deeply nested card": (metadata(CARD_KEY, "[" * 100_000), "damaged model card"),
    "a node missing": (without_node, "onnxruntime cannot open"),
    "an opset of the future": (another_opset, "onnxruntime cannot open"),
    "weights too short": (wrong_weights, "is not of the size that its shape says"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_broken_graph_is_refused(case: str, place: Place) -> None:
    edit, words = GRAPHS[case]
    done = invoke(*place.tune(onnx=place.edited_model(edit)))
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    assert not (place.tmp / "out" / "summary.json").exists()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def good_card(tiny_onnx: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(tiny_onnx).metadata_props}


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_fuzzed_fields_are_taken_or_refused(good_card: dict[str, str], data: st.DataObject) -> None:
    """Any JSON in any field: a card that makes sense, or a UserError; nothing else."""
    card = json.loads(good_card[CARD_KEY])
    for _ in range(data.draw(st.integers(1, 3))):
        target = data.draw(st.sampled_from([card, card["image"], card["text"]]))
        if isinstance(target, dict) and target:
            target[data.draw(st.sampled_from(sorted(set(target) - {"image", "text"})))] = data.draw(
                JSON_VALUES
            )
    try:
        parsed = parse_card({**good_card, CARD_KEY: json.dumps(card)}, "clip.onnx")
    except UserError:
        return
    assert parsed.text.width > 0
    assert parsed.logit_scale > 0


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=200))
def test_fuzzed_text_is_no_card(good_card: dict[str, str], text: str) -> None:
    with pytest.raises(UserError):
        parse_card({**good_card, CARD_KEY: text}, "clip.onnx")


def test_a_file_too_large_to_be_a_graph_is_not_read(place: Place) -> None:
    file = place.tmp / "big.onnx"
    with file.open("wb") as stream:
        stream.truncate(2**31 + 1)  # a hole: takes no room
    done = invoke("info", file)
    assert done.exit_code == 2
    assert "larger than an ONNX file can be" in done.stderr
