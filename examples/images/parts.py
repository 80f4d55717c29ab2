"""The parts of a photo's file that its pixels need.

pillow gives up on a whole photo for the sake of a long text, a colour profile, a checksum or a
thumbnail's table, none of which changes a pixel. So it is handed a file without them, and what
turns the photo is read here. Damage to the parts that are left stays pillow's to find.
"""

import io
import struct
import zlib
from bisect import bisect_right
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from .limits import UnreadableImageError
from .orientation import XMP, Directory, directory_orientation, exif_orientation, read_directory

MAX_STEPS = 1 << 20  # segments or chunks looked at: a file of nothing else would take for ever
MAX_PIECES = 1 << 16  # strips or tiles of a TIFF
MAX_TEXT = 1 << 20  # bytes of a text that may tell the orientation
Part = tuple[int, int] | bytes  # a stretch of the file, from and to; or bytes in its place


class Content(NamedTuple):
    """What pillow is to read, and what was learnt on the way."""

    file: BinaryIO
    orientation: int = 1
    several_scans: bool = False  # of a JPEG: its decoder holds all coefficients


class Parts(io.RawIOBase):
    """Parts of a file, read as one file without copying them."""

    def __init__(self, file: BinaryIO, parts: list[Part]):
        self._file, self._at = file, 0
        self._parts = [part for part in parts if isinstance(part, bytes) or part[0] < part[1]]
        lengths = (len(p) if isinstance(p, bytes) else p[1] - p[0] for p in self._parts)
        self._ends = list(accumulate(lengths))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The whole file's: libtiff reads by it, at the same places."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file does."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, (self._ends or [0])[-1])
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As a file does; at most to the end of the part."""
        index = bisect_right(self._ends, self._at)
        if index == len(self._parts):
            return 0
        part, left = self._parts[index], self._ends[index] - self._at
        most = min(len(buffer), left)
        if isinstance(part, bytes):
            got = part[len(part) - left :][:most]
        else:
            self._file.seek(part[1] - left)
            got = self._file.read(most)
        buffer[: len(got)] = got
        self._at += len(got)
        return len(got)


def _joined(file: BinaryIO, parts: list[Part]) -> BinaryIO:
    return io.BufferedReader(Parts(file, parts), 1 << 16)


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def jpeg_content(file: BinaryIO) -> Content:
    """A JPEG without its texts, profiles, thumbnails and further pictures.

    Adobe's and JFIF's segments stay: they say which colours the numbers are.
    """
    parts: list[Part] = []
    exif = xmp = b""
    kept, at, layers = 0, 2, 0
    for _ in range(MAX_STEPS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            break
        marker, end = head[1], at + 2 + int.from_bytes(head[2:], "big")
        if head[0] != 0xFF or marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            at += 1 if head[0] != 0xFF or marker == 0xFF else 2  # filling, or no segment
            continue
        if marker == 0xDA or end < at + 4:
            break
        content = file.read(end - at - 4)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(content) > 5:
            layers = content[5]
        colours = content[:5] == b"Adobe" and len(content) >= 12 and marker == 0xEE
        colours = colours or (content[:5] == b"JFIF\0" and len(content) >= 14 and marker == 0xE0)
        if (0xE0 <= marker <= 0xEF or marker == 0xFE) and not colours:
            parts.append((kept, at))
            kept = end
        if marker == 0xE1:
            exif = exif or (content if content.startswith(b"Exif\0\0") else b"")
            xmp = content if content.startswith(b"http://ns.adobe.com/xap/1.0/\0") else xmp
        at = end
    else:
        raise UnreadableImageError("a JPEG without pixels near its start")
    several_scans = file.read(1) != bytes([layers])  # the first one's number of layers
    parts.append((kept, _size(file)))
    return Content(_joined(file, parts), exif_orientation(exif, xmp), several_scans)


def png_content(file: BinaryIO) -> Content:
    """A PNG's header, palette, transparency and pixels; an animation's first picture."""
    parts: list[Part] = [(0, 8)]
    most = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256}
    texts = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
    told: dict[bytes, bytes] = {}
    size, at, header, pixels = _size(file), 8, b"", (0, 0)
    for _ in range(MAX_STEPS):
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        end = min(at + 12 + length, size)
        if kind == b"IDAT" and pixels[1] in (0, at):
            pixels = (pixels[0] or at, end)
        elif kind in most and length <= most[kind] and not pixels[1]:
            del most[kind]
            content = file.read(length)
            header = content if kind == b"IHDR" else header
            seen = _chunk(kind, _transparency(header, content)) if kind == b"tRNS" else (at, end)
            parts.append(seen)
        elif kind in texts and length <= MAX_TEXT:
            told |= _told(kind, file.read(length))
        if end == size or kind == b"IEND":
            break
        at = end
    else:
        raise UnreadableImageError("a PNG of more than a million parts")
    parts += [pixels, _chunk(b"IEND", b"")]
    exif, xmp = told.get(b"exif", b""), told.get(b"XML:com.adobe.xmp", b"")
    return Content(_joined(file, parts), exif_orientation(exif or told.get(_RAW, b""), xmp))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum)


def _transparency(header: bytes, content: bytes) -> bytes:
    """The chunk tRNS in the numbers that pillow makes of the pixels.

    A grey or a colour is transparent there, in as many bits as the file has. pillow widens less
    than 8 bits and keeps the upper half of 16 in colours.
    """
    depth, colour = (header[8], header[9]) if len(header) == 13 else (8, 3)
    if colour not in (0, 2):
        return content  # by place in the palette
    levels = struct.unpack(f">{len(content) // 2}H", content[: len(content) // 2 * 2])
    levels = tuple(level & (1 << depth) - 1 for level in levels)
    if depth < 8:
        levels = tuple(level * 255 // ((1 << depth) - 1) for level in levels)
    elif depth == 16 and colour == 2:
        levels = tuple(level >> 8 for level in levels)
    return struct.pack(f">{len(levels)}H", *levels)


_RAW = b"Raw profile type exif"


def _told(kind: bytes, content: bytes) -> dict[bytes, bytes]:
    """What a chunk of text says of the orientation, by keyword."""
    if kind == b"eXIf":
        return {b"exif": content}
    key, _, text = content.partition(b"\0")
    if key not in (_RAW, b"XML:com.adobe.xmp"):
        return {}
    try:
        packed = kind == b"zTXt"
        if packed:
            text = text[1:]
        elif kind == b"iTXt":
            packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[2]
        if packed:
            text = zlib.decompressobj().decompress(text, MAX_TEXT)
        if key == _RAW:  # hexadecimal, after three lines
            text = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (ValueError, IndexError, zlib.error):
        return {}
    return {key: text}


# What pillow needs of a TIFF's directory: size, samples, compression, places, colours, ranges.
_TIFF_TAGS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 284, 317, 320, 322, 323}
_PLACES = {273, 279, 324, 325}  # where each strip or tile lies, and its length
_TIFF_TAGS |= {324, 325, 338, 339, 340, 341, 347, 529, 530, 532}


def tiff_content(file: BinaryIO) -> Content:
    """A TIFF's first picture, its directory without the tags that its pixels do not need."""
    directory = read_directory(file)
    if directory is None:
        raise UnreadableImageError("a TIFF without a directory")
    if any(entry.values > MAX_PIECES for entry in directory.entries if entry.tag in _PLACES):
        raise UnreadableImageError(f"a TIFF of more than {MAX_PIECES} strips or tiles")
    size = _size(file)
    kept = [entry.raw for entry in directory.entries if entry.tag in _TIFF_TAGS]
    width = 8 if directory.big else 2
    table = len(kept).to_bytes(width, directory.byteorder) + b"".join(kept)
    table = table.ljust(directory.end - directory.start, b"\0")  # no further directory
    parts: list[Part] = [(0, directory.start), table, (directory.end, size)]
    return Content(_joined(file, parts), directory_orientation(directory, _xmp(file, directory)))


def _xmp(file: BinaryIO, directory: Directory) -> bytes:
    entry = directory.find(XMP)
    if entry is None or entry.values <= len(entry.content):
        return b""
    file.seek(directory.number(entry.content))
    return file.read(min(entry.values, MAX_TEXT))
