"""The benchmark against true gradients computes what it says; no time is asserted."""

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Exported, rest_slow
from torch.nn import functional as F

from benchmarks import gradient_cost
from benchmarks.descent import Loss, adam, gauss_newton, inverse_hessian, lbfgs
from benchmarks.gradient_cost import Case, check_alike, measure, multiply_out, reached, targets
from benchmarks.gradient_problem import Opened, Problem, made_up, write, write_torch
from benchmarks.gradient_sides import OnnxGradient, TorchGradient
from benchmarks.gradient_table import tables
from benchmarks.install_size import install_mb, with_requirements
from benchmarks.synthetic import EUROSAT, class_names, contexts
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.tuning.methods.gauss_newton import CONTEXT_TOKENS
from edge_sharpzo.tuning.start import Start

NAMES = {"one": ["cat"], "ten": EUROSAT, "in several sequences": class_names(60)}


def problem_of(model: Exported, names: list[str], folder: Path) -> Opened:
    """Random photos of some classes."""
    clip = ClipOnnx(model.onnx, 1)
    prompt = clip.prompts.for_tuning(names, "a photo of a {}.", CONTEXT_TOKENS)
    rng = np.random.default_rng(3)

    def photos(count: int) -> Split:
        features = rng.standard_normal((count, clip.card.feature_dim)).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return Split(features, np.arange(count) % len(names))

    write(
        folder,
        Problem(str(model.onnx), prompt.classes, prompt.context, Start.WORDS, 0, 20.0),
        {"train": photos(40), "val": photos(20), "test": photos(20)},
    )
    write_torch(folder, model.source.model)
    return Opened(folder)


@pytest.mark.parametrize(
    ("family", "names"),
    rest_slow(
        [
            ("vit", "ten"),
            ("vit", "in several sequences"),
            ("vit", "one"),
            ("layer-scale", "in several sequences"),
            ("vit-quickgelu", "ten"),
        ],
        2,
    ),
)
def test_the_exported_gradient_is_that_of_autograd(
    exported: Callable[[str], Exported], tmp_path: Path, family: str, names: str
) -> None:
    opened = problem_of(exported(family), NAMES[names], tmp_path / "problem")
    assert opened.problem.start is Start.WORDS
    assert (len(opened.parts()) > 1) == (names == "in several sequences")
    clip = ClipOnnx(opened.problem.onnx, 1)
    card = clip.card.text
    context = opened.start + contexts(1, CONTEXT_TOKENS, card.width, card.embedding_std, 5)[0]
    product = TextTower(clip, opened.problem.classes, CONTEXT_TOKENS)(context[None])[0]
    upstream = np.random.default_rng(7).standard_normal(product.shape).astype(np.float32)
    sides = [
        OnnxGradient(opened, 1),
        TorchGradient(opened, 1, dense=False),
        TorchGradient(opened, 1, dense=True),
    ]
    slopes = []
    for side in sides:
        assert np.abs(side.text(context) - product).max() < 1e-5
        slopes.append(side.pull(upstream))
    exported_slope, packed, dense = slopes
    largest = np.abs(dense).max()
    assert largest > 0
    assert np.abs(exported_slope - packed).max() < 1e-4 * largest
    assert np.abs(exported_slope - dense).max() < 1e-4 * largest


class Linear:
    """A tower whose features are a fixed linear map of the context."""

    def __init__(self, classes: int, dim: int, context: tuple[int, int], seed: int = 0):
        rng = np.random.default_rng(seed)
        self.map = rng.standard_normal((classes, dim, *context)).astype(np.float32) / 3
        self.calls = {"text": 0, "pull": 0}

    def text(self, context: np.ndarray) -> np.ndarray:
        self.calls["text"] += 1
        return np.tensordot(self.map, context, 2)

    def pull(self, upstream: np.ndarray) -> np.ndarray:
        self.calls["pull"] += 1
        return np.tensordot(upstream, self.map, 2)


@pytest.fixture
def loss() -> Loss:
    """A convex problem of 3 classes."""
    rng = np.random.default_rng(1)
    start = rng.standard_normal((2, 5)).astype(np.float32)
    train = Split(rng.standard_normal((12, 4)).astype(np.float32), np.arange(12) % 3)
    return Loss(Linear(3, 4, (2, 5)), start, 0.5, train, 2.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_the_slope_of_the_loss(loss: Loss, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, direction = rng.standard_normal((2, loss.dim))
    slope = loss.gradient(w) @ direction
    h = 1e-2
    rise = loss.at(w + h * direction).loss - loss.at(w - h * direction).loss
    assert slope == pytest.approx(rise / (2 * h), rel=1e-2, abs=1e-3)
    assert loss.gradient(w) @ direction == pytest.approx(slope)  # it was elsewhere in between


def test_adam_is_pytorch_s(loss: Loss) -> None:
    rate, tower, few_shot = 1e-2, loss.tower, loss.few_shot
    ctx = torch.from_numpy(loss.start.copy()).requires_grad_(True)
    optimizer = torch.optim.Adam([ctx], lr=rate)
    for seen, _ in zip(adam(loss, rate), range(20), strict=False):
        text = torch.tensordot(torch.from_numpy(tower.map), ctx, 2)
        features, labels = torch.from_numpy(few_shot.features), torch.from_numpy(few_shot.labels)
        value = F.cross_entropy(few_shot.scale * features @ text.T, labels)
        assert seen.loss == pytest.approx(float(value.detach()), rel=1e-4)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def test_a_step_of_adam_is_one_pass_there_and_back(loss: Loss) -> None:
    for _ in zip(adam(loss, 1e-2), range(10), strict=False):
        pass
    assert loss.tower.calls in ({"text": 10, "pull": 9}, {"text": 11, "pull": 10})


@pytest.mark.parametrize("method", [lbfgs, gauss_newton])
def test_descents_lower_a_convex_loss_to_its_least(loss: Loss, method: Any) -> None:
    losses = [seen.loss for seen, _ in zip(method(loss), range(60), strict=False)]
    assert losses == sorted(losses, reverse=True)
    slowly = [seen.loss for seen, _ in zip(adam(loss, 2e-2), range(3000), strict=False)]
    assert losses[-1] < min(slowly) + 1e-3
    assert losses[-1] < 0.9 * losses[0]


def test_lbfgs_takes_the_last_change_of_slope_for_true() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 6))
    hessian = root @ root.T + np.eye(6)
    pairs = deque(((s := rng.standard_normal(6)), hessian @ s) for _ in range(4))
    step, change = pairs[-1]
    assert inverse_hessian(pairs, change) == pytest.approx(step)


CURVE = [
    [0, 0.0, 3.0, 0.2],
    [40, 1.0, 2.0, 0.5],
    [80, 2.0, 2.5, 0.6],
    [120, 3.0, 1.0, 0.55],
]


@pytest.mark.parametrize(
    ("queries", "aim", "loss_hit", "held_out_hit"),
    [
        (40, {"loss": 2.0, "held_out": 0.5}, [40, 1.0], [40, 1.0]),
        (100, {"loss": 2.0, "held_out": 0.5}, [40, 1.0], [40, 1.0]),
        (120, {"loss": 1.0, "held_out": 0.55}, [120, 3.0], [80, 2.0]),
        (0, {"loss": 3.0, "held_out": 0.2}, [0, 0.0], [0, 0.0]),
    ],
)
def test_targets_and_when_they_are_reached(
    queries: int, aim: dict[str, float], loss_hit: list[float], held_out_hit: list[float]
) -> None:
    assert targets(CURVE, queries) == aim
    assert reached(CURVE, aim) == {"loss": loss_hit, "held_out": held_out_hit}


def test_what_is_never_reached_is_none() -> None:
    assert reached(CURVE, {"loss": 0.9, "held_out": 0.61}) == {"loss": None, "held_out": None}
    unseen = [[*look[:3], None] for look in CURVE]  # made-up photos have no held-out ones
    assert reached(unseen, {"loss": 1.0, "held_out": None})["held_out"] is None


def test_a_side_cut_short_is_multiplied_out() -> None:
    whole = {"steps": 200, "reached": {"5": {"loss": [150, 1.5], "held_out": None}}}
    cut = {"steps": 10, "ms_per_step": 2000.0, "reached": {"5": {"loss": None, "held_out": None}}}
    multiply_out(cut, whole)
    assert cut["reached"] == {"5": {"loss": [150, 300.0], "held_out": None}}
    assert cut["multiplied_out"]
    measured = {**cut, "steps": 200, "reached": {"5": {"loss": [150, 9.0], "held_out": None}}}
    measured.pop("multiplied_out")
    multiply_out(measured, whole)
    assert measured["reached"]["5"]["loss"] == [150, 9.0]
    assert "multiplied_out" not in measured


@pytest.mark.parametrize("apart", [2e-3, -0.1, float("nan")])
def test_sides_that_descend_apart_end_the_benchmark(apart: float) -> None:
    one = {"side": "a", "first_losses": [2.0, 1.0]}
    check_alike(one, {"side": "b", "first_losses": [2.0, 1.0005]})
    with pytest.raises(SystemExit, match="a and b descend apart"):
        check_alike(one, {"side": "b", "first_losses": [2.0, 1.0 + apart]})


@pytest.fixture
def toy(exported: Callable[[str], Exported], tmp_path: Path) -> Path:
    """A made-up problem of the tiny model."""
    model, folder = exported("vit"), tmp_path / "toy"
    write(folder, *made_up(model.onnx, 3, 0))
    write_torch(folder, model.source.model)
    return folder


@pytest.mark.slow
def test_the_benchmark_runs_and_goes_on_where_it_was_stopped(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_cost, "RATES", (5e-3, 2e-2))
    out = tmp_path / "gradient_cost.json"
    sizes = {"nothing": 0.0}
    case = Case("tiny", 3, queries=(100, 200), steps=6)

    def run(most: int) -> dict[str, Any]:
        result = gradient_cost.resumed(
            gradient_cost.record({"install_mb": sizes, "cases": []}, 1), out
        )
        sides = gradient_cost.run_side
        left = [most]

        def limited(*options: object) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return sides(*options)

        with monkeypatch.context() as patch:
            patch.setattr(gradient_cost, "run_side", limited)
            measure(case, toy, 1, result, out)
        return json.loads(out.read_text())

    with pytest.raises(KeyboardInterrupt):
        run(2)
    assert [row["side"] for row in json.loads(out.read_text())["cases"][0]["rows"]] == [
        "ours",
        "onnx-adam",
    ]
    (entry,) = run(5)["cases"]
    assert entry == run(0)["cases"][0]
    assert len(entry["rows"]) == 7
    assert "ScatterND" in entry["new_operators"]["backward.onnx"]
    ours, adam_rows = entry["rows"][0], entry["rows"][1:3]
    assert set(ours["reached"]) == {"100", "200"}
    assert all(row["peak_mb"] > 0 for row in entry["rows"])
    assert {row["rate"] for row in adam_rows} == {5e-3, 2e-2}
    packed, dense = entry["rows"][3:5]
    best = min(adam_rows, key=lambda row: row["val_loss"])
    assert packed["first_losses"] == pytest.approx(best["first_losses"], rel=1e-4)
    assert dense["first_losses"] == pytest.approx(best["first_losses"], rel=1e-4)
    text = tables(json.loads(out.read_text()))
    assert "| tiny, 3 classes | loss of 100 queries | loss of 200 queries | ms a step |" in text
    assert text.count("\n| ") == 7 + 1


def test_two_machines_are_not_mixed(tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    here = gradient_cost.record({"install_mb": {}, "cases": []}, 1)
    for name, other in (("threads", 2), ("processor", "abacus"), ("cores", 99)):
        out.write_text(json.dumps({**here, name: other}))
        with pytest.raises(SystemExit, match=f"another {name}.*another --out"):
            gradient_cost.resumed(here, out)


def test_installed_sizes_count_what_a_package_requires() -> None:
    assert {"onnxruntime", "numpy"} <= with_requirements("onnxruntime")
    sizes = install_mb()
    assert 0 < sizes["onnxruntime and NumPy"] < sizes["edge-sharpzo"] < sizes["PyTorch"]
