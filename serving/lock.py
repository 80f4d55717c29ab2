"""A repository is not written again while a server reads it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_sharpzo.runs.lock import is_same
from edge_sharpzo.system.errors import UserError


class Use:
    """A repository in use."""

    def __init__(self, path: Path, handle: int, is_alone: bool):
        """Use `used`."""
        self._path, self._handle, self.is_alone = path, handle, is_alone

    def close(self) -> None:
        """Ends it; the last one deletes the file, which nobody else can have locked then."""
        with suppress(OSError):  # others have it, or the folder is gone
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_same(self._path, self._handle):
                self._path.unlink()
        os.close(self._handle)

    def share(self) -> None:
        """From now on others may read it, too. Raises UserError where one came before."""
        fcntl.flock(self._handle, fcntl.LOCK_SH)  # which lets go first
        if not is_same(self._path, self._handle):
            raise UserError("another process has used the repository meanwhile: start again")
        self.is_alone = False


def _opened(path: Path) -> Use:
    """A locked `path`, alone or else shared. Raises BlockingIOError where another one is alone."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            use = Use(path, handle, _is_alone(handle))
        except BlockingIOError:
            os.close(handle)
            raise
        if is_same(path, handle):
            return use
        os.close(handle)  # its last holder has just deleted it


def _is_alone(handle: int) -> bool:
    """Locks the file, for nobody else or else shared. Raises BlockingIOError."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    return True


@contextmanager
def used(folder: Path) -> Iterator[Use]:
    """Within it nobody else writes the repository in `folder`.

    `is_alone` says whether nobody else reads it either, so that it may be written. Raises UserError
    where another process is writing it.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    try:
        use = _opened(path)
    except BlockingIOError as error:
        raise UserError(
            f"{folder} is being written by another process: wait for it, or give another --out"
        ) from error
    try:
        yield use
    finally:
        use.close()
