"""The limit on memory: what it lets through, what it refuses, and a run that keeps to it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import rest_slow
from PIL import Image

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.system import memory
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MB, MemoryLimit, PlannedLimit, peak_mb, resident

EMBEDDED = Path(__file__).parent.parent / "models" / "lite-clip" / "clip.onnx"


def test_memory_taken_is_seen() -> None:
    before = resident()
    if before is None:
        pytest.skip("this system does not tell")
    block = np.ones(8 * MB)
    assert (resident() or 0) > before + 50 * MB
    assert (peak_mb() or 0) * MB > before + 50 * MB
    del block


def test_a_limit_lets_through_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident", lambda: 100 * MB)
    limit = MemoryLimit(200)
    assert limit.left() == 84 * MB
    assert [limit.fitting(16, each * MB) for each in (1, 10, 50, 200)] == [16, 8, 1, 1]
    limit.require(84 * MB, "a tower")
    words = "`max_memory=200` is too little: a tower alone needs 201 MB"
    with pytest.raises(UserError, match=words):
        limit.require(85 * MB, "a tower")


def test_without_a_limit_everything_fits() -> None:
    limit = MemoryLimit()
    assert limit.left() is None
    assert limit.fitting(16, 10**15) == 16
    limit.require(10**15, "a tower")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux counts them")
def test_what_is_beyond_what_is_kept_is_refused_and_only_then() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    free, tight = MemoryLimit(), MemoryLimit(-(-(resident() or 0) // MB) + 60)
    for kept in (free.kept(50 * MB), tight.kept(10**12), free.kept(20 * MB, idle=30 * MB)):
        with kept:
            np.ones(3 * MB)
            with pytest.raises(MemoryError):
                np.ones(30 * MB)
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with free.kept(10 * MB), free.kept(100 * MB):  # of two threads: neither is in the other's way
        np.ones(8 * MB)
    with PlannedLimit().kept(1):
        np.ones(30 * MB)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize("mb", [0, -5])
def test_what_is_no_limit_is_refused(mb: int) -> None:
    with pytest.raises(UserError, match="give a number of MB"):
        MemoryLimit(mb)


def test_fewer_candidates_at_once_give_the_same_features(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = np.random.default_rng(0).standard_normal((5, 4, 32)).astype(np.float32)
    free = ClipOnnx(tiny_onnx, 1)
    rows = free.prompts.for_tuning(["cat", "old dog"], "a photo of a {}.").classes
    narrow = ClipOnnx(tiny_onnx, 1, memory=MemoryLimit(10**6))
    monkeypatch.setattr(MemoryLimit, "fitting", lambda self, most, each: 1 if self.mb else most)
    towers = [TextTower(clip, rows, 4) for clip in (free, narrow)]
    assert [tower.batch for tower in towers] == [16, 1]
    # The same to the bit on most processors; some sum up in another order for another batch.
    assert towers[0](contexts) == pytest.approx(towers[1](contexts), abs=1e-6)


def embedded_tune(photos: Path, place: Path, *more: object) -> list[str]:
    """The command of a small run of the embedded model into `place`/run."""
    command = [sys.executable, "-m", "edge_sharpzo", "tune", "--data", photos]
    command += ["--out", place / "run", "--shots", 4, "--onnx", EMBEDDED, *more]
    return [str(part) for part in command]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux counts them")
def test_a_run_keeps_to_its_limit(photos: Path, tmp_path: Path) -> None:
    """The embedded model under a limit of 220 MB, and the kernel's own limit on writable memory to
    prove it.
    """
    command = embedded_tune(photos, tmp_path, "--budget", 200, "--max-memory", 220, "--threads", 1)
    limited = (
        "import resource, os, sys; "
        f"resource.setrlimit(resource.RLIMIT_DATA, ({220 * MB}, {220 * MB})); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", limited, *command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["peak_rss_mb"] <= 220


@pytest.fixture(scope="module")
def large(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos, and some of 27 megapixels of every kind."""
    data = Path(shutil.copytree(photos, tmp_path_factory.mktemp("large") / "data"))
    plain = Image.new("RGB", (6000, 4500), "red")
    for name, mode in {
        "rgb.png": "RGB",
        "alpha.png": "RGBA",
        "palette.gif": "P",
        "cmyk.tif": "CMYK",
        "plain.bmp": "RGB",
        "grey.jpg": "L",
        "colour.jpg": "RGB",
        "colour.webp": "RGB",
    }.items():
        plain.convert(mode).save(data / "test" / "red_things" / name)
    return data


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory as Linux counts it")
@pytest.mark.parametrize("limit", rest_slow([220, 300]))
def test_large_photos_keep_to_the_limit_or_are_refused(
    limit: int, large: Path, tmp_path: Path
) -> None:
    command = embedded_tune(large, tmp_path, "--budget", 100, "--max-memory", limit)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("alpha.png", "colour.webp", "cmyk.tif", "rgb.png"):
        assert f"{name}: 6000 x 4500 pixels take" in done.stderr
    assert ".jpg: " not in done.stderr  # decoded to a half
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["peak_rss_mb"] <= limit


def test_a_limit_below_what_a_tower_takes_says_what_would_do(photos: Path, tmp_path: Path) -> None:
    command = embedded_tune(photos, tmp_path, "--max-memory", 60)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--max-memory 60 is too little: the image tower alone needs" in done.stderr
