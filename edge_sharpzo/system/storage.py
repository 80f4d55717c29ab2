"""Files that a crash leaves whole, the cache's place, and JSON that others may have written."""

import errno
import glob
import json
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

MOST_TEXT = 32_000_000  # bytes of a file of settings or results
DEEPEST = 32  # nesting of JSON
Typed = TypeVar("Typed")

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

PART = ".part"  # suffix of a file that is being written


def cache_folder() -> Path:
    """`$EDGE_SHARPZO_CACHE`, or `edge-sharpzo` in the user's cache folder.

    For a user without a home it lies in the folder of temporary files.
    """
    if chosen := os.environ.get("EDGE_SHARPZO_CACHE"):
        return Path(chosen)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "edge-sharpzo"
    try:
        return Path.home() / ".cache" / "edge-sharpzo"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"edge-sharpzo-{os.getuid()}"


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` on a file beside `path`, flushes it to disk and renames it into place.

    That file is locked meanwhile, by which `clear_half_written` knows what a dead process left.
    """
    try:
        _write_atomic(path, write)
    except OSError as error:
        if str(error.filename).endswith(PART):  # nobody has asked for that one
            error.filename, error.filename2 = str(path), None
        raise


def _write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    part = Path(name)
    try:
        take_lock(handle)
        write(part)
        with suppress(OSError):  # some file systems know no permissions
            part.chmod(0o644)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
        flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_half_written(path: Path) -> None:
    """Deletes what a process that is dead was writing for `path`."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        with suppress(OSError):
            handle = os.open(part, os.O_RDWR)
            try:
                take_lock(handle)  # BlockingIOError: it is being written
                part.unlink(missing_ok=True)
            finally:
                os.close(handle)


def open_file(path: Path, flags: int, mode: int = 0o644, follow: bool = False) -> int:
    """A handle of a file, as `os.open` gives it; never waits, as a pipe would have it.

    Raises OSError also for what is no file, and for a link unless it is to `follow` one: whoever
    packed a folder may have put one there that leads anywhere.
    """
    flags |= getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    handle = os.open(path, flags, mode)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return handle


def is_taken(file: Path) -> bool | None:
    """Whether anybody, this process too, holds the lock of `file`; None where it will not open."""
    try:
        handle = os.open(file, os.O_RDWR)
    except OSError:
        return None
    try:
        take_lock(handle)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def take_lock(handle: int) -> None:
    """Locks an open file until it is closed, or the process dies.

    Raises BlockingIOError where another process holds it. A system without locks goes without.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # this file system has no locks
        return


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text`, UTF-8."""
    write_atomic(path, lambda part: part.write_text(text, encoding="utf8"))


def read_text(path: Path) -> str:
    """What an untrusted file says, UTF-8, with its line ends as they are.

    Raises OSError, or ValueError for what is no text, or no file, or no small one: a pipe or a
    device would never end.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    if (size := path.stat().st_size) > MOST_TEXT:
        raise ValueError(f"it is larger than any ({size // 1_000_000} MB)")
    return path.read_bytes().decode("utf8")


def parse_json(text: str) -> Any:
    """The value of untrusted JSON.

    Raises ValueError for what is none, and for nesting that would exhaust the stack.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if nesting(value) > DEEPEST:
        raise ValueError("it is nested too deeply")
    return value


def as_type(value: Any, kind: type[Typed], hook: Callable[[Any, Any], Any] | None = None) -> Typed:
    """A value of JSON as `kind`, a dataclass or a type of the standard library.

    `hook` makes what msgspec does not know. Raises ValueError with what does not fit.
    """
    import msgspec  # here: most commands do without it

    try:
        return msgspec.convert(value, kind, dec_hook=hook)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace("`", "'")) from error


def nesting(value: Any) -> int:
    """How deeply lists and dictionaries of JSON lie in each other."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [i for each in level for i in (each.values() if isinstance(each, dict) else each)]
    return depth
