"""What lies in a folder of photos and is not used, and why: nothing is left out without a word."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_sharpzo.system.text import shown

# Reasons, as they follow a number of files.
UNREADABLE = "that cannot be read"
COPIES = "that are copies of others"
RESAVED = "that are re-saved copies of others"
NEARLY_SAME = "that are nearly the same as others"
TWO_CLASSES = "that lie in two classes"
OF_CLASSES = "of none of the classes that are copies of class photos"
TUNED_ON = "that the run was tuned on"
TOO_DEEP = "in folders that are too deep"
OUTSIDE = "outside the class folders"
NO_CLASS = "of folders that are no class of the run"
HIDDEN = "that are hidden or the system's"
SET_ASIDE = "that were set aside"
_OF_ONE = {
    UNREADABLE: "cannot be read",
    COPIES: "a copy of another",
    RESAVED: "a re-saved copy of another",
    NEARLY_SAME: "nearly the same as another",
    TWO_CLASSES: "lies in two classes",
    OF_CLASSES: "of none of the classes, and a copy of a class photo",
    TOO_DEEP: "in a folder that is too deep",
    HIDDEN: "hidden, or the system's",
}
EXAMPLES = 5  # of each reason, that are named


class LeftOut(NamedTuple):
    """A file that is not used."""

    path: Path
    reason: str  # one of the above, or `of_kind`
    detail: str = ""  # what more there is to say of this one


@dataclass(frozen=True)
class LeftOutGroup:
    """The files that are left out for one reason."""

    reason: str
    files: int
    examples: list[str]


def of_kind(path: Path) -> str:
    """The reason to leave out a file whose suffix is no photo's."""
    return f"of the kind {path.suffix.lower()}" if path.suffix else "without a suffix"


def of_one(reason: str) -> str:
    """The reason as it is said of one file."""
    return _OF_ONE.get(reason, reason)


def grouped(files: Iterable[LeftOut]) -> list[LeftOutGroup]:
    """By reason, in the order of their first appearance."""
    groups: dict[str, list[LeftOut]] = {}
    for file in files:
        groups.setdefault(file.reason, []).append(file)
    return [
        LeftOutGroup(reason, len(found), [_named(file) for file in found[:EXAMPLES]])
        for reason, found in groups.items()
    ]


def _named(file: LeftOut) -> str:
    """As one line of text, which a file's name need not be."""
    return shown(f"{file.path}: {file.detail}" if file.detail else str(file.path))


def told(groups: Iterable[LeftOutGroup]) -> str:
    """One line for a person; empty where nothing is left out."""
    parts = [f"{group.files:,} {group.reason}" for group in groups]
    return f"files left out: {', '.join(parts)}" if parts else ""
