"""Walks folders of photos: which files are photos, and which are not used."""

import os
from pathlib import Path

from edge_sharpzo.photos.left_out import (
    HIDDEN,
    OUTSIDE,
    SET_ASIDE,
    TOO_DEEP,
    UNREADABLE,
    LeftOut,
    of_kind,
)
from edge_sharpzo.system.errors import UserError

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    *(".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
}
_ENDINGS = tuple(SUFFIXES)
# Files that nobody takes for photos: a folder of nothing else is no class that lost its photos.
OTHER_KINDS = {
    *(".csv", ".json", ".log", ".md", ".pdf", ".txt", ".xml", ".yaml", ".yml"),
    *(".html", ".jsonl", ".onnx", ".safetensors"),  # what runs leave
}
# What systems and version control leave in a folder that has nothing in it.
MARKS = {".ds_store", "thumbs.db", "desktop.ini", ".gitkeep", ".keep", ".gitignore"}
OWN_FOLDER = ".station"  # of what the station keeps; no file in it is the user's
ASIDE_FOLDER = ".set-aside"  # of photos that were set aside
UNSURE_FOLDER = "unsure"  # in it: what `watch` saved to be labelled, which is of no class
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class Scan:
    """A walk through one folder, which notes every file that it does not use."""

    def __init__(self) -> None:
        self.left_out: list[LeftOut] = []
        self._entered: set[Path] = set()  # a link may lead back

    def class_photos(self, folder: Path) -> list[Path]:
        """The photos in `folder` and in its subfolders, not those below; sorted."""
        photos = self.photos_in(folder)
        for sub in subfolders(folder):
            photos += self.photos_in(sub)
            for below in subfolders(sub):
                self.leave_out(below, TOO_DEEP)
        return sorted(photos)

    def photos_under(self, folder: Path) -> list[Path]:
        """The photos in `folder` and below it, however deep; sorted."""
        photos, left = list[Path](), [folder]
        while left:
            here = left.pop()
            if self._enter(here):
                photos += self.photos_in(here)
                left += subfolders(here)
        return sorted(photos)

    def photos_in(self, folder: Path) -> list[Path]:
        """The photos in `folder` itself; sorted."""
        photos = []
        self._leave_out_hidden(folder)
        for file in _files(folder):
            if reason := _no_photo(file):
                self.left_out.append(reason)
            else:
                photos.append(folder / file.name)
        return photos

    def leave_out(self, folder: Path, reason: str = OUTSIDE) -> None:
        """Nothing in `folder` or below it is used. A link is not followed: it may lead anywhere."""
        left = [folder]
        while left:
            here = left.pop()
            if here.is_symlink():
                self.left_out.append(LeftOut(here, reason, "a link"))
            elif self._enter(here):
                self.leave_out_files(here, reason)
                left += reversed(subfolders(here))

    def leave_out_files(self, folder: Path, reason: str = OUTSIDE) -> None:
        """No file in `folder` itself is used."""
        self._leave_out_hidden(folder)
        self.left_out += [
            _no_photo(file) or LeftOut(folder / file.name, reason) for file in _files(folder)
        ]

    def _leave_out_hidden(self, folder: Path) -> None:
        """Nor is what its hidden folders hold."""
        for hidden in _folders(folder):
            if not is_clutter(hidden.name) or hidden.name == OWN_FOLDER or hidden.is_symlink():
                continue
            if self._enter(hidden):
                files = [file for file in sorted(hidden.rglob("*")) if not _is_folder(file)]
                aside = hidden.name == ASIDE_FOLDER
                self.left_out += [
                    (_no_photo(file) or LeftOut(file, SET_ASIDE))
                    if aside
                    else LeftOut(file, HIDDEN)
                    for file in files
                ]

    def has_entered(self, folder: Path) -> bool:
        """Whether the walk has been in this folder."""
        return folder.resolve() in self._entered

    def _enter(self, folder: Path) -> bool:
        """Whether the walk is in this folder for the first time."""
        place = folder.resolve()
        first = place not in self._entered
        self._entered.add(place)
        return first


def _files(folder: Path) -> list["os.DirEntry[str]"]:
    """Sorted. Listing a folder tells the kinds of all in it, asking for each is far slower."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not _is_folder(e)), key=lambda entry: entry.name)


def photos_aside(place: Path) -> tuple[list[Path], int]:
    """The photos that lie aside in `place`, sorted, and how many links to anything.

    No link is followed: it may lead to anything, and nothing that was set aside is one. Raises
    OSError.
    """
    photos, links, left = list[Path](), 0, [place]
    while left:
        here = left.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_symlink():
                    links += not is_clutter(entry.name) and _leads_somewhere(entry)
                elif not entry.is_dir():
                    photos += [] if _no_photo(entry) else [here / entry.name]
                elif not is_clutter(entry.name):
                    left.append(here / entry.name)
    return sorted(photos), links


def _leads_somewhere(link: "os.DirEntry[str]") -> bool:
    try:
        link.stat()
    except OSError:
        return False
    return True


def _no_photo(file: "os.DirEntry[str] | Path") -> LeftOut | None:
    """Why `file` is no photo, by its name and its kind; None where it is one."""
    if is_clutter(file.name):
        return LeftOut(Path(file), HIDDEN)
    if not file.name.lower().endswith(_ENDINGS):
        return LeftOut(Path(file), of_kind(Path(file)))
    try:
        return None if file.is_file() else LeftOut(Path(file), UNREADABLE, "no file")
    except OSError as error:
        return LeftOut(Path(file), UNREADABLE, error.strerror or "no file")


def _is_folder(entry: "os.DirEntry[str] | Path") -> bool:
    """Links that lead in a circle, or to what may not be looked at, are none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def subfolders(folder: Path) -> list[Path]:
    """Sorted; hidden ones and clutter left out."""
    return [sub for sub in _folders(folder) if not is_clutter(sub.name)]


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if _is_folder(entry))


def is_empty(folder: Path) -> bool:
    """Whether there is no file in it, nor below it, but what marks or clutters empty folders."""
    left = [folder]
    while left:
        for entry in left.pop().iterdir():
            if not entry.is_symlink() and entry.is_dir():  # a link may lead back
                left.append(entry)
            elif entry.name.lower() not in MARKS:
                return False
    return True


def split_folder(root: Path, split: str) -> Path | None:
    """The folder in `root` that holds the class folders of a split, None where there is none.

    A folder of that name with photos but without class folders is a class of that name. Raises
    UserError where there are two.
    """
    named = [folder for folder in subfolders(root) if folder.name.lower() in SPLITS[split]]
    found = [folder for folder in named if holds_classes(folder)]
    if len(found) > 1:
        raise UserError(
            f"{found[0]} and {found[1]} both hold the {split} photos: put them together, or "
            "rename one",
            field="data",
        )
    return next(iter(found), None)


def holds_classes(folder: Path) -> bool:
    """Whether there are folders of photos in it."""
    return any(_holds_photos(sub) for sub in subfolders(folder))


def _holds_photos(folder: Path) -> bool:
    places = (folder, *subfolders(folder))
    return any(_no_photo(file) is None for place in places for file in _files(place))


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or what systems leave."""
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")
