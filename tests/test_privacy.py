"""Nothing leaves the device: no command looks up a host, or leaves files of a third party's."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import slow_unless

ROOT = Path(__file__).parent.parent
TRACED = "%network"
# Sockets of the internet, and of the system's resolver. (nscd answers for user names too.)
OUTSIDE = re.compile(r"AF_INET|systemd/resolve")

# A run of its own first: it makes what the others look at.
COMMANDS = {
    "tune": "{python} -m edge_sharpzo tune --onnx {onnx} --data {photos} --out {tmp}/new "
    "--shots 4 --budget 60",
    "predict": "{python} -m edge_sharpzo predict {run} {photo}",
    "eval": "{python} -m edge_sharpzo eval {run} --data {photos}",
    "info": "{python} -m edge_sharpzo info {onnx}",
    "compare": "{python} -m edge_sharpzo compare {run} {run}",
    "collect": "{python} -m edge_sharpzo collect {run}",
    "doctor": "{python} -m edge_sharpzo doctor --onnx {onnx}",
    "the package and onnxruntime": "{python} -c import(edge_sharpzo,onnxruntime)",
    "classify.py": "{python} {root}/examples/classify.py {run}/classifier.onnx {photo}",
    # A photo is a video of one picture.
    "watch": "{python} -m edge_sharpzo watch {run} --source {photo} --save unsure --save-to {tmp}",
    "export": "{python} -m export --model local-dir:{model} --out {tmp}/clip.onnx "
    "--no-search-space",
}


@pytest.fixture
def model(name: str, request: pytest.FixtureRequest) -> Path | None:
    """What the workstation's command exports."""
    if name != "export":
        return None
    return request.getfixturevalue("exported")("vit").onnx.parent / "model"  # type: ignore[no-any-return]


# The workstation's command takes long.
@pytest.mark.parametrize("name", slow_unless(lambda name: name != "export", COMMANDS))
def test_no_look_up_and_no_foreign_file(
    name: str,
    tiny_onnx: Path,
    photos: Path,
    finished_run: Path,
    model: Path | None,
    tmp_path: Path,
) -> None:
    if name == "watch":
        pytest.importorskip("av", reason="the extra `camera` is not installed")
    places = {
        "python": sys.executable,
        "onnx": tiny_onnx,
        "photos": photos,
        "photo": photos / "test" / "red_things" / "000.png",
        "run": finished_run,
        "root": ROOT,
        "model": model,
        "tmp": tmp_path,
    }
    command = COMMANDS[name].format(**places).split()
    command = [re.sub(r"^import\((.*)\)$", r"import \1, time; time.sleep(1)", c) for c in command]
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    environment |= {"TMPDIR": str(tmp_path), "EDGE_SHARPZO_CACHE": str(home / "edge-sharpzo")}
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={TRACED}", "-o", str(trace)]
    done = subprocess.run(
        [*(strace if shutil.which("strace") else []), *command],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = {str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()}
    assert {file for file in left if not file.startswith("edge-sharpzo/")} == set()
    if not shutil.which("strace"):
        pytest.skip("files checked; to see look-ups too, install strace")
    outside = [
        line for line in trace.read_text(errors="replace").splitlines() if OUTSIDE.search(line)
    ]
    assert outside == []


def test_the_check_would_see_a_look_up_and_a_foreign_file(tmp_path: Path) -> None:
    """onnxruntime with its telemetry on writes its device id: what the tests above look for."""
    if not shutil.which("strace"):
        pytest.skip("install strace")
    trace = tmp_path / "trace"
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={TRACED}", "-o", str(trace)]
    subprocess.run([*strace, sys.executable, "-c", script], check=True, timeout=60)
    assert OUTSIDE.search(trace.read_text())
