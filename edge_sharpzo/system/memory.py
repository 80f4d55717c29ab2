"""What this process holds in memory, and a limit to keep it under."""

import ctypes
import os
import sys
from pathlib import Path

from edge_sharpzo.system.errors import UserError

_STATM, _STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
MB = 1_000_000
_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
RESERVE = 16 * MB  # left free under a limit: what NumPy and Python take between two looks


def resident() -> int | None:
    """Bytes of memory that this process holds; None where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


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
