"""The few-shot loss and its local model against plain finite differences."""

import numpy as np
import pytest

from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.tuning import loss
from edge_sharpzo.tuning.loss import FewShotLoss, cross_entropy


def problem(photos: int) -> tuple[FewShotLoss, np.ndarray, np.ndarray]:
    """Six classes, eight feature dimensions, five directions."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((photos, 8))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    text = rng.standard_normal((6, 8)).astype(np.float32)
    columns = rng.standard_normal((5, 6, 8)).astype(np.float32)
    return FewShotLoss(features, np.arange(photos) % 6, 3.0), text, columns


def test_cross_entropy_by_hand() -> None:
    """One photo on the first of two orthogonal classes at scale ln 3: p = 3 / 4."""
    text = np.eye(2, dtype=np.float32)[None]
    value = cross_entropy(text, np.array([[1.0, 0.0]], np.float32), np.array([0]), float(np.log(3)))
    assert value[0] == pytest.approx(np.log(4 / 3), rel=1e-6)


def expand(
    few_shot: FewShotLoss, text: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return few_shot.expand(few_shot.coordinates(text[None])[0], few_shot.coordinates(columns))


@pytest.mark.parametrize("photos", [6, 30])
def test_the_expansion_is_that_of_the_loss(photos: int) -> None:
    """With fewer photos than feature dimensions, and with more: the coordinates differ, the numbers
    do not.
    """
    few_shot, text, columns = problem(photos)
    h = 1e-2

    def value(point: np.ndarray) -> float:
        moved = (text + np.tensordot(point, columns, 1)).astype(np.float64)
        logits = few_shot.scale * few_shot.features.astype(np.float64) @ moved.T
        return float(
            (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(photos), few_shot.labels]).mean()
        )

    steps = h * np.eye(5)
    wanted_gradient = [(value(s) - value(-s)) / (2 * h) for s in steps]
    wanted_hessian = [
        [(value(s + t) - value(s - t) - value(t - s) + value(-s - t)) / (4 * h * h) for t in steps]
        for s in steps
    ]
    gradient, hessian = expand(few_shot, text, columns)
    assert np.allclose(gradient, wanted_gradient, rtol=1e-2, atol=2e-3)
    assert np.allclose(hessian, wanted_hessian, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("photos", [6, 30])
def test_a_hessian_over_some_photos_leaves_the_gradient_exact(
    photos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact_gradient, exact_hessian = expand(*problem(photos))
    monkeypatch.setattr(loss, "HESSIAN_PHOTOS", photos // 2)
    gradient, hessian = expand(*problem(photos))
    assert np.allclose(gradient, exact_gradient)
    assert not np.allclose(hessian, exact_hessian)
    assert 0.5 < np.trace(hessian) / np.trace(exact_hessian) < 2


@pytest.mark.parametrize("photos", [4, 30])
def test_later_photos_count_when_asked_for(photos: int) -> None:
    """Before: the loss of the first photos alone; after: that of all. The coordinates do not
    change.
    """
    few, text, columns = problem(photos)
    more = Split(problem(photos + 3)[0].features[:3], np.array([0, 1, 5]))
    joined = FewShotLoss(few.features, few.labels, few.scale, held_back=more)
    every = FewShotLoss(
        np.concatenate([few.features, more[0]]), np.concatenate([few.labels, more[1]]), few.scale
    )
    before = joined.coordinates(text[None])
    for counted, wanted in ((False, few), (True, every)):
        if counted:
            joined.add_held_back()
        assert joined.values(text[None]) == pytest.approx(wanted.values(text[None]))
        for ours, theirs in zip(
            expand(joined, text, columns), expand(wanted, text, columns), strict=True
        ):
            assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert np.array_equal(before, joined.coordinates(text[None]))
