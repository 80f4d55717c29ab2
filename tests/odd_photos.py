"""Files that are odd in one way each, with the pixels that they hold or the reason against them.

Every readable one shows `RAMP`, 8 levels of grey from black to white, or what is said beside it.
"""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

LEVELS = np.array([0, 36, 73, 109, 146, 182, 219, 255])  # 8 of 255, evenly
RAMP = np.repeat(np.tile(LEVELS, (6, 1)).astype(np.uint8)[..., None], 3, axis=2)  # [6, 8, 3]
GREY = RAMP[..., 0]
SHORT, LONG, FLOAT = 3, 4, 11  # types of a TIFF's tags


def ramp(top: float, dtype: str, bottom: float = 0) -> np.ndarray:
    """The ramp [6, 8] in numbers from `bottom` to `top`."""
    values = bottom + np.tile(LEVELS, (6, 1)) / 255 * (top - bottom)
    return (values if dtype.startswith("f") else np.rint(values)).astype(dtype)


def tiff(pixels: np.ndarray, tags: dict[int, Any] | None = None, big_endian: bool = False) -> bytes:
    """A TIFF of pixels [H, W] or [H, W, 3]. `tags`: numbers, (type, numbers), or None for none."""
    order = ">" if big_endian else "<"
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    given: dict[int, Any] = {
        256: pixels.shape[1],
        257: pixels.shape[0],
        258: (SHORT, [pixels.dtype.itemsize * 8] * samples),
        259: 1,
        262: 1 if samples == 1 else 2,
        273: (LONG, [8]),
        277: samples,
        278: pixels.shape[0],
        279: (LONG, [len(data)]),
        339: (SHORT, [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * samples),
        **(tags or {}),
    }
    fields = {tag: value for tag, value in given.items() if value is not None}
    start = 8 + len(data) + len(data) % 2
    beyond, entries = b"", b""
    for tag, value in sorted(fields.items()):
        kind, numbers = value if isinstance(value, tuple) else (SHORT, [value])
        code = {1: "B", 2: "B", SHORT: "H", LONG: "I", FLOAT: "f"}[kind]
        raw = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(raw) > 4:
            place = start + 2 + 12 * len(fields) + 4 + len(beyond)
            beyond += raw + b"\0" * (len(raw) % 2)
            raw = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + raw.ljust(4, b"\0")
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}I", start)
    table = struct.pack(f"{order}H", len(fields)) + entries + b"\0\0\0\0"
    return (head + data).ljust(start, b"\0") + table + beyond


def chunk(kind: bytes, content: bytes, damage: int = 0) -> bytes:
    """A PNG's chunk; with `damage` its checksum is wrong."""
    checksum = zlib.crc32(kind + content) ^ damage
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    pixels: np.ndarray, colour: int = 0, extra: bytes = b"", after: bytes = b"", depth: int = 8
) -> bytes:
    """A PNG of rows of bytes [H, bytes]; `extra` chunks come before the pixels."""
    width = pixels.shape[1] * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour])
    header = struct.pack(">IIBBBBB", width, len(pixels), depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + after
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def saved(picture: Image.Image | np.ndarray, kind: str, **more: Any) -> bytes:
    """A picture as pillow writes it."""
    stream = BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(
        stream, kind, **more
    )
    return stream.getvalue()


def exif(*entries: tuple[int, int, int, bytes], big_endian: bool = False) -> bytes:
    """EXIF of entries (tag, type, count, 4 bytes)."""
    order = ">" if big_endian else "<"
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}IH", 8, len(entries))
    body = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0" + head + body + b"\0\0\0\0"


def segment(marker: int, content: bytes) -> bytes:
    """A JPEG's segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


SCENE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8))
SCENE = SCENE.resize((72, 48))
JPEG = saved(SCENE, "JPEG", quality=90)
JPEG_PIXELS = np.asarray(Image.open(BytesIO(JPEG)))
UPSIDE = (0x112, SHORT, 1, b"\3\0\0\0")
TURNED = (0x112, SHORT, 1, b"\6\0\0\0")


def with_segments(*segments: bytes) -> bytes:
    """The JPEG with more behind its first marker."""
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def rgb(grey: np.ndarray) -> np.ndarray:
    """[H, W] three times."""
    return np.repeat(grey[..., None], 3, axis=2)


WIDE = chunk(b"tEXt", b"a\0" + b"x" * 2_500_000)
HALF = np.full((6, 8, 4), 0, np.uint8)
HALF[:, 4:, 3] = 255  # black, transparent on the left
CUT_OUT = rgb(np.where(np.arange(8) < 4, 255, 0)[None].repeat(6, 0).astype(np.uint8))
RAW_EXIF = b"\nexif\n  %d\n%s\n" % (len(exif(UPSIDE)), exif(UPSIDE).hex().encode())

# name: suffix, content, pixels [H, W, 3]
READABLE: dict[str, tuple[str, bytes, np.ndarray]] = {
    # Numbers in pixels.
    "16 bits": (".png", png(ramp(65535, ">u2").view(np.uint8), depth=16), RAMP),
    "16 bits, dark": (
        ".png",
        png(ramp(6170, ">u2").view(np.uint8), depth=16),
        rgb(np.rint(ramp(6170, "f8").round() / 257).astype(np.uint8)),
    ),
    "16 bits, all black": (".png", png(ramp(0, ">u2").view(np.uint8), depth=16), RAMP * 0),
    "16 bits of which 12 count": (
        ".png",
        png(ramp(65535, ">u2").view(np.uint8), extra=chunk(b"sBIT", b"\x0c"), depth=16),
        RAMP,
    ),
    "TIFF, 16 bits": (".tif", tiff(ramp(65535, "u2")), RAMP),
    "TIFF, 16 bits, big-endian": (".tif", tiff(ramp(65535, "u2"), big_endian=True), RAMP),
    "TIFF, 16 bits, dark": (
        ".tif",
        tiff(ramp(5140, "u2")),
        rgb(np.rint(ramp(5140, "f8").round() / 257).astype(np.uint8)),
    ),
    "TIFF, 16 bits, white is zero": (".tif", tiff(ramp(0, "u2", 65535), {262: 0}), RAMP),
    "TIFF, 8 bits, white is zero": (".tif", tiff(255 - GREY, {262: 0}), RAMP),
    "TIFF, 10 bits in 16": (".tif", tiff(ramp(1023, "u2"), {281: 1023}), RAMP),
    "TIFF, 12 bits in 16": (".tif", tiff(ramp(4095, "u2"), {281: 4095}), RAMP),
    "TIFF, 14 bits in 16, white is zero": (
        ".tif",
        tiff(ramp(0, "u2", 16383), {281: 16383, 262: 0}),
        RAMP,
    ),
    "TIFF, 16 bits up to 10000": (".tif", tiff(ramp(10000, "u2"), {341: 10000}), RAMP),
    "TIFF, fractions to 1": (".tif", tiff(ramp(1, "f4"), {341: (FLOAT, [1.0])}), RAMP),
    "TIFF, fractions to 65535": (".tif", tiff(ramp(65535, "f4"), {341: (FLOAT, [65535.0])}), RAMP),
    "TIFF, fractions, white is zero": (
        ".tif",
        tiff(ramp(0, "f4", 1), {341: (FLOAT, [1.0]), 262: 0}),
        RAMP,
    ),
    "TIFF, fractions, -1 to 1": (
        ".tif",
        tiff(ramp(1, "f4", -1), {340: (FLOAT, [-1.0]), 341: (FLOAT, [1.0])}),
        RAMP,
    ),
    "TIFF, 32 bits to a million": (".tif", tiff(ramp(10**6, "i4"), {341: (LONG, [10**6])}), RAMP),
    "TIFF, colours of 16 bits": (".tif", tiff(rgb(ramp(65535, "u2"))), RAMP),
    "TIFF, 8 bits with a statistic": (".tif", tiff(GREY, {281: 243}), RAMP),
    "TIFF, red in CIELab": (
        ".tif",
        saved(Image.new("LAB", (8, 6), (136, 208, 195)), "TIFF"),
        np.full((6, 8, 3), (250, 3, 11), np.uint8),
    ),
    # Transparency, on white.
    "cut-out": (".png", saved(HALF, "PNG"), CUT_OUT),
    "cut-out in WebP": (".webp", saved(HALF, "WEBP", lossless=True, exact=True), CUT_OUT),
    "cut-out in TIFF": (".tif", saved(HALF, "TIFF"), CUT_OUT),
    "one grey of 2 bits transparent": (
        ".png",
        png(np.full((6, 2), 0b01_01_11_00, np.uint8), extra=chunk(b"tRNS", b"\0\1"), depth=2),
        rgb(np.tile(np.array([255, 255, 255, 0], np.uint8), (6, 2))),
    ),
    "one grey of 16 bits transparent": (
        ".png",
        png(ramp(65535, ">u2").view(np.uint8), extra=chunk(b"tRNS", b"\0\0"), depth=16),
        np.where(RAMP == 0, 255, RAMP).astype(np.uint8),
    ),
    "one colour of 16 bits transparent": (
        ".png",
        png(
            rgb(ramp(65535, ">u2")).reshape(6, -1).view(np.uint8),
            2,
            chunk(b"tRNS", b"\0\0" * 3),
            depth=16,
        ),
        np.where(RAMP == 0, 255, RAMP).astype(np.uint8),
    ),
    "palette, a colour half transparent": (
        ".png",
        png(
            np.zeros((6, 8), np.uint8),
            3,
            chunk(b"PLTE", b"\0\0\0") + chunk(b"tRNS", b"\x7f", damage=1),
        ),
        np.full((6, 8, 3), 128, np.uint8),
    ),
    # Metadata.
    "PNG, 2.5 MB of text": (".png", png(GREY, extra=WIDE), RAMP),
    "PNG, text that unpacks to 50 MB": (
        ".png",
        png(GREY, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))),
        RAMP,
    ),
    "PNG, text packed in an unknown way": (
        ".png",
        png(GREY, extra=chunk(b"zTXt", b"a\0\7x"), after=chunk(b"iTXt", b"a\0\1\7")),
        RAMP,
    ),
    "PNG, a large profile": (
        ".png",
        png(GREY, extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(5_000_000)))),
        RAMP,
    ),
    "PNG, a profile packed in an unknown way": (
        ".png",
        png(GREY, extra=chunk(b"iCCP", b"a\0\5")),
        RAMP,
    ),
    "PNG, empty chunks": (
        ".png",
        png(GREY, extra=b"".join(chunk(k, b"") for k in (b"iCCP", b"pHYs", b"sRGB", b"cHRM"))),
        RAMP,
    ),
    "PNG, wrong checksums": (
        ".png",
        png(
            GREY,
            extra=b"".join(chunk(k, bytes(9), damage=7) for k in (b"pHYs", b"tIME", b"gAMA")),
            after=chunk(b"tEXt", b"a\0b", damage=7),
        ),
        RAMP,
    ),
    "PNG, a broken animation": (
        ".png",
        png(GREY, extra=chunk(b"acTL", b"1") + chunk(b"fcTL", b"12")),
        RAMP,
    ),
    "PNG, upside down by an old profile": (
        ".png",
        png(GREY, after=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW_EXIF))),
        RAMP[::-1, ::-1],
    ),
    "PNG, upside down by XMP": (
        ".png",
        png(
            GREY,
            extra=chunk(
                b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="3" rdf:about=""/>'
            ),
        ),
        RAMP[::-1, ::-1],
    ),
    "PNG, turned, odd tags": (
        ".png",
        png(GREY, extra=chunk(b"eXIf", exif((0x11A, 5, 1, b"\xff" * 4), TURNED)[6:])),
        np.rot90(RAMP, -1),
    ),
    "JPEG, a fraction of no kind": (
        ".jpg",
        with_segments(segment(0xE1, exif(UPSIDE, (0x11A, 10, 1, b"\x1a\0\0\0")))),
        JPEG_PIXELS[::-1, ::-1],
    ),
    "JPEG, a text without end": (
        ".jpg",
        with_segments(segment(0xE1, exif((0x10F, 2, 2**31, b"\0\0\0\0"), TURNED))),
        np.rot90(JPEG_PIXELS, -1),
    ),
    "JPEG, a tag of no type": (
        ".jpg",
        with_segments(segment(0xE1, exif((0x10F, 99, 1, b"aaaa"), TURNED))),
        np.rot90(JPEG_PIXELS, -1),
    ),
    "JPEG, tables that lie nowhere": (
        ".jpg",
        with_segments(segment(0xE1, exif(TURNED, (0x8769, 4, 1, b"\xff" * 4)))),
        np.rot90(JPEG_PIXELS, -1),
    ),
    "JPEG, orientation 0": (
        ".jpg",
        with_segments(segment(0xE1, exif((0x112, SHORT, 1, bytes(4))))),
        JPEG_PIXELS,
    ),
    "JPEG, big-endian": (
        ".jpg",
        with_segments(
            segment(0xE1, exif((0x112, SHORT, 1, b"\0\3\0\0"), big_endian=True)),
        ),
        JPEG_PIXELS[::-1, ::-1],
    ),
    "JPEG, no EXIF where it should be": (
        ".jpg",
        with_segments(segment(0xE1, b"Exif\0\0nonsense")),
        JPEG_PIXELS,
    ),
    "JPEG, short segments": (
        ".jpg",
        with_segments(
            segment(0xEE, b"Adobe"), segment(0xE0, b"JFIF\0"), segment(0xE2, b"ICC_PROFILE\0")
        ),
        JPEG_PIXELS,
    ),
    "JPEG, no table of its pictures": (
        ".jpg",
        with_segments(segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0")),
        JPEG_PIXELS,
    ),
    "JPEG, 8 MB of comments": (
        ".jpg",
        with_segments(*[segment(0xFE, bytes(65533))] * 128),
        JPEG_PIXELS,
    ),
    "JPEG, filling between segments": (".jpg", with_segments(b"\xff" * 99), JPEG_PIXELS),
    "JPEG, more behind its end": (".jpg", JPEG + b"tail" * 500, JPEG_PIXELS),
    "WebP, odd tags": (
        ".webp",
        saved(SCENE, "WEBP", lossless=True, exif=exif(TURNED, (0x11A, 10, 1, b"\1\0\0\0"))),
        np.rot90(np.asarray(SCENE), -1),
    ),
    "TIFF, odd tags": (
        ".tif",
        tiff(
            GREY, {274: 6, 282: (2, b"abc\0"), 296: 3, 305: (2, b"\xff\0"), 34665: (LONG, [9**9])}
        ),
        np.rot90(RAMP, -1),
    ),
    # Formats within formats.
    "two pictures of a phone": (
        ".jpg",
        saved(SCENE, "MPO", save_all=True, append_images=[SCENE], quality=90),
        JPEG_PIXELS,
    ),
    "an animated PNG": (
        ".png",
        saved(RAMP, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 6))]),
        RAMP,
    ),
    "an animated WebP": (
        ".webp",
        saved(RAMP, "WEBP", save_all=True, append_images=[SCENE.resize((8, 6))], lossless=True),
        RAMP,
    ),
    "pages of a TIFF": (
        ".tif",
        saved(RAMP, "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 6))]),
        RAMP,
    ),
    "BigTIFF": (".tif", saved(RAMP, "TIFF", big_tiff=True, compression="tiff_lzw"), RAMP),
    "a fax": (
        ".tif",
        saved(
            Image.fromarray(GREY).point(lambda v: 255 * (v > 99), "1"), "TIFF", compression="group4"
        ),
        np.where(RAMP > 99, 255, 0).astype(np.uint8),
    ),
}

# name: suffix, content, what the reason says
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "12 bits in 16": (
        ".png",
        png(ramp(4095, ">u2").view(np.uint8), depth=16),
        "the lowest 12 alone",
    ),
    "10 bits in 16": (".png", png(ramp(1023, ">u2").view(np.uint8), depth=16), "lowest 12 alone"),
    "TIFF, 12 bits in 16 unsaid": (".tif", tiff(ramp(4095, "u2")), "lowest 12 alone"),
    "TIFF, 10 bits in 16 unsaid, white is zero": (
        ".tif",
        tiff(ramp(1023, "u2"), {262: 0}),
        "lowest 12 alone",
    ),
    "fractions without a range": (".tif", tiff(ramp(1, "f4")), "does not say their range"),
    "fractions to 65535": (".tif", tiff(ramp(65535, "f4")), "does not say their range"),
    "fractions with a range of nothing": (
        ".tif",
        tiff(ramp(1, "f4"), {341: (FLOAT, [0.0])}),
        "does not say their range",
    ),
    "pixels that are no numbers": (
        ".tif",
        tiff(np.full((6, 8), np.nan, "f4"), {341: (FLOAT, [1.0])}),
        "no numbers",
    ),
    "32 bits": (".tif", tiff(ramp(65535, "i4")), "does not say their range"),
    "32 bits without a sign": (".tif", tiff(ramp(65535, "u4")), "does not say their range"),
    "16 bits with a sign": (".tif", tiff(ramp(32767, "i2")), "does not say their range"),
    "8 bits with a sign": (".tif", tiff(ramp(127, "i1")), "signed numbers of 8 bits"),
    "a doubtful range": (".tif", tiff(ramp(1000, "u2"), {281: 1000}), "brightest pixel"),
    "colours of 12 bits in 16": (
        ".tif",
        tiff(rgb(ramp(4095, "u2")), {281: (SHORT, [4095] * 3)}),
        "says that it uses fewer",
    ),
    "4 bits in 8": (".tif", tiff(ramp(15, "u1"), {281: 15}), "says that it uses fewer"),
    "white or black is zero": (".tif", tiff(GREY, {262: None}), "whether 0 is black or white"),
    "a dark palette": (
        ".tif",
        tiff(GREY, {262: 3, 320: (SHORT, [*range(256)] * 3)}),
        "palette of 8 bits",
    ),
    "too few colours": (
        ".tif",
        tiff(RAMP, {262: 6, 530: (SHORT, [2, 2])}),
        "fewer pixels of colour",
    ),
    "a TIFF in a million strips": (
        ".tif",
        tiff(GREY, {273: (LONG, [8] * 100_000)}),
        "strips or tiles",
    ),
    "JPEG of 12 bits": (
        ".jpg",
        JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        "12-bit",
    ),
    "JPEG, cut off": (".jpg", JPEG[:-300], "truncated"),
    "JPEG without pixels": (".jpg", b"\xff\xd8\xff\xe0\0\2" + bytes(2_000_000), "without pixels"),
    "PNG of 30,000 x 30,000": (
        ".png",
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b""),
        "MB to decode",
    ),
    "WebP of 16,000 x 16,000": (
        ".webp",
        b"RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f"
        + struct.pack("<I", 15_999 | 15_999 << 14)
        + bytes(20),
        "MB to decode",
    ),
    "GIF of 60,000 x 60,000": (
        ".gif",
        b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + bytes(30),
        "MB to decode",
    ),
    "a strip": (".png", png(np.zeros((400_000, 1), np.uint8)), "too narrow a strip"),
    "nothing": (".jpg", b"", "not an image"),
    "a document": (".jpg", b"%PDF-1.7\n" + bytes(500), "not an image"),
}
