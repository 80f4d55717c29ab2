"""The only operations that change a data folder: each happens whole or not at all.

None puts a file in another's place, and none deletes a file but what was never in the album.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from edge_sharpzo.system.storage import flush_folder

_HERE, _NO_REPLACE = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)  # kernel or file system


def move(source: Path, target: Path) -> None:
    """Renames a file or a folder.

    Raises FileNotFoundError, FileExistsError where `target` is there, or another OSError.
    """
    try:
        _rename(source, target)
    except FileExistsError:
        # It is there in another case, where the file system does not tell cases apart.
        if not (source.is_dir() and target.is_dir() and source.samefile(target)):
            raise
        source.rename(target)


def _rename(source: Path, target: Path) -> None:
    rename = _rename_if_free()
    if rename is not None:
        if rename(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _NO_REPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _UNKNOWN:
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


@cache
def _rename_if_free() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Linux's renameat2, which looks and renames in one; None where there is none."""
    try:
        found: Callable[[int, bytes, int, bytes, int], int]
        found = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    return found


def make_folder(folder: Path) -> None:
    """Makes a folder. Raises FileExistsError, or another OSError."""
    folder.mkdir()


def remove_folder(folder: Path) -> None:
    """Removes an empty folder. Raises OSError where it is not empty."""
    folder.rmdir()


def append(handle: int, line: bytes) -> None:
    """Writes `line` at the end of a file, and on to the disk.

    The file is as before, where that fails, with OSError.
    """
    before = os.lseek(handle, 0, os.SEEK_END)
    try:
        left = memoryview(line)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise


def flush(file: Path) -> None:
    """Has what was written to a file reach the disk. Raises OSError."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folders(folders: Iterable[Path]) -> None:
    """Has what was renamed in `folders` last through a power cut."""
    for folder in sorted(set(folders)):
        flush_folder(folder)


def drop(file: Path) -> None:
    """Deletes a file that never came into the album. Raises OSError."""
    file.unlink(missing_ok=True)
