"""A run killed at any moment goes on to exactly the history of an uninterrupted one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import rest_slow
from safetensors.numpy import load_file
from typer.testing import CliRunner

from edge_sharpzo.cli import app
from edge_sharpzo.runs.checkpoint import FILE

METHODS = {
    "gauss-newton": ["--budget", "800"],
    "sharpzo": ["--method", "sharpzo", "--budget", "7500"],
}
# For each method; `make torture` asks for many.
KILLS = int(os.environ.get("EDGE_SHARPZO_KILLS", "1"))
# Checkpoints so often that a kill can fall into the writing of one.
SCRIPT = """
import sys
import edge_sharpzo.runs.checkpoint as checkpoint
from edge_sharpzo.cli import app
checkpoint.EVERY = 0.03
app(sys.argv[1:])
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "tune", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def same(a: Path, b: Path) -> bool:
    """History, prompt and query counts are equal to the last bit."""
    tensors, others = load_file(a / "prompt.safetensors"), load_file(b / "prompt.safetensors")
    queries = [json.loads((run / "summary.json").read_text())["queries"] for run in (a, b)]
    equal = tensors.keys() == others.keys() and all(
        np.array_equal(tensors[name], others[name]) for name in tensors
    )
    return (
        equal
        and (a / "history.jsonl").read_text() == (b / "history.jsonl").read_text()
        and queries[0] == queries[1]
    )


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest,
    tiny_onnx: Path,
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[object], Path, float]:
    """A method's arguments, the run that nobody interrupted, and the seconds it took."""
    arguments = ["--onnx", tiny_onnx, "--data", photos, "--shots", 6, *METHODS[request.param]]
    out = tmp_path_factory.mktemp(request.param) / "whole"
    began = time.monotonic()
    with start(*arguments, "--out", out) as process:
        assert process.wait(timeout=300) == 0
    assert not (out / FILE).exists()
    return arguments, out, time.monotonic() - began


@pytest.mark.parametrize("kill", range(KILLS))
@pytest.mark.parametrize("whole", rest_slow(METHODS), indirect=True)
def test_a_killed_run_goes_on_to_the_same_end(
    kill: int, whole: tuple[list[object], Path, float], tmp_path: Path
) -> None:
    arguments, wanted, seconds = whole
    out = tmp_path / "run"
    with start(*arguments, "--out", out) as process:
        time.sleep(random.Random(kill).uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    if not (out / "config.json").exists():  # killed before the run began
        arguments = [*arguments, "--out", out]
    elif (out / "summary.json").exists() and not (
        out / FILE
    ).exists():  # it was faster than the kill
        assert same(out, wanted)
        return
    else:
        arguments = ["--resume", out]
    with start(*arguments) as process:
        assert process.wait(timeout=300) == 0, process.stderr.read() if process.stderr else ""
    assert same(out, wanted)
    assert not (out / FILE).exists()
    assert not list(out.glob(".*.part")), "a half-written file is left"


@pytest.mark.parametrize("whole", rest_slow(METHODS), indirect=True)
def test_an_interrupted_run_says_how_to_go_on(
    whole: tuple[list[object], Path, float], tmp_path: Path
) -> None:
    arguments, wanted, _ = whole
    out = tmp_path / "run"
    with start(*arguments, "--out", out) as process:
        while not (out / FILE).exists() and process.poll() is None:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=60) == 130
        assert process.stderr is not None
        assert f"edge-sharpzo tune --resume {out}" in process.stderr.read()
    assert json.loads((out / "summary.json").read_text())["stopped_because"] == "interrupted"
    with start("--resume", out) as process:
        assert process.wait(timeout=300) == 0
    assert same(out, wanted)


@pytest.fixture(scope="module")
def killed(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a checkpoint in it."""
    out = tmp_path_factory.mktemp("killed") / "run"
    with start("--onnx", tiny_onnx, "--data", photos, "--shots", 6, "--out", out) as process:
        while not (out / FILE).exists() and process.poll() is None:
            time.sleep(0.02)
        process.kill()
    return out


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(killed, tmp_path / "interrupted"))


def refuse_checkpoint(run: Path) -> None:
    (run / FILE).write_bytes((run / FILE).read_bytes()[:200])


def forget_options(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "options": {"onnx": 3}}))


def other_photos(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    kept = {name: config[name][1:] for name in ("tuned_on", "tuned_on_sha256")}
    (run / "config.json").write_text(json.dumps({**config, **kept}))


def other_model(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "model_sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (refuse_checkpoint, "is damaged"),
        (forget_options, "options lacks"),
        (other_photos, "the photos are not those"),
        (other_model, "the model file is another one"),
        (shutil.rmtree, "give a folder that `edge-sharpzo tune` made"),
    ],
)
def test_what_cannot_go_on_says_why(
    damage: Callable[[Path], None], words: str, interrupted: Path
) -> None:
    damage(interrupted)
    result = CliRunner().invoke(app, ["tune", "--resume", str(interrupted)])
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize("whole", rest_slow(METHODS), indirect=True)
def test_a_finished_run_has_nothing_to_resume(whole: tuple[list[object], Path, float]) -> None:
    result = CliRunner().invoke(app, ["tune", "--resume", str(whole[1])])
    assert result.exit_code == 2
    assert "is finished" in result.stderr
