"""A finished run measured on labelled photos, and on photos of none of its classes."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.photos.copies import leave_out_copies, shows_same
from edge_sharpzo.photos.draw import missing_note
from edge_sharpzo.photos.features import look_at
from edge_sharpzo.photos.found import FOREIGN, Found, Photos
from edge_sharpzo.photos.left_out import (
    NO_CLASS,
    TUNED_ON,
    UNREADABLE,
    LeftOut,
    LeftOutGroup,
    grouped,
    told,
)
from edge_sharpzo.photos.scan import split_folder
from edge_sharpzo.photos.to_measure import find_foreign, find_labelled
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import some
from edge_sharpzo.tuning.loss import share_right

CANNOT_REFUSE = (
    "this run cannot tell photos of none of its classes: it was tuned by an older version, or too "
    "few photos said where to draw the line. Tune again, with more photos"
)
Watch = tuple[Callable[[int, int], None], Callable[[Path, str], None]]


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on labelled photos, and what of photos of none of the classes is refused."""

    accuracy: float | None  # None where photos of none of the classes alone were given
    photos: int  # of the classes, that were counted
    tuned_on: int  # that were left out because the run was tuned on them
    skipped: int  # that could not be read
    by_class: dict[str, float]  # accuracy of each class that has photos
    # What the classes known by name alone have to do with it; None where there are none.
    without_photos: WithoutPhotos | None
    refused: float | None  # the share of these photos that is taken for none of the classes
    foreign: int  # photos of none of the classes, that were counted
    foreign_refused: float | None  # the share of them that is taken for none of the classes
    left_out: list[LeftOutGroup]  # all files that were not counted, by reason
    notes: list[str]  # what else to know of them


def labelled(
    prompt: TunedPrompt, data: Path | None, foreign: Path | None, class_names: Path | None
) -> Found:
    """The photos under `data` with their classes, and those under `foreign`, of none of them.

    Raises UserError where there are none.
    """
    if data is None and foreign is None:
        raise UserError(
            "give `data`, labelled photos, or `foreign`, photos of none of the classes", "data"
        )
    if data is None and prompt.known is None:
        raise UserError(CANNOT_REFUSE, field="foreign")
    if data is None and class_names is not None:
        raise UserError("`class_names` goes with `data`: leave it out", field="class_names")
    found = find_labelled(data, prompt.folders, prompt.names, class_names) if data else None
    if foreign:
        return find_foreign(foreign, prompt.folders, found)
    assert found
    return found


def measured(
    clip: Clip,
    prompt: TunedPrompt,
    folder: Path,
    found: Found,
    watch: Watch,
    asked: Collection[str],
) -> Evaluation:
    """What the run in `folder` makes of the photos that were `found`, less those tuned on.

    `watch` hears of photos done and their number, and of unreadable ones. `asked`: which of `data`
    and `foreign` were given.

    Raises UserError where no photo is left to count of what was asked for; background photos that
    lie beside the classes may all have been tuned on.
    """
    config = RunConfig.read(folder)
    less = partial(_same_file, config)
    photos, seen, left_out, notes, _ = look_at(clip, found, *watch, less)
    known = _same_file(config, photos)
    if not (known | seen.readable).any():
        raise UserError(f"no photo under {found.root} can be read", field="data")
    known |= shows_same(seen.sketches, config.sketches()).any(axis=1) & seen.readable
    left_out += [LeftOut(photos.paths[i], TUNED_ON) for i in np.flatnonzero(known)]
    fresh, copies = leave_out_copies(photos, found.parts, seen.sketches, seen.readable & ~known)
    is_foreign = found.parts == FOREIGN
    ours, strangers = fresh & ~is_foreign, fresh & is_foreign
    for given, of, left in (("data", ~is_foreign, ours), ("foreign", is_foreign, strangers)):
        if given in asked and of.any() and not left.any():
            raise _none_left(given, photos.among(of, left_out + copies))
    labels, scores = photos.labels[ours], prompt.logits(seen.features[ours])
    absent = [name for k, name in enumerate(prompt.folders) if k not in labels]
    right = scores.argmax(axis=1) == labels

    def refused(which: np.ndarray) -> float | None:
        if prompt.known is None or not which.any():
            return None
        return float((prompt.known.score(seen.features[which]) < 0).mean())

    return Evaluation(
        accuracy=share_right(scores, labels),
        photos=len(labels),
        tuned_on=int(known.sum()),
        skipped=sum(file.reason == UNREADABLE for file in left_out),
        by_class={
            name: float(right[labels == i].mean())
            for i, name in enumerate(prompt.folders)
            if (labels == i).any()
        },
        without_photos=WithoutPhotos.measured(prompt.without_photos, scores, labels),
        refused=refused(ours),
        foreign=int(strangers.sum()),
        foreign_refused=refused(strangers),
        left_out=grouped([*found.left_out, *left_out, *copies]),
        notes=notes
        + _strangers(found)
        + (missing_note("photos", absent, len(prompt.folders)) if len(labels) else [])
        + ([CANNOT_REFUSE] if prompt.known is None else []),
    )


def _none_left(given: str, left_out: Iterable[LeftOut]) -> UserError:
    why = told(grouped(left_out))
    text = f"no photo of `{given}` is left to count ({why}): give `{given}` other photos"
    return UserError(text, field=given)


def _same_file(config: RunConfig, photos: Photos) -> np.ndarray:
    """Which photos [N], bool, are files that the run was tuned on: by content, not by place."""
    digests = config.learnt_from()
    paths = set() if digests else set(config.tuned_on)  # version 0.1.0 kept no digests
    return np.array(
        [
            file.digest.hex() in digests or (file.digest and str(file.path.resolve()) in paths)
            for file in photos.files
        ],
        bool,
    )


def _strangers(found: Found) -> list[str]:
    """Which folders are no class of the run, and what to do about them."""
    files = [file.path for file in found.left_out if file.reason == NO_CLASS]
    if not files:
        return []
    base = split_folder(found.root, "test") or found.root
    named = some([f"'{each}'" for each in sorted({f.relative_to(base).parts[0] for f in files})])
    return [
        f"no class of the run: {named}. Name such classes in `also`, or say with `class_names` "
        "which class a folder is, or give it to `foreign` if it is none"
    ]
