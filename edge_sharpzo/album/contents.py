"""What lies in a data folder now: its classes, background, and photos that were set aside."""

from dataclasses import dataclass
from pathlib import Path

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True)
class AlbumPhoto:
    """A photo's file, as it was when it was listed."""

    id: str  # 16 hex digits, of its path in the folder: another once it is moved
    path: Path
    class_name: str | None  # None: background. Of one set aside: the class that it came from
    part: str  # TRAIN, VAL or TEST; TRAIN where the folder is not split
    size: int  # bytes
    modified: int  # ns


@dataclass(frozen=True)
class ClassFolder:
    """A class, maybe without photos."""

    name: str  # of its folder; by which it is addressed
    display: str  # how prompts call it
    photos: list[AlbumPhoto]  # sorted by path, those of TRAIN first


@dataclass(frozen=True)
class Contents:
    """All of it, from one walk."""

    classes: list[ClassFolder]  # sorted by name
    background: list[AlbumPhoto]
    set_aside: list[AlbumPhoto]
    notes: list[str]  # what cannot be shown, and why
    version: str  # another as soon as a file, a name or the template changed, by hand too
