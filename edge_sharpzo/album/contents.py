"""What lies in a data folder now: its classes, background, and photos that were set aside."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_sharpzo.photos.background import is_background
from edge_sharpzo.photos.scan import (
    ASIDE_FOLDER,
    SPLITS,
    UNSURE_FOLDER,
    Scan,
    is_empty,
    photos_aside,
    split_folder,
    subfolders,
)
from edge_sharpzo.system.text import as_spoken, counted, folded, is_line, shown

TRAIN, VAL, TEST = "train", "val", "test"
NAME_OF_SAVED = (
    "is called as the folder in which `watch` saves photos to be labelled, so that none of its "
    "photos can be set aside: rename it"
)


@dataclass(frozen=True, slots=True)
class AlbumPhoto:
    """A photo's file, as it was when it was listed."""

    id: str  # 16 hex digits, of the path in the folder, size and time: of one photo in one place
    path: Path
    class_name: str | None  # None: background. Of one set aside: the class that it came from
    part: str  # TRAIN, VAL or TEST; TRAIN where the folder is not split
    size: int  # bytes
    modified: int  # ns
    aside: bool = False  # whether it was set aside

    def is_there(self) -> bool:
        """Whether what lies there still is what was listed."""
        try:
            stat = self.path.stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified)


@dataclass(frozen=True)
class ClassFolder:
    """A class, maybe without photos."""

    name: str  # of its folder; by which it is addressed
    display: str  # how prompts call it
    photos: list[AlbumPhoto]  # by part, TRAIN first; sorted by path
    folders: dict[str, Path] = field(default_factory=dict)  # by part, those that are there


@dataclass(frozen=True)
class Contents:
    """All of it, from one walk."""

    classes: list[ClassFolder]  # sorted by name
    background: list[AlbumPhoto]
    set_aside: list[AlbumPhoto]
    notes: list[str]  # what cannot be shown, and why
    version: str  # another as soon as a file, a name or the template changed, by hand too
    teaches: str  # likewise, but for photos set aside, which nothing learns from
    bases: dict[str, Path]  # by part, the folder that class folders lie in; TRAIN is always there

    def photos(self) -> Iterable[AlbumPhoto]:
        """All of them, those set aside last."""
        for each in self.classes:
            yield from each.photos
        yield from self.background
        yield from self.set_aside

    def class_of(self, name: str) -> ClassFolder | None:
        """The class of that name, or of another spelling where only one is."""
        exact = next((each for each in self.classes if each.name == name), None)
        alike = [each for each in self.classes if folded(each.name) == folded(name)]
        return exact or (alike[0] if len(alike) == 1 else None)


def read_contents(root: Path, names: Mapping[str, str], marks: Iterable[str] = ()) -> Contents:
    """Walks through `root`; `names` are display names by class, `marks` count for the version.

    Raises UserError, as for two folders `train`.
    """
    bases = part_bases(root)
    found = Contents([], [], [], [], "", "", bases)
    for part, base in bases.items():
        for folder in (sub for sub in subfolders(base) if sub not in bases.values()):
            try:
                _take(found, root, folder, part)
            except OSError as error:
                found.notes.append(f"{_shown(root, folder)} cannot be read ({error.strerror})")
    for number, each in enumerate(found.classes):
        found.classes[number] = replace(each, display=names.get(each.name, each.display))
    found.classes.sort(key=lambda each: each.name)
    found.set_aside.extend(_set_aside(root, found))
    learnt = [photo.id for photo in found.photos() if not photo.aside]
    learnt += [f"{each.name}\t{each.display}" for each in found.classes]
    teaches = _digest([*learnt, *marks])
    version = _digest([teaches, *(photo.id for photo in found.set_aside)])
    return replace(found, version=version, teaches=teaches)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def part_bases(root: Path) -> dict[str, Path]:
    """The folder of each part that the class folders lie in; `root` where there is none.

    A part whose last photo is gone stays one, unless there are classes beside it: what empties it
    does not make a class of it.
    """
    bases = {}
    for part in SPLITS:
        base = split_folder(root, part) or _emptied(root, part)
        if base or part == TRAIN:
            bases[part] = base or root
    return bases


def _emptied(root: Path, part: str) -> Path | None:
    """The folder of a part that holds no photos."""
    named = [sub for sub in subfolders(root) if sub.name.lower() in SPLITS[part]]
    if len(named) != 1 or Scan().photos_in(named[0]):
        return None
    parts = [name for known in SPLITS.values() for name in known]
    beside = (sub for sub in subfolders(root) if sub.name.lower() not in parts)
    if part == TRAIN and any(Scan().class_photos(sub) for sub in beside):
        return None
    return named[0]


def _take(found: Contents, root: Path, folder: Path, part: str) -> None:
    """Puts what `folder` holds where it belongs. Raises OSError."""
    if not is_line(folder.name):
        found.notes.append(f"{_shown(root, folder)} has a name that is no single line: rename it")
    elif is_background(folder.name):
        found.background.extend(_stated(root, Scan().photos_under(folder), None, part))
    elif (paths := Scan().class_photos(folder)) or is_empty(folder):
        if is_saved(folder.relative_to(root)):
            found.notes.append(f"{_shown(root, folder)} {NAME_OF_SAVED}")
        known = found.class_of(folder.name)
        if known is None or part in known.folders:  # one that is only spelt alike
            known = ClassFolder(folder.name, as_spoken(folder.name), [])
            found.classes.append(known)
        known.folders[part] = folder
        known.photos.extend(_stated(root, paths, known.name, part))
    else:
        found.notes.append(f"{_shown(root, folder)} holds no photos and is no class")


def _set_aside(root: Path, found: Contents) -> Iterable[AlbumPhoto]:
    """The photos set aside: under the path that they had before."""
    place = root / ASIDE_FOLDER
    if place.is_symlink() or not place.is_dir():
        return
    paths, links = photos_aside(place)
    if links:
        found.notes.append(
            f"{ASIDE_FOLDER} holds {counted(links, 'link')}: what links lead to was not set aside, "
            "and is not shown"
        )
    for path in paths:
        part, name, _ = whence(path.relative_to(place), root, found.bases)
        known = found.class_of(name) if name else None
        yield from (
            replace(photo, aside=True)
            for photo in _stated(root, [path], known.name if known else name or None, part)
        )


def whence(
    path: Path, root: Path, bases: Mapping[str, Path]
) -> tuple[str, str | None, tuple[str, ...]]:
    """The part and the class that a path set aside comes from, and the folders below that.

    The class is None for background, and empty for what lies in no class's folder, and for what
    `watch` saved, also where there is a class that is called as its folder.
    """
    if is_saved(path):
        return TRAIN, "", ()
    inside = [part for part, base in bases.items() if (root / path).is_relative_to(base)]
    part = next((part for part in inside if bases[part] != root), TRAIN)
    base = bases[part] if part in inside else root
    *folders, _ = (root / path).relative_to(base).parts
    name = folders[0] if folders else ""
    return part, None if is_background(name) else name, tuple(folders[1:])


def is_saved(path: Path) -> bool:
    """Whether a path set aside is in the folder in which `watch` saves for labelling."""
    return folded(path.parts[0]) == folded(UNSURE_FOLDER)


def _stated(root: Path, paths: Iterable[Path], name: str | None, part: str) -> list[AlbumPhoto]:
    photos, behind = [], len(os.fsencode(root)) + (root != root.parent)
    for path in paths:
        try:
            stat = path.stat()
        except OSError:  # gone meanwhile
            continue
        photo_id = _id(os.fsencode(path)[behind:], stat)
        photos.append(AlbumPhoto(photo_id, path, name, part, stat.st_size, stat.st_mtime_ns))
    return photos


def _id(path: bytes, stat: os.stat_result) -> str:
    """Whoever saw one photo never means another that a hand put in its place."""
    facts = b"%b\0%d %d" % (path, stat.st_size, stat.st_mtime_ns)
    return hashlib.sha256(facts).hexdigest()[:16]


def _shown(root: Path, path: Path) -> str:
    return shown(str(path.relative_to(root)))
