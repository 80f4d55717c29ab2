"""Photos by content: the SHA-256 of each file, by which copies and changes are known."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_sharpzo.clip.images import why_no_file


def digest_photos(
    paths: Sequence[Path], skipped: Callable[[Path, str], object] = lambda path, reason: None
) -> list[bytes]:
    """SHA-256 of each file; empty, and `skipped` hears why, where one cannot be read."""
    return [_digest(path, skipped) for path in paths]


def _digest(path: Path, skipped: Callable[[Path, str], object]) -> bytes:
    missing = why_no_file(path)
    if missing is None:
        try:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            missing = error.strerror or "cannot be read"
    skipped(path, missing)
    return b""
