"""Labelled photos on disk: finding and splitting them, their features and the cache of these."""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.photos.dataset import Dataset, Photos, load_dataset
    from edge_sharpzo.photos.features import encode_photos, encode_splits
    from edge_sharpzo.photos.labelled import Split, Splits

__all__ = [
    "Dataset",
    "Photos",
    "Split",
    "Splits",
    "encode_photos",
    "encode_splits",
    "load_dataset",
]
__getattr__ = exports(
    __name__,
    {
        "Dataset": "dataset",
        "Photos": "dataset",
        "Split": "labelled",
        "Splits": "labelled",
        "encode_photos": "features",
        "encode_splits": "features",
        "load_dataset": "dataset",
    },
)
