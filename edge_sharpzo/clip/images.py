"""Decodes photos and prepares them as open_clip does.

Shortest side resized with antialiased bicubic, centre crop; other models' cards ask for more forms.
"""

from contextlib import nullcontext
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edge_sharpzo.clip.card import ImageCard, Interpolation, ResizeMode

Photo = str | Path | Image.Image | np.ndarray  # a file, a picture, or uint8 [H, W, 3]
# pillow goes by content, whatever a file is called; others start converters or are hardly tested.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 100_000_000  # of one photo; beyond it a small device would run out of memory
SKETCH_SIDE = 8
SKETCH = 3 * SKETCH_SIDE**2  # numbers of a sketch
_RESAMPLING = {
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.NEAREST: Image.Resampling.NEAREST,
}


class UnreadableImageError(Exception):
    """Why one photo cannot be used."""


def load_image(photo: Photo, most_pixels: int = MAX_PIXELS) -> Image.Image:
    """The photo upright (EXIF), in RGB, first frame only; transparency on white, 16 bits to 8.

    One of more than `most_pixels` is refused before it is decoded.

    Raises UnreadableImageError with a short reason.
    """
    photo = _file_or_image(photo)
    try:
        with (
            nullcontext(photo)
            if isinstance(photo, Image.Image)
            else Image.open(photo, formats=FORMATS) as image
        ):
            if image.width * image.height > most_pixels:
                raise UnreadableImageError(
                    f"{image.width} x {image.height} pixels is more than "
                    f"{most_pixels // 1_000_000} million"
                )
            if not isinstance(photo, Image.Image):
                image.seek(0)
            return _to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("too many pixels") from error
    except Exception as error:  # pillow's decoders raise almost anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(reason.replace(str(photo), "the file")[:120]) from error


def _file_or_image(photo: Photo) -> Path | Image.Image:
    if isinstance(photo, Image.Image):
        return photo
    if isinstance(photo, np.ndarray):
        return _from_array(photo)
    if not isinstance(photo, str | PathLike):
        raise UnreadableImageError(
            f"a {type(photo).__name__}: expected a path, a pillow image or a uint8 array"
        )
    if missing := why_no_file(Path(photo)):
        raise UnreadableImageError(missing)
    return Path(photo)


def why_no_file(path: Path) -> str | None:
    """Why there is nothing to read at `path`; reading a pipe or a device would wait for ever."""
    try:
        if path.is_file():
            return None
        return "a directory" if path.is_dir() else "not a file" if path.exists() else "no such file"
    except OSError as error:
        return error.strerror or "cannot be read"


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        shape = " x ".join(str(size) for size in pixels.shape)
        raise UnreadableImageError(
            f"an array of {pixels.dtype} [{shape}]: expected uint8 RGB [height, width, 3]"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64)
        image = Image.fromarray(
            (levels / (257 if levels.max() > 255 else 1)).clip(0, 255).astype(np.uint8)
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def preprocess(image: Image.Image, card: ImageCard) -> np.ndarray:
    """pixel values [3, H, W], float32, of an RGB image; equal to open_clip's inference transform.

    Raises UnreadableImageError for a strip so narrow that resizing its short side would exhaust
    memory.
    """
    height, width = card.size
    target = _resized(image.size, card)
    if target[0] * target[1] > MAX_PIXELS:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels is too narrow a strip")
    image = image.resize(target, _RESAMPLING[card.interpolation])
    if image.width < width or image.height < height:  # resize mode `longest` pads
        size = (max(width, image.width), max(height, image.height))
        canvas = Image.new("RGB", size, (card.fill,) * 3)
        place = ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2)
        canvas.paste(image, place)
        image = canvas
    if image.size != (width, height):
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    levels = np.asarray(image, np.float32) / np.float32(255)
    values = (levels - np.array(card.mean, np.float32)) / np.array(card.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _resized(size: tuple[int, int], card: ImageCard) -> tuple[int, int]:
    """Width and height after resizing.

    Rounded as torchvision does (shortest side) and timm (longest side, or not square).
    """
    (width, height), (target_height, target_width) = size, card.size
    if card.resize_mode == ResizeMode.SQUASH:
        return target_width, target_height
    if card.resize_mode == ResizeMode.SHORTEST and target_height == target_width:
        short, long = min(size), max(size)
        longer = int(target_width * long / short)
        return (target_width, longer) if width <= height else (longer, target_width)
    pick = max if card.resize_mode == ResizeMode.LONGEST else min
    ratio = pick(height / target_height, width / target_width)
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def sketch(pixels: np.ndarray, card: ImageCard) -> np.ndarray:
    """Mean levels, 0 to 255, of 8 x 8 fields of pixel values [3, H, W]: [SKETCH], uint8.

    By it the same picture is known again, however it was saved.
    """
    mean, std = (np.array(part, np.float32)[:, None, None] for part in (card.mean, card.std))
    fields = 255 * (pixels * std + mean)
    for axis in (1, 2):
        size = fields.shape[axis]
        starts = np.arange(SKETCH_SIDE) * size // SKETCH_SIDE
        counts = np.maximum(np.diff([*starts, size]), 1).astype(np.float32)
        sums = np.add.reduceat(fields, starts, axis=axis)
        fields = sums / counts.reshape((-1, 1) if axis == 1 else (-1,))
    return fields.round().clip(0, 255).astype(np.uint8).ravel()
