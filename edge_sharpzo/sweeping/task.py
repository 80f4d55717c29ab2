"""What a worker does for one job: it starts a process, waits for it, and brings what it wrote.

A process of its own for each job, for its memory, processor time and number of threads are then
the job's alone, and one that crashes takes no other along.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from edge_sharpzo.runs.folder import FILES
from edge_sharpzo.runs.lock import locked
from edge_sharpzo.system.errors import UserError

FREED_WITHIN = 120.0  # seconds that the process of a worker that died may take to end
RUN = "run"  # the folder's name where it is a worker's own


@dataclass(frozen=True)
class Job:
    """A module to run in a process of its own, as `python -m` does."""

    name: str
    module: str
    arguments: tuple[str, ...]
    flag: str = ""  # how the module is told the folder of its run; none where it has none
    folder: Path | None = None  # of the run; None: the worker makes one and brings its files
    files: Mapping[str, bytes] = field(default_factory=dict)  # that the worker's own begins with
    only: str = ""  # address of the one worker that may take it; any if empty


@dataclass(frozen=True)
class Ended:
    """How the process of a job ended."""

    code: int  # exit code; below 0 the signal that killed it
    out: str
    err: str
    files: Mapping[str, bytes] = field(default_factory=dict)  # of the run's folder, by name

    @property
    def why(self) -> str:
        """The last line that it wrote on standard error."""
        lines = [line for line in self.err.splitlines() if line.strip()] or ["it said nothing"]
        return lines[-1].strip().removeprefix("edge-sharpzo: ")


_running: dict[str, subprocess.Popen[bytes]] = {}  # by token
_unwanted: set[str] = set()  # tokens that were stopped before their process was there


def stop(tokens: Iterable[str]) -> None:
    """Asks the processes of these tokens to end, which then leave a checkpoint."""
    for token in tokens:
        _unwanted.add(token)
        if (process := _running.get(token)) and process.stdin:
            process.stdin.close()


def missing(paths: Sequence[Path]) -> list[Path]:
    """Those of the paths that are not on this machine."""
    return [path for path in paths if not path.exists()]


def work(job: Job, token: str) -> Ended:
    """Runs the job in a process and waits for its end; `token` is what `stop` knows it by."""
    if not job.flag:
        return _ended(job, token, ())
    if job.folder:
        _wait_until_free(job.folder)
        return _ended(job, token, (f"--{job.flag}={job.folder}",))
    with tempfile.TemporaryDirectory(prefix="edge-sharpzo-") as place:
        folder = Path(place, RUN)
        folder.mkdir()
        for name in FILES:
            if name in job.files:
                (folder / name).write_bytes(job.files[name])
        ended = _ended(job, token, (f"--{job.flag}={folder}",))
        written = [name for name in FILES if (folder / name).is_file()]
        files = {name: (folder / name).read_bytes() for name in written}
        return Ended(ended.code, ended.out, ended.err, files)


def _ended(job: Job, token: str, more: tuple[str, ...]) -> Ended:
    command = [sys.executable, "-m", "edge_sharpzo.sweeping.child", job.module]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [*command, *job.arguments, *more],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            start_new_session=True,  # Ctrl-C is for who has started the workers
        )
        _running[token] = process
        try:
            if token in _unwanted:
                stop([token])
            code = process.wait()
        finally:
            stop([token])  # closes its standard input
            del _running[token]
            _unwanted.discard(token)
        return Ended(code, _text(out), _text(err))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="backslashreplace")


def _wait_until_free(folder: Path) -> None:
    """Waits for the process of a worker that died, which ends by itself after its next step."""
    until = time.monotonic() + FREED_WITHIN
    while time.monotonic() < until:
        try:
            with locked(folder):
                return
        except UserError:
            time.sleep(0.1)
