"""The steps that an album can take, as plans: nothing here changes a file."""

import os
from collections.abc import Iterable
from pathlib import Path

from edge_sharpzo.album.contents import (
    NAME_OF_SAVED,
    TRAIN,
    AlbumPhoto,
    ClassFolder,
    Contents,
    is_saved,
    whence,
)
from edge_sharpzo.album.errors import NotThereError
from edge_sharpzo.album.names import check_free, class_folder, display_name
from edge_sharpzo.album.operations import is_linked
from edge_sharpzo.album.plan import Plan, require_no_links
from edge_sharpzo.album.settings import check_nameable
from edge_sharpzo.photos.background import FOLDER, is_background
from edge_sharpzo.photos.scan import ASIDE_FOLDER, is_empty, subfolders
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import as_spoken, folded, shown

NO_CLASS = "not put back, since their class is no longer there: move them to a class"
# Why there is nothing to do.
SAME_NAME = "called so already: give another name"
SAME_CLASS = "that class itself: choose another"
IN_CLASS = "in that class already: choose another"
IN_BACKGROUND = (
    "among those of none of the classes already: move them to a class, or set them aside"
)
ASIDE = "set aside already: put them back, or move them to a class"
NAMED_AS_SAVED = (
    "not set aside, since their class is called as the folder in which `watch` saves photos to be "
    "labelled: rename the class first"
)
NOT_ASIDE = "not put back, since they are not set aside: move them to a class"


class Steps:
    """Plans for a folder `root`, as its `contents` and display `names` are."""

    def __init__(self, root: Path, contents: Contents, names: dict[str, str]):
        self._root, self._contents, self._names = root, contents, names

    def new_class(self, name: str) -> tuple[str, Plan]:
        """An empty class; also what it is called."""
        plan = Plan(self._root)
        name = class_folder(name, self._taken())
        folder = self._contents.bases[TRAIN] / name
        self._check_no_entry(folder)
        plan.make(folder)
        return name, plan

    def rename(self, known: ClassFolder, to: str) -> tuple[str, Plan]:
        """Other folders for a class; also what it is called then."""
        plan = Plan(self._root)
        to = class_folder(to, self._taken(but=known))
        if to == known.name:
            plan.leave_out(f"'{to}'", SAME_NAME)
            return to, plan
        require_no_links(self._root, known.folders)
        display = self._names.get(known.name)
        if display is not None:
            check_nameable(to)
        for folder in known.folders.values():
            if folded(to) != folded(folder.name):
                self._check_no_entry(folder.with_name(to))
            plan.move_folder(folder, folder.with_name(to))
        for folder in self._aside(known):
            plan.move_folder(folder, folder.with_name(to))
        plan.name(known.name, display, None)
        plan.name(to, None, display)
        return to, plan

    def merge(self, known: ClassFolder, into: ClassFolder) -> Plan:
        """All that one class holds goes to another, and its folders go."""
        plan = Plan(self._root)
        if known.name == into.name:
            plan.leave_out(f"'{into.name}'", SAME_CLASS)
            return plan
        require_no_links(self._root, known.folders)
        require_no_links(self._root, into.folders)
        for part, folder in known.folders.items():
            plan.move_folder(folder, self._folder(into, part))
        for folder in self._aside(known):
            target = folder.with_name(into.name)
            if is_saved(target.relative_to(self._root / ASIDE_FOLDER)):
                raise UserError(f"'{into.name}' {NAME_OF_SAVED} first")
            plan.move_folder(folder, target)
        plan.name(known.name, self._names.get(known.name), None)
        return plan

    def remove(self, known: ClassFolder) -> Plan:
        """A class without photos goes, with what else marks its folder as an empty one kept."""
        if count := len(known.photos):
            photos = "1 photo" if count == 1 else f"{count} photos"
            raise UserError(
                f"'{known.name}' holds {photos}: move them or merge the class first, since nothing "
                "is deleted here"
            )
        plan = Plan(self._root)
        require_no_links(self._root, known.folders)
        for folder in known.folders.values():
            plan.remove_empty(folder)
        plan.name(known.name, self._names.get(known.name), None)
        return plan

    def display(self, known: ClassFolder, name: str) -> tuple[str, Plan]:
        """Another display name; also which."""
        plan = Plan(self._root)
        after = display_name(name, self._taken(but=known)) if name.strip() else None
        if after is None:
            check_free(as_spoken(known.name), self._taken(but=known))
        else:
            check_nameable(known.name)
        if after == as_spoken(known.name):
            after = None
        plan.name(known.name, self._names.get(known.name), after)
        if not plan.operations:
            plan.leave_out(f"'{known.name}'", SAME_NAME)
        return after or as_spoken(known.name), plan

    def move(self, photos: Iterable[AlbumPhoto], known: ClassFolder) -> Plan:
        """Photos go to a class."""
        plan = Plan(self._root)
        require_no_links(self._root, known.folders)
        for photo in photos:
            if photo.aside or photo.class_name != known.name:
                plan.move_file(photo.path, self._folder(known, photo.part) / photo.path.name)
            else:
                plan.leave_out(plan.relative(photo.path), IN_CLASS)
        return self._without_empty_background(plan)

    def move_to_background(self, photos: Iterable[AlbumPhoto]) -> Plan:
        """Photos go to those of none of the classes."""
        plan = Plan(self._root)
        for photo in photos:
            if photo.aside or photo.class_name is not None:
                plan.move_file(photo.path, self.background(photo.part) / photo.path.name)
            else:
                plan.leave_out(plan.relative(photo.path), IN_BACKGROUND)
        return plan

    def move_aside(self, photos: Iterable[AlbumPhoto]) -> Plan:
        """Photos go aside, under the path that they have."""
        plan = Plan(self._root)
        for photo in photos:
            path = photo.path.relative_to(self._root)
            if photo.aside:
                plan.leave_out(path.as_posix(), ASIDE)
            elif is_saved(path):
                plan.leave_out(path.as_posix(), NAMED_AS_SAVED)
            else:
                plan.move_file(photo.path, self._root / ASIDE_FOLDER / path)
        return self._without_empty_background(plan)

    def put_back(self, photos: Iterable[AlbumPhoto]) -> Plan:
        """Photos that were set aside go where they were, or where their class lies now."""
        plan = Plan(self._root)
        for photo in photos:
            if not photo.aside:
                plan.leave_out(plan.relative(photo.path), NOT_ASIDE)
                continue
            path = photo.path.relative_to(self._root / ASIDE_FOLDER)
            _, name, folders = whence(path, self._root, self._contents.bases)
            known = self._contents.class_of(name) if name else None
            if known:
                base = self._folder(known, photo.part)
            elif name is None:
                base = self.background(photo.part)
            else:
                plan.leave_out(path.as_posix(), NO_CLASS)
                continue
            plan.move_file(photo.path, base.joinpath(*folders, path.name))
        plan.remove_emptied_aside()
        return plan

    def _without_empty_background(self, plan: Plan) -> Plan:
        """A run refuses one without photos, where an empty class is a class without photos."""
        if plan.operations:
            for folder in filter(Path.is_dir, map(self.background, self._contents.bases)):
                plan.remove_emptied(folder)
        return plan

    def background(self, part: str) -> Path:
        """The folder for photos of none of the classes, maybe one that is not there."""
        base = self._contents.bases.get(part, self._contents.bases[TRAIN])
        there = (folder for folder in subfolders(base) if is_background(folder.name))
        return next(there, base / FOLDER)

    def home(self, class_name: str | None) -> Path:
        """The folder for photos that are new. Raises NotThereError."""
        if class_name is None:
            folder = self.background(TRAIN)
        else:
            folder = self._folder(find_class(self._contents, class_name), TRAIN)
        require_no_links(self._root, {TRAIN: folder})
        return folder

    def _folder(self, known: ClassFolder, part: str) -> Path:
        base = self._contents.bases.get(part, self._contents.bases[TRAIN])
        return known.folders.get(part, base / known.name)

    def _aside(self, known: ClassFolder) -> list[Path]:
        """The folders of what was set aside from a class.

        Not those that hold nothing any more: undoing another step may remove them.
        """
        bases = self._contents.bases.values()
        aside = self._root / ASIDE_FOLDER
        places = [aside / base.relative_to(self._root) for base in bases]
        found = [sub for place in places if place.is_dir() for sub in subfolders(place)]
        return [
            sub
            for sub in found
            if sub not in places
            and not is_saved(sub.relative_to(aside))
            and not is_linked(self._root, sub.relative_to(self._root).as_posix())
            and self._contents.class_of(sub.name) is known
            and not is_empty(sub)
        ]

    def _taken(self, but: ClassFolder | None = None) -> list[str]:
        """What other classes than `but` go by."""
        others = [each for each in self._contents.classes if but is None or each.name != but.name]
        return [name for each in others for name in (each.name, each.display)]

    def _check_no_entry(self, folder: Path) -> None:
        """Raises UserError where something of no class lies in the way of a new folder."""
        if os.path.lexists(folder):
            raise UserError(
                f"{shown(str(folder))} is there already and is no class: choose another name, or "
                "move it away",
                field="name",
            )


def find_class(contents: Contents, name: str) -> ClassFolder:
    """The class of that name. Raises NotThereError."""
    if (known := contents.class_of(name)) is None:
        raise NotThereError(f"there is no class '{shown(name[:80])}' (any more)", field="class")
    return known
