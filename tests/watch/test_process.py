"""`watch` as a process: signals, pipes, terminals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest
from helpers import Place, photo

from watch.sights import CLASSES, video


@contextmanager
def running(*arguments: object, **more: Any) -> Iterator[tuple[Any, Callable[[], dict[str, Any]]]]:
    """The command at work; gives the process, and a function that waits for its next line."""
    script = (
        "import sys; from edge_sharpzo.watching import folder; folder.STILL = 0.1; "
        "from edge_sharpzo.cli import app; app(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "watch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    assert process.stdout
    lines: Queue[str] = Queue()
    Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True).start()

    def next_row() -> dict[str, Any]:
        try:
            row: dict[str, Any] = json.loads(lines.get(timeout=60))
        except Empty:
            raise AssertionError("no row came") from None
        return row

    try:
        yield process, next_row
    finally:
        process.kill()
        process.wait()


def ready(process: Any) -> None:
    """Waits for the line that says what is watched."""
    while "the state changes" not in (line := process.stderr.readline()):
        assert line, "it ended"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(sent: signal.Signals, place: Place) -> None:
    inbox = place.folder("camera")
    with running(place.run, "--source", inbox, "--every", 0.1) as (process, next_row):
        ready(process)
        (inbox / "a.png").write_bytes(photo(place).read_bytes())
        row = next_row()
        assert row["source"] == str(inbox / "a.png")
        process.send_signal(sent)
        assert process.wait(10) == 130
        assert process.stderr.read() == "edge-sharpzo: interrupted\n"


def test_a_signal_ends_a_stream_that_stalls(place: Place) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam"
        with running(place.run, "--source", address) as (process, _):
            ready(process)
            time.sleep(0.5)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 130
            assert time.monotonic() - began < 4


def test_a_pipe_that_nobody_reads(place: Place) -> None:
    file = video(place.tmp / "clip.mp4", list(CLASSES) * 3)
    command = (
        f"{sys.executable} -m edge_sharpzo watch {place.run} --source {file} --every 0 | head -1"
    )
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    row, status = done.stdout.splitlines()
    assert json.loads(row)["frame"] == 1
    assert status == "141"
    assert "Traceback" not in done.stderr


def test_names_that_would_steer_a_terminal(place: Place) -> None:
    inbox = place.folder("cam\x1b[31mera")
    with running(place.run, "--source", inbox, "--every", 0.1) as (process, next_row):
        ready(process)
        name = os.fsdecode(b"caf\xe9 \x1b]0;owned\x07.png")
        (inbox / name).write_bytes(photo(place).read_bytes())
        assert next_row()["source"] == str(inbox / name)
