"""Decodes photos and prepares them as open_clip does: shortest side resized, antialiased bicubic, centre crop."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from edge_sharpzo.card import ImageCard

MAX_PIXELS = 100_000_000  # of one photo; beyond it a small device would run out of memory
_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}


class UnreadableImageError(Exception):
    """Why one photo cannot be used."""


def load_image(path: Path, most_pixels: int = MAX_PIXELS) -> Image.Image:
    """The photo upright (EXIF), in RGB, first frame only; transparency on white, 16 bits scaled to 8.

    One of more than `most_pixels` is refused before it is decoded.

    Raises UnreadableImageError with a short reason.
    """
    try:
        with warnings.catch_warnings():
            # The size is checked below; warnings of pillow's own about odd metadata help nobody here.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > most_pixels:
                    raise UnreadableImageError(f"{image.width} x {image.height} pixels is more than {most_pixels // 1_000_000} million")
                image.seek(0)
                upright = ImageOps.exif_transpose(image)
                return _to_rgb(upright)
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("too many pixels") from error
    except FileNotFoundError as error:
        raise UnreadableImageError("no such file") from error
    except Exception as error:  # pillow's decoders raise almost anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(reason.replace(str(path), "the file")[:120]) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64)
        image = Image.fromarray((levels / (257 if levels.max() > 255 else 1)).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def preprocess(image: Image.Image, card: ImageCard) -> np.ndarray:
    """pixel values [3, H, W], float32, of an RGB image; equal to open_clip's inference transform.

    Raises UnreadableImageError for a strip so narrow that resizing its short side would exhaust memory.
    """
    height, width = card.size
    target = _resized(image.size, card)
    if target[0] * target[1] > MAX_PIXELS:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels is too narrow a strip")
    image = image.resize(target, _RESAMPLING[card.interpolation])
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    if image.size != (width, height):
        if image.width < width or image.height < height:  # resize mode `longest` pads
            canvas = Image.new("RGB", (max(width, image.width), max(height, image.height)), (card.fill,) * 3)
            canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
            image, left, top = canvas, round((canvas.width - width) / 2), round((canvas.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    levels = np.asarray(image, np.float32) / np.float32(255)
    values = (levels - np.array(card.mean, np.float32)) / np.array(card.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _resized(size: tuple[int, int], card: ImageCard) -> tuple[int, int]:
    """Width and height after resizing; rounding as torchvision's (shortest) and timm's (longest, not square)."""
    (width, height), (target_height, target_width) = size, card.size
    if card.resize_mode == "squash":
        return target_width, target_height
    if card.resize_mode == "shortest" and target_height == target_width:
        short, long = min(size), max(size)
        longer = int(target_width * long / short)
        return (target_width, longer) if width <= height else (longer, target_width)
    pick = max if card.resize_mode == "longest" else min
    ratio = pick(height / target_height, width / target_width)
    return max(1, round(width / ratio)), max(1, round(height / ratio))
