"""Many runs at once: their plan, interrupts and kills, workers here and on a fleet."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import invoke, write_photos

import edge_sharpzo
from edge_sharpzo.events import RunEnded
from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.sweeping import crew, fleet
from edge_sharpzo.sweeping.fleet import scheduler_address
from edge_sharpzo.sweeping.folder import put
from edge_sharpzo.sweeping.options import SweepOptions
from edge_sharpzo.sweeping.plan import Cell, as_arguments, numbers, sweep_of
from edge_sharpzo.system.errors import UserError

pytest.importorskip("distributed")
COLOURS = (("red", 0), ("green", 90), ("blue", 170))
# A method whose runs take long enough to be met in the middle, and write checkpoints often.
LONG = ("--methods", "sharpzo", "--budgets", "15000")
OFTEN = {"PYTHONPATH": os.pathsep.join([str(Path(edge_sharpzo.__file__).parent.parent)])}
PYTHON = [sys.executable, "-m", "edge_sharpzo", "sweep"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sets of photos."""
    root = tmp_path_factory.mktemp("sets")
    for seed, name in enumerate(("fruits", "toys")):
        for label, hue in COLOURS:
            write_photos(root / name / "train" / label, hue, 6, seed=seed)
            write_photos(root / name / "test" / label, hue, 6, seed=10 + seed)
    return root


def words(sets: Path, onnx: Path, out: Path, *more: object) -> list[str]:
    every = ["--data", sets / "fruits", "--onnx", onnx, "--out", out, "--shots", 4]
    return [str(word) for word in (*every, *more)]


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def tuned(sets: Path, onnx: Path, out: Path, *more: object) -> Path:
    """The same run by `tune` alone."""
    done = invoke("tune", *words(sets, onnx, out, "--threads", 1, *more))
    assert done.exit_code == 0, done.output
    return out


def wait_for(condition: Any, process: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)
