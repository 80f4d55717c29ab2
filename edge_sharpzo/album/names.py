"""Names of classes, checked before they become folders, and names of files that take no other's."""

import os
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import PurePosixPath

from edge_sharpzo.album.errors import NameTakenError
from edge_sharpzo.photos.background import FOLDER, NONE_OF_THESE, is_background
from edge_sharpzo.photos.class_names import spelt_again
from edge_sharpzo.photos.scan import SPLITS, UNSURE_FOLDER, is_clutter
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import folded, is_line, shown

MOST_CHARACTERS, MOST_BYTES = 80, 200
LONGEST_FILE = 255  # bytes, what file systems take
FORBIDDEN = '/\\:*?"<>|'  # on one file system or another, as on a card for cameras
DEVICES = {
    *("CON", "PRN", "AUX", "NUL"),
    *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789\u00b9\u00b2\u00b3"),
}
SUFFIX = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
}


def class_folder(name: str, taken: Iterable[str]) -> str:
    """The folder's name of a class that is to be called `name`, in Unicode's composed form.

    `taken` are names that the other classes go by. Raises UserError, NameTakenError.
    """
    name = _checked(name)
    if bad := next((c for c in name if c in FORBIDDEN), None):
        raise _refused(name, f"'{bad}' cannot be in a folder's name")
    if name.startswith(".") or name.endswith("."):
        raise _refused(name, "it must not begin or end with a dot")
    if len(name.encode()) > MOST_BYTES:
        raise _refused(name, f"it takes more than {MOST_BYTES} bytes")
    if any(name.casefold() in known for known in SPLITS.values()):
        raise _refused(name, "a folder of that name is a part of the photos, not a class")
    if is_background(name) or folded(name) == folded(FOLDER):
        raise _refused(name, "that is the folder of photos of none of the classes")
    if folded(name) == folded(UNSURE_FOLDER):
        raise _refused(name, "that is the folder in which `watch` saves photos to be labelled")
    if name.split(".")[0].strip().upper() in DEVICES:
        raise _refused(name, "a card's file system cannot hold it on Windows")
    if is_clutter(name):
        raise _refused(name, "systems leave folders of that name")
    check_free(name, taken)
    return name


def display_name(name: str, taken: Iterable[str]) -> str:
    """How prompts are to call a class. Raises UserError, NameTakenError."""
    name = _checked(name)
    check_free(name, taken)
    return name


def check_free(name: str, taken: Iterable[str]) -> None:
    """Raises NameTakenError where a class goes by `name`, or by another spelling of it."""
    if again := spelt_again(taken, [name]):
        other = again[1]
        same = "" if other == name else f", which '{name}' is another spelling of"
        raise NameTakenError(
            f"there is a class '{other}' already{same}: choose another name, or merge the two",
            field="name",
        )


def _checked(name: str) -> str:
    # First of all, for what is no text cannot be shown.
    if not is_line(name) or shown(name) != name:
        raise _refused(shown(name)[:MOST_CHARACTERS], "it holds marks that cannot be seen")
    name = unicodedata.normalize("NFC", name).strip()
    if folded(name) == NONE_OF_THESE:
        raise _refused(name, "that is the answer for photos like none of the classes'")
    if not any(unicodedata.category(c)[0] in "LNS" for c in name):
        raise _refused(name[:MOST_CHARACTERS], "it says nothing")
    if len(name) > MOST_CHARACTERS:
        raise _refused(name[:20] + " ...", f"it has more than {MOST_CHARACTERS} characters")
    return name


def _refused(name: str, why: str) -> UserError:
    return UserError(f"no class can be called '{name}': {why}. Choose another name", field="name")


def photo_name(digest: bytes, kind: str, now: datetime) -> str:
    """What a photo that is added is called: when it came, and its content's first digits.

    `digest` is its SHA-256, `kind` one of FORMATS of `clip/images`.
    """
    return f"{now:%Y%m%d-%H%M%S}-{digest.hex()[:6]}{SUFFIX[kind]}"


def numbered(name: str, taken: Collection[str]) -> str:
    """`name`, or with a number what is not in `taken`; those and the answer go by `as_entry`."""
    path, number, answer = PurePosixPath(name), 1, name
    while as_entry(answer) in taken:
        number += 1
        stem, rest = path.stem, f"-{number}{path.suffix}"
        while stem and len(os.fsencode(stem + rest)) > LONGEST_FILE:
            stem = stem[:-1]
        answer = stem + rest
    return answer


def as_entry(name: str) -> str:
    """What all names share that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()
