"""The photos to measure a finished run with: of its classes, and of none of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_sharpzo.photos.background import background_in, called_as_classes, photos_of
from edge_sharpzo.photos.class_names import read_class_names
from edge_sharpzo.photos.found import (
    FOREIGN,
    NO_LABEL,
    TEST,
    Found,
    Photos,
    as_photos,
    because,
    labels_of_folders,
    leave_out_rest,
    photos_of_classes,
    splits_of,
)
from edge_sharpzo.photos.left_out import NO_CLASS
from edge_sharpzo.photos.scan import Scan, subfolders
from edge_sharpzo.system.errors import UserError


def find_labelled(
    root: Path, folders: list[str], names: list[str], mapping: Path | None = None
) -> Found:
    """All photos under `root/test/<class>`, or `root/<class>`, of a run's classes.

    `folders` and `names` are those of the run. `mapping` is a file of lines `folder = class` for
    folders that are called otherwise; a class is given by its folder or its name, and several
    folders may belong to one. A folder whose name differs from its class's in case, or in the form
    of its letters, is taken for it.

    Raises UserError if there are no photos.
    """
    scan = Scan()
    test = splits_of(root)["test"]
    base = test or root
    given = _mapped(base, folders, names, mapping) if mapping else {}
    labels, notes = labels_of_folders(base, folders, given)
    pairs = photos_of_classes(base, labels, scan, lambda folder: scan.leave_out(folder, NO_CLASS))
    foreign = [folder for folder in background_in([base]) if folder not in labels]
    strangers = [(path, NO_LABEL) for path in photos_of(foreign, scan)]
    leave_out_rest(root, base, [test] if test else [], scan)
    if not pairs:
        more = " ..." if len(folders) > 5 else ""
        raise UserError(
            f"{root} holds no photos of the run's classes ({', '.join(folders[:5])}{more})"
            f"{because(scan.left_out)}: give the folder that the class folders lie in, or say "
            "with `class_names` which folder is which class",
            field="data",
        )
    parts = np.repeat([TEST, FOREIGN], [len(pairs), len(strangers)])
    photos = as_photos(pairs + strangers)
    return Found(root, folders, names, photos, parts, scan.left_out, notes)


def find_foreign(folder: Path, classes: Sequence[str], beside: Found | None = None) -> Found:
    """All photos under `folder`, which are of none of the classes, behind those found `beside`.

    Folders that are called as one of the `classes` are told of.

    Raises UserError where there are none.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder: give `foreign` a folder with photos of none of the classes",
            field="foreign",
        )
    scan = Scan()
    photos = scan.photos_under(folder)
    if not photos:
        raise UserError(
            f"{folder} holds no photos{because(scan.left_out)}: give `foreign` a folder with "
            "photos of none of the classes",
            field="foreign",
        )
    notes = called_as_classes(folder, classes, "foreign")
    more, parts = as_photos([(path, NO_LABEL) for path in photos]), np.full(len(photos), FOREIGN)
    if beside is None:
        return Found(folder, [], [], more, parts, scan.left_out, notes)
    known = beside.photos
    both = Photos(known.paths + more.paths, np.concatenate([known.labels, more.labels]))
    return replace(
        beside,
        photos=both,
        parts=np.concatenate([beside.parts, parts]),
        left_out=beside.left_out + scan.left_out,
        notes=beside.notes + notes,
    )


def _mapped(base: Path, folders: list[str], names: list[str], mapping: Path) -> dict[str, int]:
    """The class of each folder that the file `mapping` names."""
    both = zip(folders, names, strict=True)
    label_of = {name: label for label, pair in enumerate(both) for name in pair}
    there = {folder.name for folder in subfolders(base)}
    known = {}
    for folder, name in read_class_names(mapping).items():
        if name not in label_of:
            raise UserError(
                f"{mapping} maps '{folder}' to '{name}', which is no class of the run: "
                f"it has {', '.join(folders[:8])}",
                field="class_names",
            )
        if folder not in there:
            raise UserError(
                f"{mapping} names '{folder}', and {base} has no such folder", field="class_names"
            )
        known[folder] = label_of[name]
    return known
