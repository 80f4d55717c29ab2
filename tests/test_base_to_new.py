"""The base-to-new benchmark: what it splits, what it counts, what its table says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import Cell
from benchmarks.base_to_new import figures, halved, harmonic, measured, table
from benchmarks.sets import encoded
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.photos.found import POOL, TEST, find_photos


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_half_of_the_classes_has_no_photos_to_learn_from(photos: Path, seed: int) -> None:
    whole = find_photos(photos)
    found = halved(whole, seed)
    assert sorted(found.folders) == whole.folders
    assert (found.learnt, found.without_photos) == (2, 1)
    assert found.folders[:2] == sorted(found.folders[:2])
    folders = [path.parent.name for path in found.photos.paths]
    assert [found.folders[label] for label in found.photos.labels] == folders
    assert set(found.photos.labels[found.parts == POOL].tolist()) == {0, 1}
    assert (found.parts == TEST).sum() == 18
    assert found.names == [folder.replace("_", " ") for folder in found.folders]
    again = halved(whole, seed)
    assert again.folders == found.folders


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(50, 100, 200 / 3), (40, 40, 40), (0, 80, 0), (80, 0, 0)]
)
def test_the_harmonic_mean(first: float, second: float, expected: float) -> None:
    assert harmonic(first, second) == pytest.approx(expected)


def entry(base: float, new: float, base_of_all: float, new_of_all: float) -> dict[str, Any]:
    return {"base": base, "new": new, "base_of_all": base_of_all, "new_of_all": new_of_all}


def test_harmonic_means_are_taken_before_the_mean_over_seeds() -> None:
    runs = [entry(0.5, 1.0, 0.4, 0.4), entry(0.8, 0.8, 0.2, 0.0)]
    assert figures(runs, "") == pytest.approx([65, 90, (200 / 3 + 80) / 2, 30, 20, 20])


def test_a_row_needs_all_sets_and_tells_its_seeds() -> None:
    results = {
        Cell("zero-shot", "a", 0, 0, 16): entry(0.5, 0.5, 0.5, 0.5),
        Cell("zero-shot", "a", 1, 0, 16): entry(0.7, 0.7, 0.5, 0.5),
        Cell("zero-shot", "b", 0, 0, 16): entry(0.2, 0.2, 0.1, 0.1),
        Cell("sharpzo", "a", 0, 5000, 16): entry(0.9, 0.9, 0.9, 0.9),
        Cell("zero-shot", "a", 0, 0, 4): entry(0.9, 0.9, 0.9, 0.9),
    }
    for cell in results:
        if cell.method == "zero-shot":
            results[cell] |= {f"classifier_{key}": value for key, value in results[cell].items()}
    rows = table(results, 16, ["a", "b"]).splitlines()
    assert rows[2] == "| template | 1 | 40.0 | 40.0 | 40.0 | 30.0 | 30.0 | 30.0 |"
    assert not any("SharpZO" in row for row in rows)
    assert "| SharpZO, 5,000 queries | 1 | 90.0 |" in table(results, 16, ["a"])


def test_what_the_template_and_its_classifier_are_measured_at(
    tiny_onnx: Path, photos: Path
) -> None:
    clip = ClipOnnx(tiny_onnx, 1)
    problem = encoded(clip, halved(find_photos(photos), 0), "a photo of {}.", 4, 0)
    told = measured("zero-shot", 0, problem, "")
    assert told["new"] == told["classifier_new"] == 1.0  # one class, among itself
    features, labels = problem.splits.test
    from benchmarks.one_run import zero_shot

    text = zero_shot(problem, ["a photo of {}."])
    answers = (features @ text.T).argmax(axis=1)
    assert told["new_of_all"] == pytest.approx((answers[labels == 2] == 2).mean())
    assert told["base_of_all"] == pytest.approx(np.mean((answers == labels)[labels < 2]))
    assert 0 <= told["sure"] <= 1
