"""One run at a time in a folder: a lock that the kernel lets go when the process dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import is_taken, take_lock

LOCK = ".lock"


def unwritable(folder: Path, error: OSError) -> UserError:
    """What to tell the user of a run's folder that cannot be written to."""
    return UserError(f"cannot write to {folder} ({error.strerror}): choose another `out`", "out")


class FolderLock:
    """The lock of a run's folder, while it is held."""

    def __init__(self, folder: Path, handle: int):
        """Use `locked`."""
        self._path, self._handle = folder / LOCK, handle

    def is_held(self) -> bool:
        """Whether the folder is still the one that was locked: not deleted, renamed or replaced."""
        return is_same(self._path, self._handle)


@contextmanager
def locked(folder: Path) -> Iterator[FolderLock]:
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
    lock = FolderLock(folder, handle)
    try:
        yield lock
    finally:
        with suppress(OSError):
            if lock.is_held():
                (folder / LOCK).unlink()
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a process tunes into `folder`; this one counts too."""
    return is_taken(folder / LOCK) is True


def is_same(path: Path, handle: int) -> bool:
    """Whether `path` names the file that is open as `handle`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _opened(path: Path) -> int:
    """A locked handle of `path`. Raises BlockingIOError where another process holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            take_lock(handle)
        except BlockingIOError:
            os.close(handle)
            raise
        if is_same(path, handle):
            return handle
        os.close(handle)  # its holder has just finished and deleted it
