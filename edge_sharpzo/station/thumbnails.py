"""Small pictures of photos, made once and kept in the cache folder."""

import hashlib
from pathlib import Path

from PIL import Image

from edge_sharpzo.clip.images import MAX_BYTES, UnreadableImageError, load_image
from edge_sharpzo.system.storage import cache_folder, write_atomic

SIDE = 256  # pixels, the longer one
QUALITY = 80
SMALL_BYTES = 16_000_000  # a JPEG is decoded to a part of its size, which is enough
FOLDER = "thumbnails"


def tag(path: Path) -> str:
    """What names a photo's contents: another as soon as the file is. Raises OSError."""
    stat = path.stat()
    facts = f"{stat.st_dev} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {SIDE}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def thumbnail(path: Path) -> bytes:
    """A photo as a WebP of at most `SIDE` pixels.

    Raises UnreadableImageError, and OSError where it is gone.
    """
    file = cache_folder() / FOLDER / f"{tag(path)}.webp"
    try:
        return file.read_bytes()
    except OSError:
        pass
    picture = small(path)
    picture.thumbnail((SIDE, SIDE))
    try:
        write_atomic(file, lambda part: picture.save(part, "WEBP", quality=QUALITY))
        return file.read_bytes()
    except OSError:  # no room in the cache: it is made again the next time
        import io

        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=QUALITY)
        return stream.getvalue()


def small(path: Path) -> Image.Image:
    """The photo, no larger than need be for little memory. Raises UnreadableImageError."""
    try:
        return load_image(path, SMALL_BYTES)
    except UnreadableImageError:  # what is no JPEG is decoded whole
        return load_image(path, MAX_BYTES)
