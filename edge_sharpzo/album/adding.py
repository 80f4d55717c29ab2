"""Photos that are new: known by their content, whatever they were called."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from edge_sharpzo.album import files
from edge_sharpzo.album.contents import AlbumPhoto
from edge_sharpzo.album.names import photo_name
from edge_sharpzo.clip.images import kind_of
from edge_sharpzo.photos.digests import read_files


@dataclass(frozen=True)
class Sorted:
    """Files that are to be added."""

    new: list[tuple[Path, str]] = field(default_factory=list)  # and what to call them
    # And where the same bytes are: None among the files before it.
    copies: list[tuple[Path, AlbumPhoto | None]] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)  # and why


def sort(given: Sequence[Path], known: Iterable[AlbumPhoto]) -> Sorted:
    """Which of the files `given` are new beside the photos `known`, and on the disk for good.

    Only photos of the same size are read. Raises OSError.
    """
    now, found = datetime.now(), Sorted()
    by_size: dict[int, list[AlbumPhoto]] = {}
    for photo in known:
        by_size.setdefault(photo.size, []).append(photo)
    seen = set[bytes]()

    def refuse(path: Path, why: str) -> None:
        found.refused.append((path, why))

    for path in given:
        if not (kind := _kind(path, refuse)):
            continue
        (file,) = read_files([path], refuse)
        if not file.digest:
            continue
        same_size = by_size.get(path.stat().st_size, [])
        read = read_files([each.path for each in same_size])
        original = next((k for k, each in enumerate(read) if each.digest == file.digest), None)
        if original is not None or file.digest in seen:
            found.copies.append((path, None if original is None else same_size[original]))
            continue
        seen.add(file.digest)
        files.flush(path)
        found.new.append((path, photo_name(file.digest, kind, now)))
    return found


def _kind(path: Path, refuse: Callable[[Path, str], None]) -> str | None:
    try:
        with path.open("rb") as stream:
            kind = kind_of(stream.read(32))
    except OSError as error:
        refuse(path, error.strerror or "cannot be read")
        return None
    if kind is None:
        refuse(path, "no photo: take JPEG, PNG, WebP, GIF, BMP or TIFF")
    return kind
