"""Photos as the image tower sees them: decoded, turned upright, in RGB, resized and cropped.

This folder needs NumPy and pillow alone and imports nothing of the package around it:
`examples/images` is a copy, so that a classifier without edge-sharpzo decodes by the same rule.
"""

from .limits import MAX_BYTES, UnreadableImageError
from .loading import Photo, load_image, why_no_file
from .opening import FORMATS, kind_of
from .preprocessing import preprocess, resized

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "Photo",
    "UnreadableImageError",
    "kind_of",
    "load_image",
    "preprocess",
    "resized",
    "why_no_file",
]
