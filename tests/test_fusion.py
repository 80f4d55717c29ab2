"""The mix of a prompt and a closed-form head."""

import numpy as np
import pytest
from helpers import clouds

from edge_sharpzo.classifier.calibration import calibration_error
from edge_sharpzo.classifier.fusion import (
    LEAD,
    USUAL_WEIGHT,
    Fusion,
    anchored,
    chosen_weight,
    fuse,
    parts_of_like,
    settled,
)
from edge_sharpzo.classifier.heads import HEADS
from edge_sharpzo.photos.labelled import Split, Splits
from edge_sharpzo.tuning.loss import share_right, softmax

NOTHING = Split(np.zeros((0, 6), np.float32), np.zeros(0, np.int64))
NOISE = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
CENTRES = np.random.default_rng(7).standard_normal((4, 6)).astype(np.float32)
CENTRES /= np.linalg.norm(CENTRES, axis=1, keepdims=True)


def splits(shots: int, spread: float = 0.6, borrowed: Split = NOTHING) -> Splits:
    return Splits(
        Split(*clouds(0, shots, spread=spread)),
        Split(*clouds(1, 8)),
        Split(*clouds(2, 100)),
        borrowed,
    )


def mixed_logits(fusion: Fusion, prompt: np.ndarray, features: np.ndarray) -> np.ndarray:
    """[N, K] of the mix, from the prompt's [N, K] and the image features [N, D]."""
    return prompt if fusion.added is None else prompt + fusion.added.logits(features)


def test_a_useless_prompt_leaves_the_classifier_to_the_head() -> None:
    photos = splits(16)
    fusion = fuse("text-gda", 1.0, NOISE, NOISE, NOISE, photos, mix=True)
    features, labels = photos.test
    mixed = share_right(mixed_logits(fusion, features @ NOISE.T, features), labels)
    alone = share_right(fusion.alone.logits(features), labels)
    assert mixed is not None
    assert alone is not None
    assert mixed >= alone - 0.02


@pytest.mark.parametrize("shots", [1, 4])
def test_a_perfect_prompt_is_left_alone_or_not_harmed(shots: int) -> None:
    photos = splits(shots, spread=1.5)._replace(
        val=Split(*clouds(1, 8, spread=0.1)), test=Split(*clouds(2, 100, spread=0.1))
    )
    fusion = fuse("text-gda", 30.0, CENTRES, CENTRES, CENTRES, photos, mix=True)
    features, labels = photos.test
    assert (
        share_right(mixed_logits(fusion, 30 * features @ CENTRES.T, features), labels) or 0
    ) > 0.99


def test_without_validation_the_head_is_added() -> None:
    fusion = fuse("gda", 1.0, NOISE, NOISE, NOISE, splits(4)._replace(val=NOTHING), mix=True)
    assert fusion.added is not None
    assert fusion.added.name == fusion.alone.name == "gda"
    assert fusion.alone_val is None
    assert fusion.mixed_val is None


def test_few_photos_choose_nothing() -> None:
    fusion = fuse("gda", 1.0, NOISE, NOISE, NOISE, splits(3), mix=True)
    other = fuse(
        "gda", 1.0, NOISE, NOISE, NOISE, splits(3)._replace(val=Split(*clouds(5, 8))), mix=True
    )
    assert fusion.added is not None
    assert other.added is not None
    assert np.array_equal(fusion.added.weight, other.added.weight)


def test_no_mix_adds_nothing() -> None:
    photos = splits(16)
    fusion = fuse("text-gda", 1.0, NOISE, NOISE, NOISE, photos, mix=False)
    assert fusion.added is None
    assert fusion.mixed_val == share_right(photos.val.features @ NOISE.T, photos.val.labels)


def test_borrowed_photos_are_learnt_from_but_choose_nothing() -> None:
    """Chosen and validated without them, fitted with them."""
    train = splits(2, spread=1.0)
    more = train._replace(borrowed=train.val)
    without, with_them = (
        fuse("text-gda", 1.0, NOISE, NOISE, NOISE, s, mix=True) for s in (train, more)
    )
    assert without.alone_val == with_them.alone_val
    assert without.mixed_val == with_them.mixed_val
    features, labels = train.test
    assert (share_right(with_them.alone.logits(features), labels) or 0) > (
        share_right(without.alone.logits(features), labels) or 0
    )
    both = Split(
        np.concatenate([train.train.features, train.val.features]),
        np.concatenate([train.train.labels, train.val.labels]),
    )
    head = HEADS[with_them.alone.name](*both, NOISE)
    assert np.corrcoef(head.weight.ravel(), with_them.alone.weight.ravel())[0, 1] == pytest.approx(
        1, abs=1e-6
    )


def test_the_better_of_the_two_leads() -> None:
    for prompt, photos in (NOISE, splits(16)), (CENTRES, splits(4, spread=1.5)):
        features, labels = photos.test
        fusion = fuse("gda", 1.0, prompt, prompt, prompt, photos, mix=True)
        # The usual weight.
        (same,) = (
            head
            for head in [
                fuse(
                    "gda", 1.0, prompt, prompt, prompt, photos._replace(val=NOTHING), mix=True
                ).added
            ]
            if head
        )
        weight = (
            USUAL_WEIGHT * np.linalg.norm(fusion.added.weight) / np.linalg.norm(same.weight)
            if fusion.added
            else 0.0
        )
        head_wins = (share_right(same.logits(features), labels) or 0) > (
            share_right(features @ prompt.T, labels) or 0
        )
        assert weight >= LEAD - 1e-4 if head_wins else weight <= 1 / LEAD + 1e-4


def test_a_prompt_leads_only_where_more_than_chance_speaks_for_it() -> None:
    labels = np.zeros(40, np.int64)
    head = np.tile(np.array([1.0, 0.0]), (40, 1))
    head[:10] *= -1  # 10 of 40 wrong
    level, clearly = head.copy(), head.copy()
    level[0] *= -1  # 9 wrong: no more than chance
    clearly[:9] *= -1  # 1 wrong
    assert chosen_weight(level, head, labels) >= LEAD
    assert chosen_weight(clearly, head, labels) <= 1 / LEAD
    assert chosen_weight(level[:1], head[:1], labels[:1]) >= LEAD  # one photo proves nothing


@pytest.mark.parametrize(
    ("shots", "lowest", "highest"), [(1, 0.85, 0.92), (2, 0.97, 0.99), (16, 0.9999, 1)]
)
def test_the_template_counts_the_more_the_fewer_the_shots(
    shots: int, lowest: float, highest: float
) -> None:
    tuned, written = np.eye(4, 6, dtype=np.float32), np.eye(4, 6, k=1, dtype=np.float32)
    mixed = anchored(tuned, written, shots)
    assert np.linalg.norm(mixed, axis=1) == pytest.approx(1, abs=1e-6)
    cosine = (mixed * tuned).sum(axis=1)
    assert lowest <= cosine.min() <= cosine.max() <= highest
    assert anchored(tuned, tuned, shots) == pytest.approx(tuned, abs=1e-7)


def test_the_template_stays_where_it_validates_no_worse() -> None:
    photos = splits(16)
    for before, after, is_template in (
        settled(CENTRES, CENTRES, NOISE, photos, 10.0),
        settled(NOISE, NOISE, CENTRES, photos, 10.0),
    ):
        assert is_template == np.array_equal(after, CENTRES)
        assert before == pytest.approx(CENTRES, abs=0.02)
        assert after == pytest.approx(CENTRES, abs=0.02)


@pytest.mark.parametrize("shots", [1, 2, 16])
def test_without_validation_photos_the_template_stays_where_it_fits_no_worse(shots: int) -> None:
    photos = splits(shots, spread=0.1)._replace(val=NOTHING)
    assert settled(NOISE, -CENTRES, CENTRES, photos, 10.0).is_template
    for text in settled(NOISE, -CENTRES, CENTRES, photos, 10.0)[:2]:
        assert np.array_equal(text, CENTRES)
    for text in settled(CENTRES, CENTRES, CENTRES, photos, 10.0)[:2]:  # level
        assert np.array_equal(text, CENTRES)
    assert not settled(CENTRES, CENTRES, NOISE, photos, 10.0).is_template
    for text in settled(CENTRES, CENTRES, NOISE, photos, 10.0)[:2]:
        assert np.array_equal(text, anchored(CENTRES, NOISE, shots))


def error(fusion: Fusion, prompt: np.ndarray, photos: Split) -> float:
    logits = mixed_logits(fusion, photos.features @ prompt.T, photos.features)
    found = calibration_error(softmax(logits / fusion.calibration.temperature), photos.labels)
    assert found is not None
    return found


@pytest.mark.parametrize("shots", [2, 4, 16])
@pytest.mark.parametrize("spread", [0.6, 1.2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_mean_what_they_say(shots: int, spread: float, seed: int) -> None:
    """Even where the prompt knows nothing, and two photos of each class are all there is."""
    photos = Splits(
        Split(*clouds(10 + seed, shots, spread=spread)),
        Split(*clouds(20 + seed, min(shots, 4), spread=spread)),
        Split(*clouds(30 + seed, 200, spread=spread)),
        NOTHING,
    )
    fusion = fuse("text-gda", 1.0, NOISE, NOISE, NOISE, photos, mix=True)
    assert error(fusion, NOISE, photos.test) < (0.17 if shots > 2 else 0.2)


def test_photos_that_are_alike_are_left_out_together() -> None:
    features, labels = clouds(0, 4, spread=1.0)
    twice = Split(np.repeat(features, 2, axis=0) + np.float32(1e-4), np.repeat(labels, 2))
    part = parts_of_like(twice, 4)
    assert (part[::2] == part[1::2]).all()
    assert np.bincount(part).tolist() == [8, 8, 8, 8]


def test_copies_of_every_photo_make_no_head_surer() -> None:
    """As a burst of a camera does, which no look at single photos finds out."""
    features, labels = clouds(0, 8, spread=1.2)
    jitter = np.random.default_rng(0).normal(0, 0.01, (4, *features.shape)).astype(np.float32)
    burst = Split((features + jitter).reshape(-1, features.shape[1]), np.tile(labels, 4))
    test = Split(*clouds(2, 200, spread=1.2))
    photos = Splits(burst, burst, test, NOTHING)
    fusion = fuse("text-gda", 1.0, NOISE, NOISE, NOISE, photos, mix=True)
    assert error(fusion, NOISE, test) < 0.17


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_without_validation_probabilities_are_modest(shots: int) -> None:
    train, test = Split(*clouds(0, shots, spread=1.0)), Split(*clouds(2, 100, spread=1.0))
    photos = Splits(train, NOTHING, test, NOTHING)
    fusion = fuse("text-gda", 1.0, NOISE, NOISE, NOISE, photos, mix=True)
    assert fusion.calibration.threshold is not None
    assert fusion.calibration.threshold >= 0.9
    assert error(fusion, NOISE, test) < (0.5 if shots == 1 else 0.3)


@pytest.mark.parametrize("shots", [2, 3])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_two_or_three_photos_of_one_thing_make_no_answer_sure(shots: int, seed: int) -> None:
    features, labels = clouds(seed, 1, spread=1.0)
    jitter = np.random.default_rng(seed).normal(0, 0.05, (shots, *features.shape))
    burst = Split((features + jitter.astype(np.float32)).reshape(-1, 6), np.tile(labels, shots))
    test = Split(*clouds(2, 200, spread=1.0))
    photos = Splits(burst, NOTHING, test, NOTHING)
    fusion = fuse("text-gda", 1.0, NOISE, NOISE, NOISE, photos, mix=True)
    logits = mixed_logits(fusion, test.features @ NOISE.T, test.features)
    probabilities = softmax(logits / fusion.calibration.temperature)
    sure = probabilities.max(axis=1) >= (fusion.calibration.threshold or 0)
    right = probabilities.argmax(axis=1) == test.labels
    assert (sure & ~right).mean() < 0.15


@pytest.mark.parametrize(
    ("shots", "val", "mix", "expected"),
    [
        (16, 16, True, "training and validation photos, each left out in its turn"),
        (2, 0, True, "training photos, each left out in its turn, and what is usual"),
        (4, 0, True, "training photos, each left out in its turn"),
        (3, 2, True, "validation photos"),
        (16, 16, False, "validation photos"),
        (1, 0, True, "no photos"),
        (16, 0, False, "no photos"),
    ],
)
def test_what_the_temperature_was_fitted_on_is_told(
    shots: int, val: int, mix: bool, expected: str
) -> None:
    photos = splits(shots)
    kept = np.concatenate([np.flatnonzero(photos.val.labels == k)[:val] for k in range(4)])
    photos = photos._replace(val=Split(photos.val.features[kept], photos.val.labels[kept]))
    found = fuse("text-gda", 10.0, NOISE, NOISE, CENTRES, photos, mix=mix)
    assert found.calibrated_on == expected
