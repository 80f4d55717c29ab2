"""Looks for photos that hurt: those of a run, or all that lie in a folder."""

import numpy as np

from edge_sharpzo.photos.labelled import joined
from edge_sharpzo.pipeline.prepare import Prepared
from edge_sharpzo.runs.photo_check import PhotoCheck


def checked_run(prepared: Prepared, as_written: np.ndarray) -> PhotoCheck:
    """Of the photos that a run is tuned on; `as_written` are the template's features [K + M, D]."""
    found, splits = prepared.task.found, prepared.splits
    return PhotoCheck.of(
        prepared.tuned_on,
        joined(splits.train, splits.val).features,
        as_written[: found.learnt],
        found.folders,
        prepared.near_duplicates,
    )
