"""What this process holds in memory, and a limit to keep it under."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import available_mb

_STATM, _STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
MB = 1_000_000
_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
STACK = 8 * MB  # of a thread, where the system sets no limit
RESERVE = 16 * MB  # left free under a limit: what NumPy and Python take between two looks


def resident() -> int | None:
    """Bytes of memory that this process holds; None where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def _writable() -> int | None:
    """Bytes of memory of its own that this process has asked for; None where nobody tells.

    What Linux counts against RLIMIT_DATA.
    """
    try:
        return int(_STATM.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def thread_stack() -> int:
    """Bytes that a new thread asks for; it uses hardly any of them."""
    try:
        import resource
    except ImportError:  # Windows
        return STACK
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return STACK if soft == resource.RLIM_INFINITY else max(soft, STACK)


def peak_mb() -> float | None:
    """The most memory that this process has held so far, in MB (10^6 bytes).

    None where the system does not tell.
    """
    try:
        # Not Linux's ru_maxrss: that counts what the parent held when it started this process.
        return round(
            1024
            * next(
                int(line.split()[1])
                for line in _STATUS.read_text().splitlines()
                if line.startswith("VmHWM:")
            )
            / MB,
            1,
        )
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB, 1)  # macOS counts bytes


def return_freed_memory() -> None:
    """Hands freed memory back to the system, which glibc's malloc keeps otherwise."""
    _malloc("malloc_trim", 0)


def return_large_arrays_at_once() -> None:
    """From now on large arrays go back to the system as soon as they are freed.

    A setting of the whole process: for a program that owns it, as the command line does.
    """
    _malloc("mallopt", _M_MMAP_THRESHOLD, MB)


def _malloc(function: str, *arguments: int) -> None:
    """Calls a function of glibc's malloc; nothing where the C library is another one."""
    if sys.platform == "linux":
        try:
            getattr(ctypes.CDLL(None), function)(*arguments)
        except AttributeError:
            return


class MemoryLimit:
    """The most memory that the process may hold; without a limit everything fits."""

    def __init__(self, mb: int | None = None):
        """`mb` in MB (10^6 bytes).

        Raises UserError where it is no limit, or the system does not tell what is held.
        """
        if mb is not None and mb < 1:
            raise UserError(f"`max_memory={mb}`: give a number of MB", field="max_memory")
        if mb is not None and resident() is None:
            raise UserError(
                "`max_memory`: this system does not tell how much memory a process holds; leave "
                "it out",
                field="max_memory",
            )
        self.mb = mb

    def left(self) -> int | None:
        """Bytes that may still be taken; None without a limit."""
        return None if self.mb is None else self.mb * MB - RESERVE - (resident() or 0)

    def require(self, needed: int, what: str) -> None:
        """Raises UserError where `needed` more bytes, for `what`, would pass the limit."""
        left = self.left()
        if left is not None and needed > left:
            least = -(-((resident() or 0) + RESERVE + needed) // MB)
            raise UserError(
                f"`max_memory={self.mb}` is too little: {what} alone needs {least} MB. "
                "Allow more than that, or export with PRECISION=int8",
                field="max_memory",
            )

    def fitting(self, most: int, each: int) -> int:
        """How many things of `each` bytes may be worked on at once.

        `most`, or fewer under a limit, and never none.
        """
        left = self.left()
        return most if left is None else int(max(1, min(most, left // max(each, 1))))

    @contextmanager
    def kept(self, most: int, idle: int = 0) -> Iterator[None]:
        """Within it the system refuses this process more than `most` further bytes.

        Or more than the limit leaves, or than the machine has; `idle` come on top, bytes that are
        asked for and not used. For the work on what others have written: it then fails, by
        MemoryError or an error of the engine, where it would take the machine down. Where the
        system has no such limit, nothing is refused.
        """
        asked_for = _writable() if sys.platform == "linux" else None
        if asked_for is None:
            yield
            return
        left = [most, (available_mb() or most) * MB]
        if self.mb is not None:
            left.append(max(RESERVE, self.mb * MB - (resident() or 0)))
        with _ceiling.lowered(asked_for + min(left) + idle):
            yield


class PlannedLimit(MemoryLimit):
    """A limit that is planned by and not enforced.

    Drivers of accelerators ask for far more memory than they use.
    """

    @contextmanager
    def kept(self, most: int, idle: int = 0) -> Iterator[None]:  # noqa: ARG002 - the base's
        """Nothing is refused."""
        yield


class _Ceiling:
    """The system's limit on this process's memory: the highest that one of its threads asks for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: list[int] = []
        self._before = (-1, -1)

    @contextmanager
    def lowered(self, limit: int) -> Iterator[None]:
        """Within it the process gets no more than `limit` bytes."""
        import resource

        with self._lock:
            if not self._asked:
                self._before = resource.getrlimit(resource.RLIMIT_DATA)
            self._asked.append(limit)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._asked.remove(limit)
                self._set()

    def _set(self) -> None:
        import resource

        soft, hard = self._before
        asked = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        if self._asked:
            soft = min([max(self._asked), *asked])
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_ceiling = _Ceiling()
