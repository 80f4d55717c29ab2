"""The model file: what it says of itself, its tokenizer, its image tower and its text tower."""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from edge_sharpzo.clip.encoders import ENCODERS, TextEncoder
    from edge_sharpzo.clip.image_tower import ImageTower
    from edge_sharpzo.clip.text_tower import TextTower

__all__ = ["ENCODERS", "ClipOnnx", "ImageTower", "TextEncoder", "TextTower"]
__getattr__ = exports(
    __name__,
    {
        "ENCODERS": "encoders",
        "ClipOnnx": "clip_file",
        "ImageTower": "image_tower",
        "TextEncoder": "encoders",
        "TextTower": "text_tower",
    },
)
