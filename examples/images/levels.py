"""Pixels of any kind in 8-bit RGB, by what the file says of its numbers, never by their values."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from .limits import UnreadableImageError

_BAND = 1 << 16  # pixels converted at a time, so that copies stay small
_BITS, _COMPRESSION, _PHOTOMETRIC, _COLOURS, _FORMAT = 258, 259, 262, 320, 339  # tags of a TIFF
_MAX, _SIGNED_MIN, _SIGNED_MAX, _SUBSAMPLING = 281, 340, 341, 530
_FEWER_BITS = 4095
_WHITE_IS_ZERO, _YCBCR, _UNCOMPRESSED, _OLD_JPEG, _SIGNED, _FLOAT = 0, 6, 1, 6, 2, 3


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in RGB, 8 bits, on white where it is transparent; `image` itself if it is so already.

    Raises UnreadableImageError where nothing says which number is black and which is white.
    """
    _check_tiff(image)
    scale = _scale(image)
    _check_bits(image, scale)
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    canvas = Image.new("RGB", image.size)
    for top, band in _bands(image):
        canvas.paste(_band(band, scale), (0, top))
    return canvas


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in strips of full width, each with the row that it begins at."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _band(band: Image.Image, scale: tuple[float, float] | None) -> Image.Image:
    if scale is not None:
        return _levels(band, *scale)
    if band.mode == "La":  # pillow takes it no further than this
        band = band.convert("LA")
    if band.has_transparency_data:
        band = band.convert("RGBA")
        white = Image.new("RGBA", band.size, "white")
        band = Image.alpha_composite(white, band)
    return band.convert("RGB")


def _levels(band: Image.Image, black: float, white: float) -> Image.Image:
    """Grey numbers of more than 8 bits, to the nearest of 256 levels."""
    numbers = np.asarray(band)
    values = (numbers.astype(np.float64) - black) * (255 / (white - black))
    if not np.isfinite(values).all():
        raise UnreadableImageError("some of its pixels are no numbers")
    if "transparency" in band.info:  # one grey is transparent
        values[numbers == band.info["transparency"]] = 255
    return Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8)).convert("RGB")


def _scale(image: Image.Image) -> tuple[float, float] | None:
    """The numbers that are black and white; None for pictures of 8 bits, which pillow knows."""
    tags = getattr(image, "tag_v2", None)
    if image.mode[0] not in "IF":
        return None
    if tags is None:
        if image.mode.startswith("I;16") or image.format == "PNG":
            return 0, 65535
        raise UnreadableImageError(
            f"pixels of mode {image.mode}, whose range nothing tells: convert it to 8 or 16 bits"
        )
    black, white = _declared_range(tags)
    return (white, black) if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else (black, white)


def _check_bits(image: Image.Image, scale: tuple[float, float] | None) -> None:
    """Raises UnreadableImageError for a file of 16 bits that look like those of a camera of fewer.

    They would be nearly black. The file says that they are 16, the numbers say that they are not.
    """
    if image.format is None or scale not in ((0, 65535), (65535, 0)):
        return
    if 0 < max(int(np.asarray(band).max()) for _, band in _bands(image)) <= _FEWER_BITS:
        raise UnreadableImageError(
            "16 bits of which the lowest 12 alone are used, which it does not say: "
            "convert it to 8 bits"
        )


def _declared_range(tags: Any) -> tuple[float, float]:
    """The least and the greatest number that a TIFF says there can be."""
    bits, form = _first(tags, _BITS, 1), _first(tags, _FORMAT, 1)
    least, most = _first(tags, _SIGNED_MIN, 0), _declared_most(tags)
    if most is None and form not in (_SIGNED, _FLOAT) and bits <= 16:
        most = 2**bits - 1
    if most is None or not np.isfinite([least, most]).all() or most <= least:
        what = {_FLOAT: "fractions", _SIGNED: "signed numbers"}.get(form, "whole numbers")
        raise UnreadableImageError(
            f"a TIFF of {what} of {bits} bits that does not say their range: "
            "convert it to 8 or 16 bits"
        )
    return least, most


def _declared_most(tags: Any) -> float | None:
    """The greatest number that there can be, where a tag says so.

    The standard keeps MaxSampleValue for statistics; cameras of 10 or 12 bits write their range
    into it. So it counts where it is a whole number of bits. Another one is a statistic; it is
    doubtful, and refused, where there are more than 8 bits.
    """
    if (most := _first(tags, _SIGNED_MAX, None)) is not None:
        return float(most)
    given = tags.get(_MAX)
    values = {int(v) for v in (given if isinstance(given, tuple) else (given,)) if v is not None}
    bits = {value for value in values if value > 0 and not value & (value + 1)}
    if values != bits or len(values) > 1:
        if _first(tags, _BITS, 1) <= 8:
            return None
        raise UnreadableImageError(
            f"a TIFF whose MaxSampleValue, {max(values)}, may be its range or its brightest "
            "pixel: convert it to 8 bits"
        )
    return max(values, default=None)


def _first(tags: Any, tag: int, otherwise: Any) -> Any:
    """A tag's value; that of the first sample where there are several."""
    value = tags.get(tag, otherwise)
    return value[0] if isinstance(value, tuple) else value


def _check_tiff(image: Image.Image) -> None:
    """Raises UnreadableImageError for TIFFs that pillow opens and takes for something else."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    bits, raw = _first(tags, _BITS, 1), _first(tags, _COMPRESSION, 1) == _UNCOMPRESSED
    colours, photometric = tags.get(_COLOURS, ()), tags.get(_PHOTOMETRIC)
    reason = None
    if photometric is None and tags.get(_COMPRESSION) != _OLD_JPEG:
        reason = "does not say whether 0 is black or white"
    elif bits <= 8 and _first(tags, _FORMAT, 1) == _SIGNED:
        reason = "has signed numbers of 8 bits"
    elif image.mode[0] not in "1PIF" and (_declared_most(tags) or 2**bits) < 2**bits - 1:
        reason = f"has {bits} bits and says that it uses fewer"
    elif image.mode in ("P", "PA") and 0 < max(colours, default=0) < 256:
        reason = "has a palette of 8 bits where 16 are due"
    elif photometric == _YCBCR and raw and tags.get(_SUBSAMPLING, (2, 2)) != (1, 1):
        reason = "has fewer pixels of colour than of brightness, uncompressed"
    if reason:
        raise UnreadableImageError(f"a TIFF that {reason}: convert it to PNG")
