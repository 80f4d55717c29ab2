"""A run that dies or is refused in the middle of any system call loses nothing and leaves nothing.

strace kills the process at, or fails, one of the calls by which files come to be; the next start
then ends as a run that nothing happened to.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.system.tensors import load_tensors

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
FAULTS = int(os.environ.get("EDGE_SHARPZO_FAULTS", "2"))
CALLS = ("rename", "fsync", "unlink", "ftruncate", "openat", "write")
HOWS = ("signal=SIGKILL", "error=EIO", "error=ENOSPC", "signal=SIGKILL")
# Checkpoints after each step, and features kept after each photo.
SCRIPT = """
import sys
import edge_sharpzo.photos.features as features
import edge_sharpzo.runs.checkpoint as checkpoint
from edge_sharpzo.cli import app
checkpoint.EVERY = features.KEEP_EVERY = 0.0
app(sys.argv[1:])
"""


class Runner:
    """Runs of one kind, each in a folder and with a cache of its own."""

    def __init__(self, onnx: Path, photos: Path):
        self.arguments = ["--onnx", onnx, "--data", photos, "--shots", 6, "--budget", 150]

    def start(
        self, place: Path, *arguments: object, strace: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*strace, sys.executable, "-c", SCRIPT, "tune", *map(str, arguments)],
            env=os.environ | {"EDGE_SHARPZO_CACHE": str(place / "cache")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def whole(self, place: Path, *strace: str) -> subprocess.CompletedProcess[str]:
        return self.start(place, *self.arguments, "--out", place / "run", strace=strace)


@pytest.fixture(scope="module")
def runner(tiny_onnx: Path, photos: Path) -> Runner:
    return Runner(tiny_onnx, photos)


@pytest.fixture(scope="module")
def wanted(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wanted")
    assert runner.whole(place).returncode == 0
    return place / "run"


@pytest.fixture(scope="module")
def calls(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """Of each kind, which ones, counted from the start, name a file of the run or of the cache."""
    place = tmp_path_factory.mktemp("calls")
    log = place / "log"
    traced = ",".join(CALLS)
    runner.whole(place, "strace", "-qq", "-y", "-e", f"trace={traced}", "-o", str(log))
    found: dict[str, list[int]] = {call: [] for call in CALLS}
    seen = dict.fromkeys(CALLS, 0)
    for line in log.read_text(errors="replace").splitlines():
        call = line.split("(")[0]
        if call in seen:
            seen[call] += 1
            if str(place) in line:
                found[call].append(seen[call])
    return found


def same(run: Path, wanted: Path) -> bool:
    if (run / "history.jsonl").read_bytes() != (wanted / "history.jsonl").read_bytes():
        return False
    pair = [load_tensors(each / "prompt.safetensors")[0] for each in (run, wanted)]
    queries = [json.loads((each / "summary.json").read_text())["queries"] for each in (run, wanted)]
    return queries[0] == queries[1] and all(
        np.array_equal(pair[0][name], pair[1][name]) for name in pair[1]
    )


@pytest.mark.parametrize("fault", range(FAULTS))
def test_a_fault_at_any_call_costs_nothing(
    fault: int, runner: Runner, wanted: Path, calls: dict[str, list[int]], tmp_path: Path
) -> None:
    rng = random.Random(fault)
    call = rng.choice([name for name in CALLS if calls[name]])
    how, number = rng.choice(HOWS), rng.choice(calls[call])
    run = tmp_path / "run"
    inject = f"inject={call}:{how}:when={number}"
    struck = runner.whole(tmp_path, "strace", "-qq", "-e", inject, "-o", "/dev/null")
    assert "Traceback" not in struck.stderr, (inject, struck.stderr)
    if struck.returncode == 0:  # what failed was not needed
        assert same(run, wanted), inject
    else:
        if (run / "summary.json").exists() and not (run / FILE).exists():
            again = runner.start(tmp_path, *runner.arguments, "--out", run, "--overwrite")
        elif (run / "config.json").exists():
            again = runner.start(tmp_path, "--resume", run)
        else:
            again = runner.whole(tmp_path)
        assert again.returncode == 0, (inject, struck.stderr, again.stderr)
        assert same(run, wanted), inject
    left = [file.name for place in (run, tmp_path / "cache") for file in place.iterdir()]
    assert not [name for name in left if name.endswith(".part") or name.startswith(".tmp")], inject
    assert {name for name in left if name.startswith(".")} == set(), inject
