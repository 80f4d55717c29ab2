"""Closed-form classifiers of other papers against their definitions."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers import clouds

from benchmarks import opponents
from benchmarks.opponents import (
    OPPONENTS,
    Logits,
    Opponent,
    centred_means,
    clap,
    clap_multipliers,
    fitted,
    gda_and_text,
    lp_plus_plus,
    lp_step_sizes,
    proker,
    tip_adapter,
    zero_shot,
)
from edge_sharpzo.classifier.heads import gda
from edge_sharpzo.photos.labelled import Split, Splits
from edge_sharpzo.tuning.loss import softmax

SCALE = 20.0
TEXT = np.random.default_rng(3).standard_normal((4, 6))
TEXT /= np.linalg.norm(TEXT, axis=1, keepdims=True)
PHOTOS, TEST = Split(*clouds(0, 3)), Split(*clouds(1, 20))


def slope(loss: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Gradient by central differences, of the shape of `at`."""
    gradient, step = np.zeros(at.shape), 1e-6
    for place in np.ndindex(at.shape):
        shift = np.zeros(at.shape)
        shift[place] = step
        gradient[place] = (loss(at + shift) - loss(at - shift)) / (2 * step)
    return gradient


def mean_loss(logits: np.ndarray) -> float:
    return float(-np.log(softmax(logits)[np.arange(len(logits)), PHOTOS.labels]).mean())


@pytest.mark.parametrize("shots", [1, 2, 8])
@pytest.mark.parametrize("name", OPPONENTS)
def test_each_opponent_learns_from_the_photos_that_it_gets(name: str, shots: int) -> None:
    nothing = Split(PHOTOS.features[:0], PHOTOS.labels[:0])
    photos = Splits(Split(*clouds(0, shots)), Split(*clouds(5, 4)), nothing, nothing)
    logits = fitted(OPPONENTS[name], TEXT, photos, SCALE)(TEST.features)
    assert logits.shape == (80, 4)
    assert np.isfinite(logits).all()
    right = (logits.argmax(axis=1) == TEST.labels).mean()
    alone = (zero_shot(TEXT, PHOTOS, SCALE)(TEST.features).argmax(axis=1) == TEST.labels).mean()
    assert right > alone + 0.1 or name == "zero-shot"


def test_centred_means_are_three_parts_photos_and_one_part_text() -> None:
    photos = Split(np.array([[3.0, 1.0], [1.0, 1.0]]), np.array([0, 1]))  # (1, 0), (-1, 0) centred
    text = np.array([[1.0, 3.0], [1.0, 1.0]])  # (0, 1), (0, -1) centred
    logits = centred_means(text, photos, 2.0)(np.array([[2.0, 1.0], [3.0, 1.0], [2.0, 2.0]]))
    assert logits == pytest.approx(np.array([[0.0, 0.0], [6.0, -6.0], [2.0, -2.0]]))


@pytest.mark.parametrize("beta", [1.0, 5.5, 12.0])
def test_tip_adapter_without_a_cache_is_zero_shot(beta: float) -> None:
    plain = zero_shot(TEXT, PHOTOS, SCALE)(TEST.features)
    assert np.array_equal(tip_adapter(TEXT, PHOTOS, SCALE, 0.0, beta)(TEST.features), plain)
    # A cached photo of cosine c counts alpha exp(-beta (1 - c)) for its class.
    (key,), label = PHOTOS.features[:1], int(PHOTOS.labels[0])
    one = Split(PHOTOS.features[:1], PHOTOS.labels[:1])
    more = tip_adapter(TEXT, one, SCALE, 3.0, beta)(TEST.features) - plain
    assert more[:, label] == pytest.approx(3 * np.exp(-beta * (1 - TEST.features @ key)), abs=1e-5)
    assert np.delete(more, label, axis=1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.001, 1.0, 100.0])
def test_gda_is_added_to_the_text(alpha: float) -> None:
    together = gda_and_text(TEXT, PHOTOS, SCALE, alpha)(TEST.features)
    head = gda(*PHOTOS, TEXT).logits(TEST.features)
    assert together == pytest.approx(SCALE * TEST.features @ TEXT.T + alpha * head, rel=1e-5)


def test_steps_of_lp_plus_plus_by_hand() -> None:
    features = np.diag([3.0, 2.0, 1.0])  # largest eigenvalue of F'F: 9
    on_text = np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])  # squares sum up to 5 and 10
    assert lp_step_sizes(features, on_text) == pytest.approx((4 * 3 / 9, 3 / (4 * 10)))


@pytest.mark.parametrize("steps", [1, 9, 10, 11])
def test_lp_plus_plus_goes_down_the_slope(steps: int) -> None:
    """Of weights and biases with momentum, of the shares of the text in every tenth step."""
    wanted, on_text = np.eye(4)[PHOTOS.labels], PHOTOS.features @ TEXT.T

    def loss(point: np.ndarray) -> float:
        weight, bias, share = point[:, :6], point[:, 6], point[:, 7]
        return mean_loss(PHOTOS.features @ weight.T + bias + share * on_text)

    share = 2.5 * SCALE * (on_text * wanted).sum() / 12
    point = np.column_stack([wanted.T @ PHOTOS.features, np.zeros(4), np.full(4, share)])
    step, text_step = lp_step_sizes(PHOTOS.features, on_text)
    velocity = np.zeros((4, 7))
    for count in range(1, steps + 1):
        gradient = slope(loss, point)
        velocity = 0.9 * velocity + gradient[:, :7]
        point[:, :7] -= step * velocity
        if count == 10:
            point[:, 7] -= text_step * gradient[:, 7]
    weight, bias, share = point[:, :6], point[:, 6], point[:, 7]
    expected = TEST.features @ weight.T + bias + share * (TEST.features @ TEXT.T)
    found = lp_plus_plus(TEXT, PHOTOS, SCALE, steps)(TEST.features)
    assert found == pytest.approx(expected, abs=1e-3)


def test_multipliers_of_clap_by_hand() -> None:
    """A class's is the mean probability that zero-shot gives to its photos."""
    text = np.log(np.array([[1.0, 2.0], [1.0, 1.0]]))  # logits of a one-hot photo: 0 or log 2, 0
    photos = Split(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]))
    assert clap_multipliers(text, photos, 1.0) == pytest.approx([(2 / 3 + 1 / 2) / 2, 1 / 3])


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0])
def test_clap_goes_down_the_slope_of_cosines(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first step the penalty is at its minimum."""
    monkeypatch.setattr(opponents, "CLAP_EPOCHS", 1)
    monkeypatch.setattr(opponents, "CLAP_FIRST_RATE", rate)

    def unit(weight: np.ndarray) -> np.ndarray:
        return np.asarray(weight / np.linalg.norm(weight, axis=1, keepdims=True))

    gradient = slope(lambda w: mean_loss(SCALE * PHOTOS.features @ unit(w).T), TEXT)
    expected = SCALE * TEST.features @ unit(TEXT - rate * gradient).T
    assert clap(TEXT, PHOTOS, SCALE)(TEST.features) == pytest.approx(expected, abs=1e-4)


def test_clap_holds_what_zero_shot_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(multiplier: float) -> float:
        monkeypatch.setattr(opponents, "clap_multipliers", lambda *_: np.full(4, multiplier))
        plain = zero_shot(TEXT, PHOTOS, SCALE)(TEST.features)
        return float(np.abs(clap(TEXT, PHOTOS, SCALE)(TEST.features) - plain).mean())

    assert moved(0.0) > moved(1.0) > moved(10.0) > 0


@pytest.mark.parametrize(("beta", "strength"), [(0.5, 0.01), (2.0, 0.3), (8.0, 3.0)])
def test_proker_minimises_errors_and_the_distance_from_zero_shot(
    beta: float, strength: float
) -> None:
    """Over all sums of kernels about the photos, by a dense solve of the normal equations."""
    keys, wanted = PHOTOS.features.astype(float), np.eye(4)[PHOTOS.labels]
    kernel = np.array([[np.exp(-beta * (1 - a @ b)) for b in keys] for a in keys])
    at_test = np.array([[np.exp(-beta * (1 - a @ b)) for b in keys] for a in TEST.features])
    left = kernel @ kernel + strength * kernel
    dual = np.linalg.lstsq(left, kernel @ (wanted - keys @ TEXT.T), rcond=None)[0]
    expected = TEST.features @ TEXT.T + at_test @ dual
    found = proker(TEXT, PHOTOS, SCALE, beta, strength)(TEST.features)
    assert found == pytest.approx(expected, abs=1e-4)


def test_proker_between_zero_shot_and_the_labels() -> None:
    strong, weak = (proker(TEXT, PHOTOS, SCALE, 4.0, s)(PHOTOS.features) for s in (1e9, 1e-9))
    assert strong == pytest.approx(PHOTOS.features @ TEXT.T, abs=1e-6)
    assert weak == pytest.approx(np.eye(4)[PHOTOS.labels], abs=1e-4)


@pytest.mark.parametrize(("settings", "best"), [((1.0, 3.0, 2.0), 3.0), ((2.0, 2.5, 0.0), 2.5)])
def test_validation_chooses_and_borrowed_photos_are_learnt_from(
    settings: tuple[float, ...], best: float
) -> None:
    fits: list[tuple[int, float]] = []

    borrowed = Split(PHOTOS.features[:5], PHOTOS.labels[:5])
    photos = Splits(PHOTOS, TEST, TEST, borrowed)

    def rising(_: np.ndarray, photos: Split, __: float, share: float) -> Logits:
        fits.append((len(photos.labels), share))
        # Right for the classes below `share`.
        wanted = np.where(TEST.labels < share, TEST.labels, (TEST.labels + 1) % 4)
        return lambda features: np.eye(4)[wanted]

    fitted(Opponent(rising, tuple((s,) for s in settings)), TEXT, photos, SCALE)
    assert fits == [*((12, s) for s in settings), (17, best)]
