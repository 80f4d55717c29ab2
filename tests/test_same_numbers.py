"""The same photos, options and seed give the same numbers, whatever else is so."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import write_photos

import edge_sharpzo
from edge_sharpzo.photos import encode_photos, find_photos


def features_of(model: Path, files: list[Path]) -> dict[Path, bytes]:
    with edge_sharpzo.ClipOnnx(model).image_tower() as tower:
        features, _ = tower.encode(files, lambda place, reason: None)
    return {file: row.tobytes() for file, row in zip(files, features, strict=True)}


def reverse(files: list[Path]) -> list[Path]:
    return files[::-1]


def shuffled(files: list[Path]) -> list[Path]:
    return [files[i] for i in np.random.default_rng(0).permutation(len(files))]


def every_third(files: list[Path]) -> list[Path]:
    return files[::3]


def alone(files: list[Path]) -> list[Path]:
    return files[5:6]


@pytest.mark.parametrize("order", [reverse, shuffled, every_third, alone])
@pytest.mark.parametrize("precision", ["float32", "8 bits"])
def test_a_photo_has_the_same_features_in_any_company(
    precision: str,
    order: Callable[[list[Path]], list[Path]],
    tiny_onnx: Path,
    photos: Path,
    request: pytest.FixtureRequest,
) -> None:
    model = tiny_onnx if precision == "float32" else request.getfixturevalue("eight_bits")
    files = sorted(photos.rglob("*.png"))
    whole, part = features_of(model, files), features_of(model, order(files))
    assert part.items() <= whole.items()


@pytest.mark.parametrize("known", [1, 7, 30])
def test_what_the_cache_had_seen_changes_no_features(
    known: int, eight_bits: Path, photos: Path
) -> None:
    clip = edge_sharpzo.ClipOnnx(eight_bits)
    files = find_photos(photos).photos.read(print).files
    whole = encode_photos(clip, files, None).features
    encode_photos(clip, files[::-1][:known], photos)
    assert np.array_equal(encode_photos(clip, files, photos).features, whole)


@pytest.mark.parametrize("variable", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_environments_threads_change_no_history(
    variable: str, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    for threads in ("1", "8"):
        command = ["tune", "--onnx", tiny_onnx, "--data", photos, "--out", tmp_path / threads]
        done = subprocess.run(
            [sys.executable, "-m", "edge_sharpzo", *command, "--shots", "6", "--budget", "200"],
            env=os.environ | {variable: threads},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, eight = ((tmp_path / threads / "history.jsonl").read_bytes() for threads in "18")
    assert one == eight


def rewritten(file: Path) -> None:
    write_photos(file.parent, 30, 1, seed=99, start=int(file.stem))


def replaced(file: Path) -> None:
    other = file.with_name("other.tmp")
    shutil.copy(file, other)
    other.replace(file)


@pytest.mark.parametrize("change", [rewritten, replaced, Path.unlink])
def test_a_photo_that_changes_while_photos_are_encoded_is_not_taken_for_what_it_was(
    change: Callable[[Path], None], tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    """Nor do its features stay in the cache under the old contents."""
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    clip, told = edge_sharpzo.ClipOnnx(tiny_onnx), dict[Path, str]()
    files = find_photos(data).photos.read(print).files
    late = files[30].path
    kept = shutil.copy(late, tmp_path / "kept.png")

    def progress(done: int, _: int) -> None:
        if done == 5:
            change(late)

    seen = encode_photos(clip, files, data, progress, told.__setitem__)
    assert list(told) == [late]
    assert seen.readable.sum() == len(files) - 1
    shutil.copy(kept, late)
    again = encode_photos(clip, find_photos(data).photos.read(print).files, data)
    assert again.features[30].tobytes() == features_of(tiny_onnx, [late])[late]
