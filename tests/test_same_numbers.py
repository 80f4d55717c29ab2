"""The same photos, options and seed give the same numbers, whatever else is so."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import Exported

import edge_sharpzo
from edge_sharpzo.photos import encode_photos, find_photos


@pytest.fixture(scope="module")
def eight_bits(
    exported: Callable[[str], Exported], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    pytest.importorskip("torch")
    from export.convert import export

    out = tmp_path_factory.mktemp("int8") / "clip.onnx"
    export(exported("vit").source, out, "int8")
    return out


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
    files = find_photos(photos).photos.with_digests(print).files()
    whole = encode_photos(clip, files, None).features
    encode_photos(clip, files[::-1][:known], photos)
    assert np.array_equal(encode_photos(clip, files, photos).features, whole)


@pytest.mark.parametrize("variable", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_environments_threads_change_no_history(
    variable: str, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    for threads in ("1", "2", "8"):
        command = ["tune", "--onnx", tiny_onnx, "--data", photos, "--out", tmp_path / threads]
        done = subprocess.run(
            [sys.executable, "-m", "edge_sharpzo", *command, "--shots", "6", "--budget", "200"],
            env=os.environ | {variable: threads},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, *others = ((tmp_path / threads / "history.jsonl").read_bytes() for threads in "128")
    assert others == [one, one]
