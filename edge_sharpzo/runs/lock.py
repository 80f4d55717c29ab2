"""One run at a time in a folder: a lock that the kernel lets go when the process dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_sharpzo.system.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: no lock
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


def unwritable(folder: Path, error: OSError) -> UserError:
    """What to tell the user of a run's folder that cannot be written to."""
    return UserError(f"cannot write to {folder} ({error.strerror}): choose another `out`", "out")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within it no other process tunes into `folder`, which is made if need be.

    Raises UserError where another one does, or the folder cannot be written to. A file system that
    knows no locks goes without.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _opened(folder / LOCK)
    except BlockingIOError as error:
        raise UserError(
            f"another run is going on in {folder}: wait for it, or choose another `out`", "out"
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(handle)


def _opened(path: Path) -> int:
    """A locked handle of `path`. Raises BlockingIOError where another process holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:  # this file system has no locks
            return handle
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)  # its holder has just finished and deleted it
