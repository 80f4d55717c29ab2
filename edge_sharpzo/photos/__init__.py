"""Labelled photos on disk: finding and drawing them, copies among them, their features."""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.photos.draw import Draw, draw_shots
    from edge_sharpzo.photos.features import encode_photos
    from edge_sharpzo.photos.found import Found, Photos, find_photos
    from edge_sharpzo.photos.labelled import Split, Splits
    from edge_sharpzo.photos.to_measure import find_labelled

__all__ = [
    "Draw",
    "Found",
    "Photos",
    "Split",
    "Splits",
    "draw_shots",
    "encode_photos",
    "find_labelled",
    "find_photos",
]
__getattr__ = exports(
    __name__,
    {
        "Draw": "draw",
        "Found": "found",
        "Photos": "found",
        "Split": "labelled",
        "Splits": "labelled",
        "draw_shots": "draw",
        "encode_photos": "features",
        "find_labelled": "to_measure",
        "find_photos": "found",
    },
)
