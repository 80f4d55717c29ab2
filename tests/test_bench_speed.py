"""The parts of the speed and memory benchmarks compute what they say; no time is asserted."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Exported

from benchmarks import memory, scaling, time_to_accuracy
from benchmarks.exports import export_dense
from benchmarks.image_cost import ImageSides
from benchmarks.products import ProductsOnly, packed_products
from benchmarks.query_cost import Model, Sides, agreement, efficiency, measure_classes
from benchmarks.round_cost import compare, dense_query, measure, paper_generation
from benchmarks.synthetic import EUROSAT, photo_features
from benchmarks.timing import fastest
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.tuning.objective import PromptObjective


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
    linear = (
        (layers - 1) * 12 * rows * width**2
        + 2 * rows * width**2
        + 10 * classes * width**2
        + classes * width * dim
    )
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


def test_the_paper_s_generation_is_priced_as_a_product(model: Model) -> None:
    assert paper_generation() == 1064
    dense = dense_query(model.source, model.clip, 3, 1)
    rows = {
        method: compare(measure(model.clip, method, 3, 2, 1), dense)
        for method in ("gauss-newton", "sharpzo")
    }
    assert (rows["gauss-newton"]["queries"], rows["sharpzo"]["queries"]) == (18, 50.24)
    sharpzo = rows["sharpzo"]
    assert sharpzo["paper_generation_dense_ms"] == pytest.approx(1064e3 * dense, abs=0.1)
    assert sharpzo["step_ms"] > sharpzo["sharpness_ms"] / 100


def test_every_side_sees_the_photos_alike(model: Model, photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))[:18]
    ours, *others = (
        call() for call in ImageSides(model.source, model.clip, files).calls().values()
    )
    assert len(ours) == 18
    assert all(np.abs(ours - theirs).max() < 1e-4 for theirs in others)


def test_memory_of_a_run(tiny_onnx: Path, photos: Path) -> None:
    now = memory.resident_mb(os.getpid())
    assert now["resident"] >= now["own"] > 0
    assert memory.resident_mb(2**22 + 1) == {}  # no such process
    found = memory.measure(tiny_onnx, 2000, 1, "--data", photos, "--shots", 6)
    assert found["peak_mb"] >= found["tuning_mb"]["resident"] > 0


def test_a_failed_run_is_told(tmp_path: Path, tiny_onnx: Path) -> None:
    with pytest.raises(RuntimeError, match="edge-sharpzo"):
        memory.measure(tiny_onnx, 100, 1, "--data", tmp_path / "nothing")


def test_time_to_accuracy_takes_the_median_seed_and_prices_the_dense_loop() -> None:
    def runs(*curves: list[tuple[int, float, float]]) -> list[dict[str, object]]:
        return [{"curve": curve} for curve in curves]

    found = {
        ("a", "gauss-newton"): runs(
            [(10, 1.0, 0.5), (20, 2.0, 0.6)], [(30, 3.0, 0.6)], [(90, 9.0, 0.4)]
        ),
        ("a", "sharpzo-paper"): runs([(1000, 40.0, 0.7)]),
    }
    cost = {"models": [{"model": "m", "published_processor_ms": 50.0, "cases": [{"classes": 10}]}]}
    dense = time_to_accuracy.dense_seconds(cost, "m", 20)
    rows = time_to_accuracy.compare(found, "a", 0.6, dense)
    assert [(row["queries"], row["processor_seconds"], row["times_ours"]) for row in rows] == [
        (30, 3.0, 1.0),
        (1000, 40.0, 13.3),
        (1000, 100.0, 33.3),
    ]
    assert [row["queries"] for row in time_to_accuracy.compare(found, "a", 0.8, dense)] == [
        None
    ] * 3


def test_scaling_measures_every_value(tiny_onnx: Path) -> None:
    base = scaling.Problem(classes=3, shots=2)
    for axis, values in (
        ("classes", (2, 12)),
        ("shots", (1, 4)),
        ("context_tokens", (1, 16)),
        ("threads", (1, 2)),
    ):
        found = scaling.measure(tiny_onnx, axis, values, base, 1)
        assert tuple(found) == values
        assert min(found.values()) > 0
