"""Loads a photo, whatever it is given as."""

from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from .levels import to_rgb
from .limits import MAX_BYTES, MB, UnreadableImageError, decoding_bytes, require
from .opening import open_photo
from .orientation import ORIENTATION, exif_orientation, upright

Photo = str | Path | Image.Image | np.ndarray  # a file, a picture, or uint8 [H, W, 3]


def load_image(photo: Photo, most_bytes: int = MAX_BYTES) -> Image.Image:
    """The photo upright (EXIF), in RGB, first frame only; transparency on white, 16 bits to 8.

    A JPEG that takes more than `most_bytes` of memory is decoded to a part of its size, any other
    photo is refused before it is decoded. A pillow image that is so already is returned itself.

    Raises UnreadableImageError with a short reason.
    """
    try:
        if isinstance(photo, np.ndarray):
            return _from_array(photo)
        if isinstance(photo, Image.Image):
            return _from_image(photo, most_bytes)
        if not isinstance(photo, str | PathLike):
            raise UnreadableImageError(
                f"a {type(photo).__name__}: expected a path, a pillow image or a uint8 array"
            )
        return _from_file(Path(photo), most_bytes)
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise UnreadableImageError("no memory left to decode it") from error
    except Exception as error:  # pillow's decoders raise almost anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(reason.replace(str(photo), "the file")[:120]) from error


def why_no_file(path: Path) -> str | None:
    """Why there is no photo to read at `path`, before its file is opened; None where there may be.

    Reading a pipe or a device would wait for ever, and a file of many GB nearly so.
    """
    try:
        if path.is_file():
            if (size := path.stat().st_size) > MAX_BYTES:
                return f"a file of {size // MB:,} MB, more than the {MAX_BYTES // MB} MB of a photo"
            return None
        return "a directory" if path.is_dir() else "not a file" if path.exists() else "no such file"
    except OSError as error:
        return error.strerror or "cannot be read"


def _from_file(path: Path, most_bytes: int) -> Image.Image:
    if missing := why_no_file(path):
        raise UnreadableImageError(missing)
    with path.open("rb") as file:
        image, orientation = open_photo(file, most_bytes)
        image.load()
    # What decoded it goes before the copies come; `to_rgb` may return the picture itself.
    rgb = to_rgb(image)
    del image
    return upright(rgb, orientation)


def _from_image(image: Image.Image, most_bytes: int) -> Image.Image:
    require(decoding_bytes(image, 0, True), most_bytes, image.size)
    image.load()
    try:
        orientation = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of one odd tag; see `orientation`
        orientation = exif_orientation(image.info.get("exif", b""))
    return upright(to_rgb(image), orientation)


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        shape = " x ".join(str(size) for size in pixels.shape)
        raise UnreadableImageError(
            f"an array of {pixels.dtype} [{shape}]: expected uint8 RGB [height, width, 3]"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))
