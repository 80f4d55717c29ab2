"""The accuracy benchmark can be killed at any moment and ends with the same table."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import CENTRE, DIM, SMALL, Squares, run

from benchmarks import shots
from benchmarks.ablations import VARIANTS, differences
from benchmarks.accuracy import BUDGETS, Cell, read_results, table
from benchmarks.sets import preferred
from benchmarks.variants import (
    FLATNESS_RHO,
    CentralGaussNewton,
    FlatGaussNewton,
    OneSidedSharpness,
    OrthonormalSearch,
)
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.tuning.methods.gauss_newton import GaussNewton, GaussNewtonSettings
from edge_sharpzo.tuning.methods.plan import Request
from edge_sharpzo.tuning.methods.sharpzo import SharpZO, keep_best, pruning_mask
from edge_sharpzo.tuning.start import Start

METHODS = ("zero-shot", "ridge", "proker", "zero-shot+head", "gauss-newton", "random")


@pytest.fixture
def sets(photos: Path, tmp_path: Path) -> Path:
    """A folder that holds one set."""
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "colours").symlink_to(photos)
    return folder


def start(sets: Path, onnx: Path, out: Path) -> subprocess.Popen[str]:
    options = {
        "data": sets,
        "onnx": onnx,
        "out": out,
        "methods": ",".join(METHODS),
        "seeds": "0,1",
        "budgets": "1000",
        "shots": 6,
    }
    command = [
        sys.executable,
        "-m",
        "benchmarks.accuracy",
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_and_started_again_it_gives_the_same_table(
    sets: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
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
    assert "| peak memory |" in output
    assert table(read_results(killed), list(BUDGETS)) == expected


def test_the_unchanged_variant_prunes_as_the_method_does() -> None:
    point, gradient = np.random.default_rng(0).standard_normal((2, 40))
    squares = gradient**2
    scores = point**2 * (squares - squares.mean()) / squares.std()
    assert np.array_equal(keep_best(scores, 0.3), pruning_mask(point, gradient, 0.3))


def test_a_search_starts_where_a_run_does() -> None:
    clip = ClipOnnx(EMBEDDED_MODEL)
    assert preferred(clip, "gauss-newton", Request()).settings.starts == 1
    assert preferred(clip, "sharpzo", Request()).start == Start.WORDS
    clip.search_start = None
    assert preferred(clip, "gauss-newton", Request()).start == Start.WORDS


@pytest.mark.parametrize("name", VARIANTS)
def test_every_ablation_can_be_made(name: str) -> None:
    from edge_sharpzo.tuning.methods import sharpzo
    from edge_sharpzo.tuning.methods.sharpzo import pruning_mask as original

    try:
        plan = VARIANTS[name].plan(VARIANTS[name].budget)
        assert plan.budget == VARIANTS[name].budget
        changed = {key: getattr(plan.settings, key) for key in VARIANTS[name].changes}
        assert changed == VARIANTS[name].changes
        assert VARIANTS[name].criterion in (None, plan.criterion)
        optimizer = plan.make(DIM, Squares(), 0)
        kinds = {kind for kind, *_ in run(optimizer, 5000)}
        optimizer.observe(0.5, 0.0)  # an open change point is due
        kinds |= {kind for kind, *_ in run(optimizer, 1000)}
        assert np.isfinite(optimizer.solution).all()
        search = {"rge"} if "without search" not in name else set()
        assert kinds >= ({"jacobian", "candidates"} if name.startswith("gauss-newton") else search)
    finally:
        sharpzo.pruning_mask = original


def test_a_variant_is_compared_with_the_method_on_the_same_photos() -> None:
    right = {
        "sharpzo": {0: 0.5, 1: 0.6},
        "sharpzo rho=0.0": {0: 0.52, 1: 0.66, 2: 0.1},
        "sharpzo rho=1.0": {2: 0.9},
    }
    results = {
        Cell(name, "dtd10", seed, 15_000): {"held_out": held}
        for name, runs in right.items()
        for seed, held in runs.items()
    }
    assert differences(results).splitlines()[2:] == ["| sharpzo rho=0.0 | 2 | +4.0 ± 2.0 |"]


def test_variants_estimate_what_the_methods_do_on_a_linear_function() -> None:
    slope = np.arange(1.0, DIM + 1)
    both = [form(DIM, SMALL, 0) for form in (SharpZO, OneSidedSharpness)]
    for optimizer, queries in zip(both, (2 * DIM, DIM + 1), strict=True):
        points = optimizer.ask()
        assert len(points) == queries
        optimizer.tell(points @ slope)
    # The population at the same eps*.
    assert np.allclose(both[1].ask() - both[0].ask(), 0, atol=1e-9)

    settings = GaussNewtonSettings(starts=1, directions=4, window=4)
    newtons = [
        form(DIM, Squares(), settings, 0)
        for form in (GaussNewton, CentralGaussNewton, FlatGaussNewton)
    ]
    for newton in newtons:
        for _ in range(2):  # start, columns
            points = newton.ask()
            newton.tell(((points - CENTRE) ** 2).sum(axis=1), points - CENTRE)
    assert {newton.kind for newton in newtons} == {"candidates"}
    assert newtons[1].ask() == pytest.approx(newtons[0].ask(), abs=1e-4)
    # From a point FLATNESS_RHO up the slope, Newton's step of a sum of squares is longer by as
    # much, but for the damping.
    plain, flat = (
        np.linalg.norm(newton.ask() - newton.solution, axis=1)
        for newton in (newtons[0], newtons[2])
    )
    assert flat - plain == pytest.approx(np.full(len(plain), FLATNESS_RHO), rel=1e-2)


def test_the_orthonormal_search_sweeps_a_whole_basis() -> None:
    optimizer = OrthonormalSearch(
        DIM, type(SMALL)(**{**vars(SMALL), "change_point": 0, "pruning_ratio": 0.0}), 0
    )
    drawn = []
    for _ in range(DIM):
        points = optimizer.ask()
        drawn.append((points[0] - points[1]) / (2 * SMALL.mu_rge))
        optimizer.tell(np.zeros(len(points)))
    assert np.array(drawn) @ np.array(drawn).T == pytest.approx(DIM * np.eye(DIM), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([10.0, 20.0], [10.0, 20.0]),
        ([10.0, 10.0], [9.0, 11.0]),
        ([5.0, 30.0, 5.5], [4.25, 30.0, 6.25]),
        ([3.0, 3.0, 3.0], [1.0, 3.0, 5.0]),
    ],
)
def test_labels_are_told_apart(values: list[float], places: list[float]) -> None:
    assert shots.apart(values, 2.0) == pytest.approx(places, abs=1e-3)


def test_accuracy_over_shots(tmp_path: Path) -> None:
    """Means over seeds, then sets; what a set lacks, or has fewer of, has no mean."""
    held = {
        ("clap", 0, 1): {"a": [0.5, 0.7], "b": [0.2, 0.2]},
        ("clap", 0, 2): {"a": [0.5, 0.7], "b": [0.2]},
        ("clap", 0, 4): {"a": [0.9], "b": [0.8]},
        ("proker", 0, 4): {"a": [0.9]},
        ("gauss-newton", 300, 1): {"a": [0.3], "b": [0.4]},
        ("gauss-newton", 5000, 1): {"a": [0.35], "b": [0.46]},
    }
    results = {
        Cell(method, name, seed, budget, many): {"held_out": right, "fused_held_out": right + 0.1}
        for (method, budget, many), by_set in held.items()
        for name, rights in by_set.items()
        for seed, right in enumerate(rights)
    }
    assert shots.table(results, ["a", "b"]).splitlines() == [
        "| | queries | 1 | 2 | 4 |",
        "|---|---|---|---|---|",
        "| CLAP | - | 40.0 | - | 85.0 |",
        "| prompt alone | 300 | 35.0 | - | - |",
        "| prompt alone | 5000 | 40.5 | - | - |",
        "| classifier | 300 | 45.0 | - | - |",
        "| classifier | 5000 | 50.5 | - | - |",
    ]
    assert "| ProKeR | - | - | - | 90.0 |" in shots.table(results, ["a"])
    shots.plot(results, ["a", "b"], tmp_path / "shots.png")
    assert (tmp_path / "shots.png").read_bytes().startswith(b"\x89PNG")
