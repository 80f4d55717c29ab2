"""A repository is not written again while a server reads it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_sharpzo.system.errors import UserError


class Use:
    """A repository in use."""

    def __init__(self, handle: int, is_alone: bool):
        """Use `used`."""
        self._handle, self.is_alone = handle, is_alone

    def share(self) -> None:
        """From now on others may read it, too."""
        fcntl.flock(self._handle, fcntl.LOCK_SH)
        self.is_alone = False


@contextmanager
def used(folder: Path) -> Iterator[Use]:
    """Within it nobody else writes the repository in `folder`.

    `is_alone` says whether nobody else reads it either, so that it may be written. Raises UserError
    where another process is writing it.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.with_name(f".{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Use(handle, True)
        except BlockingIOError:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{folder} is being written by another process: wait for it, or give another "
                    "--out"
                ) from error
            yield Use(handle, False)
    finally:
        os.close(handle)
