"""Opens a photo's file without decoding it, for as much memory as may be taken."""

from itertools import pairwise
from typing import BinaryIO

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .limits import UnreadableImageError, decoding_bytes, picture_bytes, require
from .orientation import exif_orientation
from .parts import Content, jpeg_content, png_content, tiff_content

# By content, whatever a file is called; pillow's other formats start converters or are hardly
# tested. Their classes, not `Image.open`: that refuses large JPEGs before they can be scaled down.
_READERS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
}
FORMATS = tuple(_READERS)
_STARTS: dict[str, tuple[bytes, ...]] = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"II+\0", b"MM\0+"),
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes
_TILE_BYTES = 500  # of Python objects for each strip or tile of a TIFF
_SCALES = (2, 4, 8)  # libjpeg decodes to these parts of the width and height


def open_photo(file: BinaryIO, most_bytes: int) -> tuple[Image.Image, int]:
    """The photo in `file`, ready to be decoded, and its orientation (1 to 8).

    A JPEG that takes more than `most_bytes` is decoded to a half, a quarter or an eighth of its
    size. Raises UnreadableImageError for what is no photo or takes more; whatever pillow raises.
    """
    head = file.read(32)
    kind = kind_of(head)
    if kind is None:
        raise UnreadableImageError(_what_else(head))
    length = file.seek(0, 2)
    if kind in ("WEBP", "GIF"):  # their decoders take memory as soon as they are opened
        size = _webp_size(head) if kind == "WEBP" else _gif_size(head)
        held = _held_by_decoder(kind, size, length)
        require(held + picture_bytes(size, "RGBA" if kind == "WEBP" else "P"), most_bytes, size)
    needed = {"JPEG": jpeg_content, "PNG": png_content, "TIFF": tiff_content}.get(kind)
    content = needed(file) if needed else Content(file)
    content.file.seek(0)
    try:
        image = _READERS[kind](content.file)
    except SyntaxError as error:  # pillow's word for anything odd
        raise UnreadableImageError(f"a {kind} file that pillow cannot read ({error})") from error
    turned = content.orientation
    if kind == "WEBP":
        turned = exif_orientation(image.info.get("exif", b""), image.info.get("xmp", b""))
    _fit(image, _decoder_bytes(image, content, length), most_bytes, turned > 1)
    return image, turned


def _what_else(head: bytes) -> str:
    """Why a file of no such kind is refused: pictures of telephones, and films, by their brand."""
    if head[4:8] != b"ftyp":
        return "not an image"
    if head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif"):
        return "a HEIC or AVIF picture: convert it to JPEG"
    return "a film, no photo"


def kind_of(head: bytes) -> str | None:
    """Which of FORMATS a file is that begins with `head`, 32 bytes; None for no photo."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return next((kind for kind, starts in _STARTS.items() if head.startswith(starts)), None)


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height; where `head` does not tell, libwebp refuses the file."""

    def number(start: int, count: int) -> int:
        return int.from_bytes(head[start : start + count], "little")

    if head[12:16] == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if head[12:16] == b"VP8L":
        return (number(21, 4) & 0x3FFF) + 1, (number(21, 4) >> 14 & 0x3FFF) + 1
    return number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF


def _gif_size(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")


def _held_by_decoder(kind: str, size: tuple[int, int], length: int) -> int:
    """Bytes held for a picture of this size in a file of `length` bytes, beside the picture.

    libwebp holds the file twice, two pictures and a third to hand over; pillow a GIF's comments and
    what is to follow its first picture.
    """
    if kind == "WEBP":
        return 2 * length + 3 * picture_bytes(size)
    return length + picture_bytes(size, "P")


def _decoder_bytes(image: Image.Image, content: Content, length: int) -> int:
    """Bytes that the decoder holds beside the picture."""
    if isinstance(image, JpegImageFile):
        several = content.several_scans or "progressive" in image.info
        return _coefficients(image) if several else 0
    if isinstance(image, TiffImageFile):
        return _strip_bytes(image, length)
    if isinstance(image, WebPImageFile | GifImageFile):
        return _held_by_decoder(str(image.format), image.size, length)
    # pillow decodes runs in Python.
    runs = isinstance(image, BmpImageFile) and image.tile[0][0] == "bmp_rle"
    return 3 * picture_bytes(image.size, "P") if runs else 0


def _coefficients(image: JpegImageFile) -> int:
    """Bytes of a JPEG's coefficients, 2 each, of which there is one for each sample."""
    samples = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in samples) * max(down for _, down in samples)
    share = sum(across * down for across, down in samples) / max(most, 1)
    return int(2 * share * image.width * image.height)


def _strip_bytes(image: TiffImageFile, length: int) -> int:
    """Bytes of a TIFF's largest strip or tile and of the list of all of them.

    libtiff maps the file, of `length` bytes; uncompressed ones pillow reads from place to place.
    """
    tags, starts = image.tag_v2, sorted(tile[2] for tile in image.tile)
    if image.tile[0][0] == "raw":
        gap = max((after - before for before, after in pairwise(starts)), default=0)
        return gap + len(starts) * _TILE_BYTES
    width, rows = tags.get(322, image.width), tags.get(323, tags.get(278, image.height))
    bits = tags.get(258, (1,))
    samples = max(len(bits), tags.get(277, 1))
    return length + int(width) * min(int(rows), image.height) * max(bits) * samples // 8


def _fit(image: Image.Image, decoder_bytes: int, most_bytes: int, turned: bool) -> None:
    """Has a JPEG decoded to as large a part as `most_bytes` allow.

    Raises UnreadableImageError where what is left takes more.
    """
    size = image.size

    def needed(scale: int) -> int:
        return decoding_bytes(image, decoder_bytes, turned, scale)

    if isinstance(image, JpegImageFile) and needed(1) > most_bytes:
        scale = next((s for s in _SCALES if needed(s) <= most_bytes), _SCALES[-1])
        image.draft(None, (max(1, size[0] // scale), max(1, size[1] // scale)))
    require(needed(1), most_bytes, size)
