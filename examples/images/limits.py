"""What a photo takes in memory while it is decoded, and the most that it may take."""

from PIL import Image

# Of a file, and of a photo while it is decoded: room beside a model on a device with 1 to 2 GB.
MAX_BYTES = 500_000_000
MB = 1_000_000
# How many bytes pillow holds for a pixel; 4 in all other modes, RGB too.
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_ROW_BYTES = 8  # a pointer to each row


class UnreadableImageError(Exception):
    """Why one photo cannot be used."""


def picture_bytes(size: tuple[int, int], mode: str = "RGB") -> int:
    """Bytes of memory of a picture of this size (width, height)."""
    width, height = size
    return height * (width * _PIXEL_BYTES.get(mode, 4) + _ROW_BYTES)


def decoding_bytes(image: Image.Image, decoder_bytes: int, turned: bool, scale: int = 1) -> int:
    """The most bytes held at a time until `image` is an upright RGB picture.

    `decoder_bytes` are what its decoder holds beside the picture. A picture in RGB is not copied;
    all others are, and one that has to be turned. `scale` 2 is half the width and height.
    """
    size = (-(-image.width // scale), -(-image.height // scale))
    stored, rgb = picture_bytes(size, image.mode), picture_bytes(size)
    converted = 0 if image.mode == "RGB" and not image.has_transparency_data else rgb
    return max(stored + max(decoder_bytes, converted), 2 * rgb if turned else 0)


def require(needed: int, most: int, size: tuple[int, int]) -> None:
    """Raises UnreadableImageError where a photo of this size needs more than `most` bytes."""
    if needed > most:
        raise UnreadableImageError(
            f"{size[0]} x {size[1]} pixels take {-(-needed // MB)} MB to decode, "
            f"more than the {most // MB} MB there are for a photo"
        )
