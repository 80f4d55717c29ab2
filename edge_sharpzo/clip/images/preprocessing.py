"""Prepares photos as open_clip does.

Shortest side resized with antialiased bicubic, centre crop; other models' cards ask for more forms.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .limits import MAX_BYTES, UnreadableImageError, picture_bytes

if TYPE_CHECKING:
    from edge_sharpzo.clip.card import ImageCard

ROOM = 32_000_000  # bytes that resizing may always take: all but strips need less


def preprocess(image: Image.Image, card: "ImageCard", most_bytes: int = MAX_BYTES) -> np.ndarray:
    """pixel values [3, H, W], float32, of an RGB image; equal to open_clip's inference transform.

    Raises UnreadableImageError for a strip so narrow that resizing its short side would take more
    than `most_bytes`.
    """
    height, width = card.size
    target = resized(image.size, card, most_bytes)
    image = image.resize(target, Image.Resampling[card.interpolation.upper()])
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


def resized(
    size: tuple[int, int], card: "ImageCard", most_bytes: int = MAX_BYTES
) -> tuple[int, int]:
    """Width and height of a photo of that `size` once it is resized, before it is cropped.

    Raises UnreadableImageError for a strip so narrow that resizing its short side would take more
    than `most_bytes`.
    """
    target = _fitted(size, card)
    resizing = picture_bytes((target[0], size[1])) + picture_bytes(target)
    if resizing > ROOM and resizing + picture_bytes(size) > most_bytes:
        raise UnreadableImageError(f"{size[0]} x {size[1]} pixels is too narrow a strip")
    return target


def _fitted(size: tuple[int, int], card: "ImageCard") -> tuple[int, int]:
    """Rounded as torchvision does (shortest side) and timm (longest side, or not square)."""
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
