"""The accuracy benchmark can be killed at any moment and ends with the same table."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablations import VARIANTS
from benchmarks.accuracy import BUDGETS, read_results, table
from edge_sharpzo.methods.sharpzo import best_scores, pruning_mask

METHODS = ("zero-shot", "ridge", "tip-adapter", "gauss-newton", "random")


@pytest.fixture
def sets(photos: Path, tmp_path: Path) -> Path:
    """A folder that holds one set."""
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "colours").symlink_to(photos)
    return folder


def start(sets: Path, onnx: Path, out: Path) -> subprocess.Popen[str]:
    options = {"data": sets, "onnx": onnx, "out": out, "methods": ",".join(METHODS), "seeds": "0,1", "budgets": "1000", "shots": 6}
    command = [sys.executable, "-m", "benchmarks.accuracy", *(f"--{name}={value}" for name, value in options.items())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_and_started_again_it_gives_the_same_table(sets: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    with start(sets, tiny_onnx, whole) as process:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    with start(sets, tiny_onnx, killed) as process:
        assert process.stdout is not None
        for _ in range(3):  # finished cells
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    finished = killed.read_text()
    assert 3 <= len(finished.splitlines()) < 2 * len(METHODS)
    with killed.open("a") as stream:
        stream.write(json.dumps({"cell": {}})[:7])  # as a crash amid a line leaves it
    with start(sets, tiny_onnx, killed) as process:
        assert process.wait(timeout=300) == 0
    assert killed.read_text().startswith(finished)  # nothing ran twice
    assert len(read_results(killed)) == 2 * len(METHODS)
    expected = table(read_results(whole), list(BUDGETS))
    assert expected in output
    assert table(read_results(killed), list(BUDGETS)) == expected


def test_the_unchanged_variant_prunes_as_the_method_does() -> None:
    point, gradient = np.random.default_rng(0).standard_normal((2, 40))
    squares = gradient**2
    scores = point**2 * (squares - squares.mean()) / squares.std()
    assert np.array_equal(best_scores(scores, 0.3), pruning_mask(point, gradient, 0.3))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_ablation_can_be_made(name: str) -> None:
    from edge_sharpzo.methods import sharpzo
    from edge_sharpzo.methods.sharpzo import pruning_mask as original

    try:
        plan = VARIANTS[name].plan()
        assert plan.budget == VARIANTS[name].budget
        changed = {key: getattr(plan.settings, key) for key in VARIANTS[name].changes}
        assert changed == VARIANTS[name].changes
    finally:
        sharpzo.pruning_mask = original
