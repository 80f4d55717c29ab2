"""The folder that an export works in: beside the file to write, and gone afterwards."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_sharpzo.system.storage import is_taken, take_lock

PREFIX = ".export-"
LOCK = "in-use"  # a file in the folder, locked while its export lives
_NAME = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A folder in `parent`, deleted at the end, by SIGTERM and by a closed terminal too.

    What exports that were killed have left in `parent` is deleted too.
    """
    with _ended_cleanly(), TemporaryDirectory(dir=parent, prefix=PREFIX) as name:
        handle = os.open(Path(name) / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            with suppress(BlockingIOError):
                take_lock(handle)
            if not _is_free(Path(name)):  # else this file system knows no locks
                _clear_remains(parent)
            yield Path(name)
        finally:
            os.close(handle)


@contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Within it signals that end a process do so by SystemExit; `nohup` is heeded."""

    def end(number: int, _: Any) -> None:
        for each in numbers:  # what is going on now is the end
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    previous = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _clear_remains(parent: Path) -> None:
    """Deletes the folders of exports that are dead: nobody holds their lock.

    A folder without one is somebody else's, or just being made.
    """
    for folder in parent.iterdir():
        if _NAME.fullmatch(folder.name) and not folder.is_symlink() and _is_free(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    """Whether the lock in an export's folder is there and nobody holds it."""
    return is_taken(folder / LOCK) is False
