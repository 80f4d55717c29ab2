"""Closed-form heads against their definitions."""

import numpy as np
import pytest
from helpers import clouds

from edge_sharpzo.classifier.heads import HEADS, gda, logit_deviation, ridge


@pytest.mark.parametrize("name", HEADS)
def test_heads_learn_the_clouds(name: str) -> None:
    head = HEADS[name](*clouds(0, 16), 4)
    features, labels = clouds(1, 100)
    assert (head.logits(features).argmax(axis=1) == labels).mean() > 0.8


@pytest.mark.parametrize("name", HEADS)
def test_one_shot_is_enough_to_be_finite(name: str) -> None:
    head = HEADS[name](*clouds(0, 1), 4)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(head.bias).all()
    features, labels = clouds(1, 50)
    assert (head.logits(features).argmax(axis=1) == labels).mean() > 0.4


def test_the_ensemble_is_the_mean_of_heads_that_speak_equally_loud() -> None:
    photos = clouds(0, 16)
    logits = [HEADS[name](*photos, 4).logits(photos[0]) for name in ("prototypes", "ridge", "gda")]
    mean = np.mean([part / logit_deviation(part) for part in logits], axis=0)
    assert HEADS["ensemble"](*photos, 4).logits(photos[0]) == pytest.approx(mean, abs=1e-5)


def test_gda_is_the_bayes_rule_of_gaussians_with_one_covariance() -> None:
    """With many photos its logits differ from the log densities by a constant per photo and the
    ridge's small share.
    """
    features, labels = clouds(0, 2000)
    head = gda(features, labels, 4)
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
    head = ridge(features, labels, 4)
    x, y = features - features.mean(axis=0), np.eye(4)[labels]
    y = y - y.mean(axis=0)
    errors = [
        np.abs((x.T @ x + s * np.eye(6)) @ head.weight.T - x.T @ y).max()
        for s in (0.01, 0.1, 1.0, 10.0)
    ]
    assert min(errors) < 1e-4
