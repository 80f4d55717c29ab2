"""Photos that are new: known by their content, whatever they were called."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from edge_sharpzo.album import files
from edge_sharpzo.album.contents import AlbumPhoto
from edge_sharpzo.album.names import photo_name
from edge_sharpzo.clip.images import kind_of
from edge_sharpzo.photos.digests import Digests, read_files


@dataclass(frozen=True)
class Sorted:
    """Files that are to be added."""

    new: list[tuple[Path, str]] = field(default_factory=list)  # and what to call them
    # And where the same bytes are: None among the files before it.
    copies: list[tuple[Path, AlbumPhoto | None]] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)  # and why


@dataclass(frozen=True)
class Read:
    """What was read of files, by content."""

    known: Digests  # of photos of the album, for as long as it is open
    # Of files that are to be added. Those that are not are deleted: another may then come to be at
    # their place on the disk, in the same moment.
    given: Digests = field(default_factory=dict)


def read_ahead(given: Sequence[Path], known: Iterable[AlbumPhoto], read: Read) -> None:
    """Reads all that `sort` needs, and takes its time: nobody need wait for it."""
    sizes = {_size(path) for path in given}
    read_files(given, known=read.given)
    read_files([photo.path for photo in known if photo.size in sizes], known=read.known)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def sort(given: Sequence[Path], known: Iterable[AlbumPhoto], read: Read) -> Sorted:
    """Which of the files `given` are new beside the photos `known`, and on the disk for good.

    Only photos of the same size are read, each once, and not what was `read` before. Raises
    OSError.
    """
    now, found, seen = datetime.now(), Sorted(), set[bytes]()
    by_size: dict[int, list[AlbumPhoto]] = {}
    for photo in known:
        by_size.setdefault(photo.size, []).append(photo)
    by_digest: dict[int, dict[bytes, AlbumPhoto]] = {}  # of the sizes that were needed

    def refuse(path: Path, why: str) -> None:
        found.refused.append((path, why))

    for path in given:
        if not (kind := _kind(path, refuse)):
            continue
        (file,) = read_files([path], refuse, read.given)
        if not file.digest:
            continue
        if (size := path.stat().st_size) not in by_digest:
            same_size = by_size.get(size, [])
            files_there = read_files([each.path for each in same_size], known=read.known)
            # The first of several stays.
            by_digest[size] = {
                each.digest: photo
                for each, photo in reversed(list(zip(files_there, same_size, strict=True)))
            }
        original = by_digest[size].get(file.digest)
        if original is not None or file.digest in seen:
            found.copies.append((path, original))
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
