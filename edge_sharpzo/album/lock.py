"""One process at a time in a data folder, and what it tells others of itself."""

import json
import os
from contextlib import suppress
from pathlib import Path

from edge_sharpzo.album.errors import InUseError
from edge_sharpzo.system.storage import open_file, parse_json, take_lock
from edge_sharpzo.system.text import is_line, shown

LOCK = "lock"
MOST = 1000  # bytes of what is told


class AlbumLock:
    """The lock of a data folder, which the kernel lets go when the process dies."""

    def __init__(self, folder: Path):
        """Takes the lock in `folder`. Raises InUseError, OSError."""
        self._handle = open_file(folder / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            take_lock(self._handle)
        except BlockingIOError as error:
            text = os.pread(self._handle, MOST, 0)
            os.close(self._handle)
            raise InUseError(
                f"{folder.parent} is in use by {_holder(text)} it first",
                field="data",
            ) from error

    def announce(self, address: str) -> None:
        """Has others told of this process and its `address`; a full disk leaves them without."""
        text = json.dumps({"process": os.getpid(), "address": address}).encode()
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text[:MOST], 0)

    def release(self) -> None:
        """Lets others in."""
        os.close(self._handle)


def _holder(text: bytes) -> str:
    """Whoever wrote `text`, and what to do with it."""
    with suppress(ValueError, LookupError, TypeError):
        told = parse_json(text.decode())
        process, address = int(told["process"]), str(told["address"])
        if address and is_line(address):
            return f"process {process} at {shown(address)}: go there, or stop"
        return f"process {process}: stop"
    return "another process: stop"
