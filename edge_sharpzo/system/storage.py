"""Files that a crash leaves whole, the cache's place, and JSON that others may have written."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
    """Calls `write` on a file beside `path`, flushes it to disk and renames it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        part.chmod(0o644)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text`, UTF-8."""
    write_atomic(path, lambda part: part.write_text(text, encoding="utf8"))


def parse_json(text: str) -> Any:
    """The value of untrusted JSON.

    Raises ValueError for what is none, and for nesting that would exhaust the stack.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
