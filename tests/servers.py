"""Servers that the tests start on this machine, and stop again."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from serving.settings import mlserver_settings

ROOT = Path(__file__).parent.parent
STARTS = 60  # seconds, at the longest


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    taken = [socket.socket() for _ in range(count)]
    for each in taken:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


Started = tuple[int, int, subprocess.Popen[str]]  # gRPC port, HTTP port, process


def mlserver(onnx: Path, *more: object) -> AbstractContextManager[Started]:
    """MLServer with a model file, stopped at the end; `more` are further options of the command.

    It is another process: its messages and tritonclient's cannot be in one.
    """
    return _serving(sys.executable, onnx, *more)


def triton(python: Path, onnx: Path, *more: object) -> AbstractContextManager[Started]:
    """Triton in the environment of `python`, as `mlserver`."""
    return _serving(str(python), onnx, "--server", "triton", *more)


@contextmanager
def _serving(python: str, onnx: Path, *more: object) -> Iterator[Started]:
    grpc_port, http_port = free_ports(2)
    with TemporaryDirectory() as folder:
        command = [python, "-m", "serving", "--onnx", onnx, "--out", Path(folder) / "served"]
        command += ["--grpc-port", grpc_port, "--http-port", http_port, *more]
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            select.select([process.stdout], [], [], STARTS)
            line = process.stdout.readline()
            assert "--engine kserve://" in line, line + process.stderr.read()
            yield grpc_port, http_port, process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=20)
            finally:
                process.kill()


@contextmanager
def embedding_server(onnx: Path, folder: Path) -> Iterator[int]:
    """MLServer with `embed-text` and `embed-image`, strings in; its gRPC port."""
    grpc_port, http_port = free_ports(2)
    settings = json.loads(mlserver_settings())
    _write(folder / "settings.json", settings | {"grpc_port": grpc_port, "http_port": http_port})
    for name, runtime, given in (("text", "Texts", "text"), ("image", "Photos", "file")):
        _write(
            folder / name / "model-settings.json",
            {
                "name": f"embed-{name}",
                "implementation": f"strings_runtime.{runtime}",
                "parameters": {"uri": str(onnx)},
                "inputs": [{"name": given, "datatype": "BYTES", "shape": [-1]}],
                "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, -1]}],
            },
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + STARTS
        while time.monotonic() < until and process.poll() is None:
            try:
                url = f"http://127.0.0.1:{http_port}/v2/health/ready"
                with urllib.request.urlopen(url, timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield grpc_port
    finally:
        process.kill()
        process.wait()


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@contextmanager
def dask_fleet(
    tmp: Path, workers: int = 2, before: str = ""
) -> Iterator[tuple[int, subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]]:
    """A scheduler of Dask and its workers: port, scheduler, workers; all are stopped at the end.

    `before` is a module that the workers load first.
    """
    (port,) = free_ports(1)
    dask = [sys.executable, "-m", "dask"]
    quiet: dict[str, object] = {
        "cwd": ROOT,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    address = f"tcp://127.0.0.1:{port}"
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **quiet,  # type: ignore[call-overload]
    )
    made = []
    for number in range(workers):
        words = ["worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
        words += ["--local-directory", str(tmp / f"worker{number}")]
        words += ["--host", "127.0.0.1", *(["--preload", before] if before else [])]
        cache = {"EDGE_SHARPZO_CACHE": str(tmp / f"cache{number}")}
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp)]), **cache}
        made.append(subprocess.Popen([*dask, *words], env=env, **quiet))  # type: ignore[call-overload]
    try:
        yield port, scheduler, made
    finally:
        for process in (*made, scheduler):
            process.kill()
            process.wait()
