"""Photos by content: the SHA-256 of each file, by which copies and changes are known."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_sharpzo.clip.images import why_no_file

Stamp = tuple[int, int, int]  # what changes when a file is written or replaced
Digests = dict[Stamp, bytes]  # SHA-256 of files that were read before; a new place is no new file


class PhotoFile(NamedTuple):
    """A photo's file, read once."""

    path: Path
    digest: bytes  # SHA-256; empty where it cannot be read
    stamp: Stamp | None = None  # of the contents that were read; None: not known

    def has_changed(self) -> bool:
        """Whether the file is another one than was read."""
        try:
            return self.stamp is not None and _stamp(self.path.stat()) != self.stamp
        except OSError:
            return True


def read_files(
    paths: Sequence[Path],
    skipped: Callable[[Path, str], object] = lambda path, reason: None,
    known: Digests | None = None,
) -> list[PhotoFile]:
    """Each file by content; `skipped` hears why, where one cannot be read.

    Those that are `known` are not read again; what is read joins them.
    """
    digests = {} if known is None else known
    return [_read(path, skipped, digests) for path in paths]


def _read(path: Path, skipped: Callable[[Path, str], object], known: Digests) -> PhotoFile:
    missing = why_no_file(path)
    if missing is None:
        try:
            with path.open("rb") as stream:
                stamp = _stamp(os.fstat(stream.fileno()))
                if stamp not in known:
                    known[stamp] = hashlib.file_digest(stream, "sha256").digest()
                return PhotoFile(path, known[stamp], stamp)
        except OSError as error:
            missing = error.strerror or "cannot be read"
    skipped(path, missing)
    return PhotoFile(path, b"")


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
