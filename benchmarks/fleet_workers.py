"""Workers of a fleet on this machine, each on a core, and the link to them. Linux only."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.fleet_model import PERFECT, Link
from edge_sharpzo.engines.address import Address, Scheme

STARTS = 120.0  # seconds that a process has to start


@dataclass(frozen=True)
class Process:
    """A process."""

    port: int  # that it listens on; 0 where only the scheduler knows
    pid: int


def processor_seconds(pid: int) -> float:
    """Seconds that all threads of a process have computed for."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            nanoseconds += int(task.read_text().split()[0])
        except OSError:  # a thread that has just ended
            continue
    return nanoseconds / 1e9


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """This thread on one core, and the processes that it starts meanwhile for good."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(
    command: Sequence[object], core: int | None = None, **more: str
) -> Iterator["subprocess.Popen[str]"]:
    """A Python module's command as a process, on a core; stopped at the end.

    `more` is added to its environment.
    """
    with pinned(core) if core is not None else nullcontext():
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **more},
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def first_line(stream: IO[str] | None) -> str:
    """What a process says when it is ready. Raises RuntimeError where it says nothing."""
    assert stream is not None
    if not select.select([stream], [], [], STARTS)[0] or not (line := stream.readline()):
        raise RuntimeError("a process that the check needs did not start")
    return line


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


@contextmanager
def services(onnx: Path, number: int) -> Iterator[list[Process]]:
    """So many MLServers with a model, one thread each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = []
        for each in range(number):
            port, http = free_ports(2)
            command: list[object] = [
                "serving",
                "--onnx",
                onnx,
                "--threads",
                1,
                "--out",
                folder / str(each),
            ]
            command += ["--grpc-port", port, "--http-port", http]
            made.append((port, stack.enter_context(started(command, core=each))))
        for _, process in made:
            first_line(process.stdout)
        yield [Process(port, process.pid) for port, process in made]


@contextmanager
def linked(link: Link, ports: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """A link before these ports: its own ports, and its process."""
    mbit = 0.0 if link.rate == PERFECT.rate else 8 * link.rate / 1e6
    with started(["benchmarks.slow_link", 1e3 * link.round_trip, mbit, *ports]) as process:
        yield [int(port) for port in first_line(process.stdout).split()], process.pid


class DaskFleet:
    """A scheduler of Dask, and workers that share one copy of the model; stopped by `stack`."""

    def __init__(self, stack: ExitStack):
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (port,) = free_ports(1)
        command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        self.scheduler = Process(port, stack.enter_context(started(command)).pid)
        self.workers: list[Process] = []

    @property
    def address(self) -> Address:
        """Where the scheduler is."""
        return Address(Scheme.DASK, "127.0.0.1", self.scheduler.port)

    def grow(self, number: int) -> None:
        """Starts workers until there are so many."""
        from distributed import Client

        port = self.scheduler.port
        while (each := len(self.workers)) < number:
            command: list[object] = [
                "dask",
                "worker",
                f"tcp://127.0.0.1:{port}",
                "--host",
                "127.0.0.1",
            ]
            command += ["--nthreads", 1, "--no-nanny", "--no-dashboard"]
            command += ["--local-directory", self._folder / str(each)]
            cache = str(self._folder / "cache")
            process = self._stack.enter_context(
                started(command, core=each, EDGE_SHARPZO_CACHE=cache)
            )
            self.workers.append(Process(0, process.pid))
        with Client(f"tcp://127.0.0.1:{port}", timeout=STARTS, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=STARTS)
