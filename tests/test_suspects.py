"""Labels that the other photos contradict, and the class that more photos would help most."""

import numpy as np
import pytest
from helpers import clouds

from edge_sharpzo.classifier.heads import RIDGE, class_means, leaning_gaussians, text_gda
from edge_sharpzo.classifier.suspects import LEAST, ODDS, Judgement, judged, left_out_logits
from edge_sharpzo.classifier.wanting import wanting


def drawn(seed: int, counts: list[int], dim: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos of classes with so many each, and the text of all of them."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.standard_normal((len(counts), dim))
    features = centres[labels] + 0.5 * rng.standard_normal((len(labels), dim))
    return features, labels, centres + rng.standard_normal(centres.shape)


def one_by_one(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """What `left_out_logits` has in closed form: each photo taken out, and the sums made again."""
    means, _, leaning = leaning_gaussians(features, labels, text)
    said = leaning.offset + leaning.lean * text
    within = features - class_means(features, labels, len(text))[labels]
    ridge = RIDGE * (within**2).sum() / (len(labels) - 1) * np.eye(features.shape[1])
    rows = []
    for i, label in enumerate(labels):
        rest = np.arange(len(labels)) != i
        x, y = features[rest], labels[rest]
        own = class_means(x, y, len(text))
        scatter = (x - own[y]).T @ (x - own[y])
        count = (y == label).sum()
        mine = (count * own[label] + leaning.worth * said[label]) / (count + leaning.worth)
        away = features[i] - np.where(np.arange(len(text))[:, None] == label, mine, means)
        precision = features.shape[1] * np.linalg.inv(scatter + ridge)
        rows.append(-((away @ precision) * away).sum(axis=1) / 2)
    return np.array(rows)


@pytest.mark.parametrize(
    "counts", [[6, 6, 6], [2, 9], [1, 5, 3, 1], [4, 0, 4], [3, 2, 2, 2, 2]], ids=str
)
def test_each_photo_left_out_in_closed_form_is_as_one_by_one(counts: list[int]) -> None:
    photos = drawn(len(counts), counts)
    assert np.allclose(left_out_logits(*photos), one_by_one(*photos), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_they_answer_as_heads_that_are_fitted_again(seed: int) -> None:
    features, labels, text = drawn(seed, [8, 8, 8], dim=8)
    again = []
    for i in range(len(labels)):
        rest = np.arange(len(labels)) != i
        again.append(text_gda(features[rest], labels[rest], text).logits(features[i : i + 1])[0])
    closed = left_out_logits(features, labels, text)
    centred = [rows - np.mean(rows, axis=1, keepdims=True) for rows in (closed, again)]
    assert np.abs(centred[0] - centred[1]).max() < 0.05 * np.abs(centred[1]).max()


def flipped(labels: np.ndarray, classes: int, photos: list[int]) -> np.ndarray:
    wrong = labels.copy()
    wrong[photos] = (wrong[photos] + 1) % classes
    return wrong


@pytest.mark.parametrize("per_class", [10, 20, 30])
@pytest.mark.parametrize(
    ("seed", "photos"),
    [(0, [3]), (1, [0, 25]), (2, [7, 8, 9]), (3, [1, 12, 22, 33, 39])],
)
def test_flipped_labels_come_first_and_no_others_are_named(
    seed: int, photos: list[int], per_class: int
) -> None:
    features, labels = clouds(seed, per_class, spread=0.2)
    wrong, text = flipped(labels, 4, photos), np.zeros((4, 6), np.float32)
    found = judged(features, wrong, text)
    assert sorted(np.argsort(-found.odds())[: len(photos)]) == photos
    assert found.looks_like()[photos].tolist() == labels[photos].tolist()
    assert set(found.suspects()) <= set(photos)
    assert len(photos) > 1 or found.suspects() == photos
    assert judged(features, labels, text).suspects() == []


def test_the_most_suspicious_is_the_first_and_the_bound_is_one_of_odds() -> None:
    p = np.array([[0.01, 0.5, 0.49], [0.005, 0.9, 0.095], [0.3, 0.4, 0.3], [0.02, 0.08, 0.9]])
    found = Judgement(np.array([0, 0, 0, 0, 1, 2]), np.concatenate([p, np.eye(3)[1:]]))
    assert found.odds()[:4].round(3).tolist() == [50.0, 180.0, 1.333, 45.0]
    assert found.suspects() == [1, 0]
    assert found.looks_like()[:4].tolist() == [1, 1, 1, 2]
    assert np.allclose(found.missing, [0.99, 0.995, 0.7, 0.98, 0, 0])
    assert ODDS == 50


def test_a_label_that_too_few_photos_share_is_not_judged() -> None:
    for photos in (1, 2, 3, 4):
        labels = np.array([0] * photos + [1])
        found = Judgement(labels, np.tile([0.001, 0.999], (photos + 1, 1)))
        assert len(found.suspects()) == (photos if photos >= LEAST else 0), photos


ODD = {
    "one photo each": (np.eye(3, 6, dtype=np.float32), [0, 1, 2], 3),
    "all the same": (np.ones((9, 4), np.float32) / 2, [0, 1, 2] * 3, 3),
    "two photos": (np.eye(2, dtype=np.float32), [0, 1], 2),
    "a class without photos": (np.eye(6, dtype=np.float32), [0, 0, 0, 2, 2, 2], 3),
    "photos of one class": (np.eye(4, dtype=np.float32), [1, 1, 1, 1], 2),
}


@pytest.mark.parametrize("case", ODD)
def test_photos_that_tell_nothing(case: str) -> None:
    features, labels, classes = ODD[case]
    text = np.zeros((classes, features.shape[1]), np.float32)
    found = judged(features, np.array(labels), text)
    assert np.isfinite(found.probabilities).all()
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert found.suspects() == []
    assert wanting(found) is None


def missing(by_class: list[list[float]]) -> Judgement:
    """Photos that are missed by so much, class by class."""
    labels = np.concatenate([np.full(len(each), k) for k, each in enumerate(by_class)])
    lost = np.concatenate(by_class)
    p = np.tile(lost[:, None] / max(1, len(by_class) - 1), (1, len(by_class)))
    p[np.arange(len(labels)), labels] = 1 - lost
    return Judgement(labels, p)


@pytest.mark.parametrize(
    ("by_class", "named"),
    [
        ([[0.1] * 8, [0.9] * 8, [0.2] * 8], 1),
        ([[0.05] * 12, [0.1] * 12, [0.1, 0.9] * 6], 2),
        ([[0.6] * 10, [0.1] * 10], 0),
        ([[0.3] * 8, [0.3] * 8, [0.3] * 8], None),  # all equally good
        ([[0.01] * 8, [0.05] * 8], None),  # good enough
        ([[0.1] * 20, [0.95] * 3], None),  # too few photos to tell
        ([[0.1, 0.9] * 5, [0.2, 0.9] * 5], None),  # chance
        ([[0.1, 0.9] * 3, [0.05, 0.6] * 3], None),
        ([[0.1, 0.9] * 12, [0.05, 0.6] * 12], 0),
        ([[0.9] * 6], None),
    ],
)
def test_the_class_that_wants_photos(by_class: list[list[float]], named: int | None) -> None:
    assert wanting(missing(by_class)) == named
