"""Closed-form heads against their definitions."""

import numpy as np
import pytest
from helpers import clouds

from edge_sharpzo.classifier.heads import HEADS, gda, leaning_means, prototypes, ridge, text_gda

SILENT = np.zeros((4, 6))  # text that says nothing


@pytest.mark.parametrize("name", HEADS)
def test_heads_learn_the_clouds(name: str) -> None:
    head = HEADS[name](*clouds(0, 16), SILENT)
    features, labels = clouds(1, 100)
    assert (head.logits(features).argmax(axis=1) == labels).mean() > 0.8


@pytest.mark.parametrize("name", HEADS)
def test_one_shot_is_enough_to_be_finite(name: str) -> None:
    head = HEADS[name](*clouds(0, 1), SILENT)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(head.bias).all()
    features, labels = clouds(1, 50)
    assert (head.logits(features).argmax(axis=1) == labels).mean() > 0.4


def test_gda_is_the_bayes_rule_of_gaussians_with_one_covariance() -> None:
    """With many photos its logits differ from the log densities by a constant per photo and the
    ridge's small share.
    """
    features, labels = clouds(0, 2000)
    head = gda(features, labels, SILENT)
    means = np.stack([features[labels == k].mean(axis=0) for k in range(4)]).astype(np.float64)
    centred = features - means[labels]
    precision = np.linalg.inv(centred.T @ centred / len(features))
    density = -0.5 * np.einsum(
        "nkd,de,nke->nk", features[:, None] - means, precision, features[:, None] - means
    )
    ours, wanted = head.logits(features[:50]), density[:50]
    ours, wanted = (
        ours - ours.mean(axis=1, keepdims=True),
        wanted - wanted.mean(axis=1, keepdims=True),
    )
    slope = (ours * wanted).sum() / (wanted * wanted).sum()
    assert np.corrcoef(ours.ravel(), wanted.ravel())[0, 1] > 0.999
    assert slope > 0


def test_ridge_solves_the_normal_equations() -> None:
    features, labels = clouds(0, 16)
    head = ridge(features, labels, SILENT)
    x, y = features - features.mean(axis=0), np.eye(4)[labels]
    y = y - y.mean(axis=0)
    errors = [
        np.abs((x.T @ x + s * np.eye(6)) @ head.weight.T - x.T @ y).max()
        for s in (0.01, 0.1, 1.0, 10.0)
    ]
    assert min(errors) < 1e-4


# Two classes of two photos each, on the axes 0 and 1 about (0.5, 0.5): class means lie 0.5 from
# the centre on either side along both axes, photos 0.1 from their class's mean.
FOUR = np.array([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0], [-0.1, 1.0]])
TWO = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("text", "beta"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 1.0),  # text like the photos, twice as far apart, ...
        ([[3.0, 1.0], [1.0, 3.0]], 0.5),
        ([[0.0, 1.0], [1.0, 0.0]], 0.0),  # ... the wrong way round, ...
        ([[7.0, 7.0], [7.0, 7.0]], 0.0),  # ... and saying nothing of classes
    ],
)
def test_means_lean_towards_text_by_as_much_as_it_tells(
    text: list[list[float]], beta: float
) -> None:
    away = np.array([[0.5, -0.5], [-0.5, 0.5]])
    said = beta * (np.array(text) - np.mean(text, axis=0))
    unexplained = ((FOUR - 0.5 - said[TWO]) ** 2).sum() / 3
    within = (4 * 0.01 + 2 * 5 / 6 * unexplained) / 4  # two photos by name, two supposed
    between = ((away - said) ** 2).sum()  # of class means, half of `within` among it
    kappa = within / max(between - within / 2, 0.05 * between, np.finfo(float).tiny)
    expected = 0.5 + (2 * away + kappa * said) / (2 + kappa)
    assert leaning_means(FOUR, TWO, np.array(text))[0] == pytest.approx(expected)


def test_one_photo_per_class_counts_as_a_sixth() -> None:
    """Nothing varies within classes then: five sixths of what differs is taken to."""
    photos, labels = np.eye(3), np.arange(3)
    expected = 1 / 3 + (np.eye(3) - 1 / 3) / 6
    assert leaning_means(photos, labels, np.zeros((3, 3)))[0] == pytest.approx(expected)


@pytest.mark.parametrize("shots", [1, 2, 8])
def test_good_text_is_worth_more_than_few_photos_and_useless_text_costs_little(
    shots: int,
) -> None:
    centres = np.random.default_rng(7).standard_normal((4, 6))  # those of `clouds`
    unlike = np.random.default_rng(8).standard_normal((4, 6))
    right = {"good": [], "useless": [], "none": []}
    for seed in range(10):
        photos, (features, labels) = clouds(seed, shots, spread=1.5), clouds(99, 200, spread=1.5)
        heads = {
            "good": text_gda(*photos, centres + 3.0),
            "useless": text_gda(*photos, unlike),
            "none": gda(*photos, SILENT),
        }
        for name, head in heads.items():
            right[name].append((head.logits(features).argmax(axis=1) == labels).mean())
    good, useless, none = (np.mean(values) for values in right.values())
    assert good > none + 0.05
    assert useless > none - 0.05


@pytest.mark.parametrize("absent", [0, 2, 3])
def test_a_class_without_photos_has_what_its_text_says(absent: int) -> None:
    centres = np.random.default_rng(7).standard_normal((4, 6))
    features, labels = clouds(0, 8)
    seen = labels != absent
    means, _ = leaning_means(features[seen], labels[seen], centres)
    assert np.isfinite(means).all()
    away, said = means - means[np.arange(4) != absent].mean(axis=0), centres - centres.mean(axis=0)
    cosine = away[absent] @ said[absent] / np.linalg.norm(away[absent])
    assert cosine / np.linalg.norm(said[absent]) > 0.8
    head = text_gda(features[seen], labels[seen], centres)
    tests, wanted = clouds(1, 100)
    found = head.logits(tests).argmax(axis=1)
    for k in range(4):
        assert (found[wanted == k] == k).mean() > 0.6, k


def test_gda_gives_each_class_its_share_and_text_gda_none() -> None:
    features, labels = clouds(0, 8)
    more = np.concatenate([features, features[labels == 0]])
    both = np.concatenate([labels, labels[labels == 0]])
    of_shares = gda(more, both, SILENT).bias - gda(features, labels, SILENT).bias
    assert of_shares[0] > of_shares[1:].max()
    weight = prototypes(features, labels, SILENT).weight
    assert np.linalg.norm(weight, axis=1) == pytest.approx(1, abs=1e-6)
