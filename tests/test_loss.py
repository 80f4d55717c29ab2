"""The few-shot loss and its local model against plain finite differences."""

import numpy as np
import pytest

from edge_sharpzo import loss
from edge_sharpzo.loss import FewShotLoss, cross_entropy


@pytest.fixture
def problem() -> tuple[FewShotLoss, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((30, 8))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    text = rng.standard_normal((6, 8)).astype(np.float32)
    columns = rng.standard_normal((5, 6, 8)).astype(np.float32)
    return FewShotLoss(features, np.arange(30) % 6, 3.0), text, columns


def test_cross_entropy_by_hand() -> None:
    """One photo on the first of two orthogonal classes at scale ln 3: p = 3 / 4."""
    text = np.eye(2, dtype=np.float32)[None]
    value = cross_entropy(text, np.array([[1.0, 0.0]], np.float32), np.array([0]), float(np.log(3)))
    assert value[0] == pytest.approx(np.log(4 / 3), rel=1e-6)


def test_the_models_derivatives_are_those_of_the_loss(problem: tuple[FewShotLoss, np.ndarray, np.ndarray]) -> None:
    few_shot, text, columns = problem
    model, rng, h = few_shot.along(text, columns), np.random.default_rng(1), 1e-2
    a = 0.1 * rng.standard_normal(5)

    def value(point: np.ndarray) -> float:
        moved = (text + np.tensordot(point, columns, 1)).astype(np.float64)
        logits = few_shot.scale * few_shot.features.astype(np.float64) @ moved.T
        rows = np.arange(len(logits))
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[rows, few_shot.labels]).mean())

    steps = h * np.eye(5)
    gradient = [(value(a + s) - value(a - s)) / (2 * h) for s in steps]
    hessian = [[(value(a + s + t) - value(a + s - t) - value(a - s + t) + value(a - s - t)) / (4 * h * h) for t in steps] for s in steps]
    assert np.allclose(model.gradient(a), gradient, rtol=1e-2, atol=2e-3)
    assert np.allclose(model.hessian(a), hessian, rtol=2e-2, atol=2e-2)


def test_with_many_classes_the_kept_ones_carry_the_gradient(
    problem: tuple[FewShotLoss, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The left-out classes are each photo's least probable ones, so the gradient at the start changes little; its own class is kept."""
    few_shot, text, columns = problem
    text = 3 * text
    exact = few_shot.along(text, columns).gradient(np.zeros(5))
    monkeypatch.setattr(loss, "MODEL_NUMBERS", 5 * 30 * 5)  # five of six classes
    model = few_shot.along(text, columns)
    assert model._slopes.shape == (5, 30, 5)
    assert model._wanted.sum() == 30
    assert np.linalg.norm(model.gradient(np.zeros(5)) - exact) < 0.02 * np.linalg.norm(exact)
