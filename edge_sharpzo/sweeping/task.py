"""What a worker does for one job: it starts a process, waits for it, and brings what it wrote.

A process of its own for each job, for its memory, processor time and number of threads are then
the job's alone, and one that crashes takes no other along.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from edge_sharpzo.runs.folder import FILES, is_finished
from edge_sharpzo.runs.lock import locked
from edge_sharpzo.runs.run_config import CONFIG
from edge_sharpzo.system.errors import UserError

FREED_WITHIN = 120.0  # seconds that the process of a worker that died may take to end
RUN = "run"  # the folder's name where it is a worker's own


@dataclass(frozen=True)
class Job:
    """A module to run in a process of its own, as `python -m` does."""

    name: str
    module: str
    arguments: tuple[str, ...]
    # In their place where the run in the folder has begun. Both end with a flag and `=`, to which
    # the folder is added; none where the module makes no run.
    resume: tuple[str, ...] = ()
    folder: Path | None = None  # of the run; None: the worker makes one and brings its files
    files: Mapping[str, bytes] = field(default_factory=dict)  # that the worker's own begins with
    # Whose workers alone may take it, one such job at a time; any if empty. As `host_of` has it.
    machine: str = ""


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


def host_of(address: str) -> str:
    """The machine of a worker's address, such as `tcp://10.0.0.7:43211`."""
    return address.rpartition(":")[0]


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
    if not job.resume:
        return _ended(job.module, job.arguments, token)
    if job.folder:
        _wait_until_free(job.folder)
        return _run(job, job.folder, token)
    from distributed import get_worker

    # Dask deletes what a worker that was killed has left there.
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory) as place:
        folder = Path(place, RUN)
        folder.mkdir()
        for name in FILES:
            if name in job.files:
                (folder / name).write_bytes(job.files[name])
        ended = _run(job, folder, token)
        written = [name for name in FILES if (folder / name).is_file()]
        return replace(ended, files={name: (folder / name).read_bytes() for name in written})


def _run(job: Job, folder: Path, token: str) -> Ended:
    """Begins a run, or goes on with what a worker that died has left of it."""
    begun = (folder / CONFIG).exists()
    with suppress(UserError):  # which the run will meet, and tell
        if begun and is_finished(folder):
            return Ended(0, "", "")
    *arguments, last = job.resume if begun else job.arguments
    return _ended(job.module, (*arguments, f"{last}{folder}"), token)


def _ended(module: str, arguments: Sequence[str], token: str) -> Ended:
    command = [sys.executable, "-m", "edge_sharpzo.sweeping.child", module, *arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
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
        except UserError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                return  # the run will say so itself
            time.sleep(0.1)
