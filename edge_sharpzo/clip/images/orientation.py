"""Which way up a photo is: EXIF's orientation, or XMP's, however odd the tags beside it are."""

import io
import re
from typing import BinaryIO, Literal, NamedTuple

from PIL import Image

ORIENTATION, XMP = 0x0112, 700  # tags
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHOLE_NUMBERS = {1: 1, 3: 2, 4: 4}  # types of tags: bytes of each value
MAX_ENTRIES = 4096  # of a directory that is read; real ones have dozens


class Entry(NamedTuple):
    """A tag of a TIFF directory."""

    tag: int
    kind: int
    values: int  # how many
    content: bytes  # its values, or where they lie
    raw: bytes  # the whole entry as stored


class Directory(NamedTuple):
    """The first directory of a TIFF file; EXIF is one too."""

    start: int  # its place in the file, in bytes
    end: int
    byteorder: Literal["little", "big"]
    big: bool  # BigTIFF: numbers of 8 bytes
    entries: list[Entry]

    def number(self, content: bytes) -> int:
        """The number that `content` holds."""
        return int.from_bytes(content, self.byteorder)

    def find(self, tag: int) -> Entry | None:
        """The first entry of that tag."""
        return next((entry for entry in self.entries if entry.tag == tag), None)


def read_directory(file: BinaryIO) -> Directory | None:
    """The first directory of a TIFF file, or as much as there is of it; None where there is none.

    Values are not looked at.
    """
    file.seek(0)
    head = file.read(16)
    if head[:2] not in (b"II", b"MM") or not {head[2:3], head[3:4]} & {b"*", b"+"}:
        return None
    big = b"+" in head[2:4]
    found = Directory(0, 0, "little" if head[:2] == b"II" else "big", big, [])
    start = found.number(head[8:16] if big else head[4:8])
    width, length = (8, 20) if big else (2, 12)
    try:
        file.seek(start)
        count = found.number(file.read(width))
    except (OSError, ValueError, OverflowError):
        return None
    for _ in range(min(count, MAX_ENTRIES)):
        raw = file.read(length)
        if len(raw) < length:
            break
        parts = (raw[:2], raw[2:4], raw[4 : length // 2 + 2])
        tag, kind, values = (found.number(part) for part in parts)
        found.entries.append(Entry(tag, kind, values, raw[length // 2 + 2 :], raw))
    return found._replace(start=start, end=start + width + count * length + (8 if big else 4))


def directory_orientation(directory: Directory | None, xmp: bytes = b"") -> int:
    """Orientation 1 to 8 by a directory's tag, else by XMP, else 1."""
    entry = directory.find(ORIENTATION) if directory else None
    if directory and entry and entry.kind in _WHOLE_NUMBERS:
        value = directory.number(entry.content[: _WHOLE_NUMBERS[entry.kind]])
    else:
        match = re.search(rb'tiff:Orientation(="|>)([0-9])', xmp)
        value = int(match[2]) if match else 1
    return value if 1 <= value <= 8 else 1


def exif_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Orientation 1 to 8 by EXIF, with or without its mark `Exif`, else by XMP, else 1."""
    plain = re.sub(b"^(Exif\0\0){1,2}", b"", exif)
    return directory_orientation(read_directory(io.BytesIO(plain)), xmp)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """`image` as it was taken."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
