"""The parts of the speed and memory benchmarks compute what they say; no time is asserted."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import Exported

from benchmarks.exports import export_dense
from benchmarks.products import ProductsOnly, packed_products
from benchmarks.query_cost import Model, Sides, agreement, efficiency, measure_classes
from benchmarks.synthetic import EUROSAT, photo_features
from benchmarks.timing import fastest
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.objective import PromptObjective


@pytest.fixture(scope="module")
def model(exported: Callable[[str], Exported], tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny model on every side."""
    tiny = exported("vit")
    dense = tmp_path_factory.mktemp("dense") / "clip.onnx"
    export_dense(tiny.source, dense)
    return Model(tiny.source, ClipOnnx(tiny.onnx, 1), ClipOnnx(dense, 1))


def test_every_side_computes_the_same_features(model: Model) -> None:
    assert model.dense.card.text.layout == "dense"
    assert max(agreement(model).values()) < 1e-5


def test_the_recreated_loop_has_our_loss(model: Model) -> None:
    sides = Sides(model, len(EUROSAT))
    features, labels = photo_features(160, len(EUROSAT), model.clip.card.feature_dim)
    objective = PromptObjective(model.clip, EUROSAT, features, labels, context_tokens=4, dim=32)
    points = 4 * np.random.default_rng(1).standard_normal((3, 32))
    theirs = [sides.published(context) for context in torch.from_numpy(objective.contexts(points))]
    assert np.abs(objective.losses(points, "test") - theirs).max() < 1e-4


def test_products_are_those_of_one_packed_call(model: Model) -> None:
    candidates, rows, classes, width, layers, heads, dim = 3, 20, 5, 32, 2, 2, 24
    products = packed_products(model.source.model, candidates, rows, classes)
    linear = (layers - 1) * 12 * rows * width**2 + 2 * rows * width**2 + 10 * classes * width**2 + classes * width * dim
    attention = 2 * width * rows * ((layers - 1) * rows + classes)
    alone = ProductsOnly(products, 1)
    assert alone.flop == 2 * candidates * (linear + attention)
    assert {product.left[1] for product in products if len(product.left) == 4} == {heads}
    alone()


def test_a_case_of_the_query_benchmark(model: Model) -> None:
    few = measure_classes(model, 2, 1, None)
    assert all(ms > 0 for ms in few["ms"].values())
    assert not few["extrapolated"]
    assert few["packed"]["ratio_by_batch"]["published"][1] > 0
    slow = {"classes": 2, "ms": dict.fromkeys(few["ms"], 1e5)}
    more = measure_classes(model, 4, 1, slow)
    assert more["extrapolated"] == list(few["ms"])
    assert more["ms"]["published"] == 2e5
    assert efficiency(model, (1, 4), 1, 1)["batch_4"]["share_of_products_own_time"] > 0


def test_all_sides_are_called_in_turn() -> None:
    calls: list[str] = []
    seconds = fastest({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", *"aabb", *"aabb"]
    assert min(seconds.values()) > 0
