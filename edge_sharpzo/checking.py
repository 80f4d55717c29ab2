"""A look at a folder of labelled photos without tuning: which of them may hurt."""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.clip.model import Clip
from edge_sharpzo.events import Listener, Note, PhotosEncoded, PhotoSkipped
from edge_sharpzo.photos.copies import in_order, leave_out_copies
from edge_sharpzo.photos.features import look_at
from edge_sharpzo.photos.found import BACKGROUND, Found, find_photos
from edge_sharpzo.photos.left_out import LeftOutGroup, grouped
from edge_sharpzo.photos.near_duplicates import near_duplicates
from edge_sharpzo.pipeline.prepare import check_classes, check_left, open_model
from edge_sharpzo.runs.folder import RUNS
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.photo_check import NearDuplicates, PhotoCheck
from edge_sharpzo.system.machine import check_device


@dataclass(frozen=True)
class CheckedPhotos:
    """What was found in a folder of photos."""

    photos: int  # that were looked at, each picture once
    classes: int
    found: PhotoCheck
    left_out: list[LeftOutGroup]  # all files that were not looked at, by reason


def check_photos(options: TuneOptions, listen: Listener) -> CheckedPhotos:
    """Reads and encodes all photos of `options.data`, or takes their features from the cache.

    Every photo is judged by all others, whatever split it lies in. `listen` hears notes and
    progress.

    Raises UserError for whatever is wrong with photos, names or the model.
    """
    check_device()
    options = options.checked()
    clip = open_model(options, listen)
    found = find_photos(options.data, options.class_names, runs=[RUNS, options.data / RUNS])
    text = _text(clip, found, options.template)
    photos, seen, left_out, notes, _ = look_at(
        clip,
        found,
        lambda done, total: listen(PhotosEncoded(done, total)),
        lambda path, reason: listen(PhotoSkipped(path, reason)),
    )
    for note in notes:
        listen(Note(note, warning=True))
    usable, copies = leave_out_copies(photos, found.parts, seen.sketches, seen.readable)
    left_out = [*found.left_out, *left_out, *copies]
    check_left(found, usable, left_out)
    order = in_order(photos, found.parts, usable)
    groups = near_duplicates(seen.features, seen.sketches, order)
    of_classes = found.parts < BACKGROUND
    uses = np.where(of_classes, found.parts, -1)
    duplicates = NearDuplicates.among(photos, groups, uses, most=None)
    used = np.flatnonzero(usable & of_classes)
    return CheckedPhotos(
        photos=len(used),
        classes=len(found.folders),
        found=PhotoCheck.of(photos.at(used), seen.features[used], text, found.folders, duplicates),
        left_out=grouped(left_out),
    )


def _text(clip: Clip, found: Found, template: str) -> np.ndarray:
    """The template's text features [K, D] of all classes. Raises UserError."""
    rows = clip.prompts.as_written(found.names, template)
    clip.close_tokenizer()
    check_classes(found, rows)
    return clip.written_features(rows)
