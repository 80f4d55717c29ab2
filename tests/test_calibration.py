"""Probabilities that mean what they say, and a threshold that keeps its promise."""

import numpy as np
import pytest

from edge_sharpzo.classifier.calibration import (
    SURE,
    Calibration,
    calibrate,
    calibration_error,
    usual,
)
from edge_sharpzo.tuning.loss import softmax


def drawn(sharpness: float, photos: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, K] and labels [N] drawn from their own softmax; the logits are then made
    `sharpness` times too large.
    """
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((photos, classes))
    labels = np.array([rng.choice(classes, p=row) for row in softmax(logits)])
    return sharpness * logits, labels


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 6.0])
def test_the_temperature_undoes_too_large_or_small_logits(sharpness: float) -> None:
    logits, labels = drawn(sharpness)
    found = calibrate(logits, labels)
    assert found.temperature == pytest.approx(sharpness, rel=0.1)
    error = calibration_error(softmax(logits / found.temperature), labels)
    assert error is not None
    assert error < 0.02


def test_answers_above_the_threshold_are_right_often_enough() -> None:
    logits, labels = drawn(1.0)
    found = calibrate(logits, labels)
    probabilities = softmax(logits / found.temperature)
    sure = probabilities.max(axis=1) >= found.threshold
    right = probabilities.argmax(axis=1) == labels
    assert 0.05 < sure.mean() < 0.95
    assert right[sure].mean() == pytest.approx(SURE, abs=0.006)
    assert right[~sure].mean() < SURE


def test_hopeless_logits_are_never_sure_and_no_photos_say_nothing() -> None:
    logits, labels = drawn(1.0, photos=50)
    wrong = np.where(np.eye(5, dtype=bool)[labels], -50.0, logits)
    assert (calibrate(wrong, labels).threshold or 0) >= SURE
    assert calibrate(logits[:0], labels[:0]) == Calibration(1.0, None)
    assert calibration_error(softmax(logits[:0]), labels[:0]) is None


def test_the_error_of_overconfidence() -> None:
    sure = np.tile([0.95, 0.05], (10, 1))
    assert calibration_error(sure, np.array([0] * 6 + [1] * 4)) == pytest.approx(0.35)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("photos", [3, 40, 400])
def test_the_scale_of_logits_changes_nothing(scale: float, photos: int) -> None:
    """There is no largest temperature and no smallest one."""
    logits, labels = drawn(1.0, photos)
    found, scaled = calibrate(logits, labels), calibrate(scale * logits, labels)
    assert scaled.temperature == pytest.approx(scale * found.temperature, rel=2e-3)
    assert scaled.threshold == pytest.approx(found.threshold, abs=1e-3)


@pytest.mark.parametrize(("classes", "photos"), [(2, 2), (2, 20), (10, 10), (10, 40)])
def test_a_few_photos_that_are_all_right_make_no_certainty(classes: int, photos: int) -> None:
    """Any temperature, the smaller the better, suits them; the prior does not."""
    labels = np.arange(photos) % classes
    logits = 1000 * np.eye(classes)[labels] + np.random.default_rng(0).normal(
        0, 1, (photos, classes)
    )
    found = calibrate(logits, labels)
    probabilities = softmax(logits / found.temperature)
    assert 0.5 < probabilities.max() < 0.9999
    assert found.temperature > 30


def test_many_photos_override_the_prior() -> None:
    logits, labels = drawn(1.0, 4000, classes=3)
    sharp = calibrate(8 * logits, logits.argmax(axis=1))  # every answer is right
    assert calibrate(8 * logits, labels).temperature > 3 * sharp.temperature


def test_logits_that_say_nothing() -> None:
    assert calibrate(np.ones((4, 3)), np.array([0, 1, 2, 0])) == Calibration()
    assert usual(np.ones((4, 3))) == Calibration(1.0, SURE)
