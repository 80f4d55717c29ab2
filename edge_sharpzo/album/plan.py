"""What a step will do, gathered before anything is done: where everything goes is settled here."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_sharpzo.album.names import as_entry, numbered
from edge_sharpzo.album.operations import (
    GONE,
    LINK,
    Add,
    Make,
    Move,
    Name,
    Operation,
    Remove,
    Template,
    is_linked,
)
from edge_sharpzo.photos.scan import ASIDE_FOLDER, UNSURE_FOLDER
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import shown, some


@dataclass
class Plan:
    """Operations in a folder `root`, in order. No target is a path that is there or planned."""

    root: Path
    operations: list[Operation] = field(default_factory=list)
    _why: dict[str, list[str]] = field(default_factory=dict)  # what is left out, by reason
    _made: set[Path] = field(default_factory=set)
    _taken: dict[Path, set[str]] = field(default_factory=dict)  # names by folder

    @property
    def told(self) -> list[str]:
        """What is left out, and why."""
        return [f"{some(names)}: {reason}" for reason, names in self._why.items()]

    def moves(self) -> int:
        """How many files and folders move."""
        return sum(isinstance(each, Move) for each in self.operations)

    def leave_out(self, what: str, reason: str) -> None:
        """Has it told."""
        self._why.setdefault(reason, []).append(shown(what))

    def relative(self, path: Path) -> str:
        """As operations have it."""
        return path.relative_to(self.root).as_posix()

    def make(self, folder: Path) -> None:
        """The folder, and those above it, will be there."""
        if folder == self.root or folder in self._made or folder.is_dir():
            return
        self.make(folder.parent)
        self._made.add(folder)
        self.operations.append(Make(self.relative(folder)))

    def move_file(self, source: Path, target: Path, back: bool = False) -> None:
        """Moves a file, to another name where that of `target` is taken.

        Going `back`, only a file of that very name is in its way.
        """
        name = self.relative(source)
        if is_linked(self.root, name):
            self.leave_out(name, LINK)
        elif not os.path.lexists(source):
            self.leave_out(name, GONE)
        else:
            self.make(target.parent)
            if not back or os.path.lexists(target):
                target = self._free(target)
            self.operations.append(Move(name, self.relative(target)))

    def add_file(self, source: Path, target: Path) -> Path:
        """Moves a new file in, to another name where that of `target` is taken; returns where."""
        self.make(target.parent)
        target = self._free(target)
        self.operations.append(Add(self.relative(source), self.relative(target)))
        return target

    def _free(self, target: Path) -> Path:
        folder = target.parent
        if folder not in self._taken:
            there = folder.iterdir() if folder.is_dir() else ()
            self._taken[folder] = {as_entry(each.name) for each in there}
        name = numbered(target.name, self._taken[folder])
        self._taken[folder].add(as_entry(name))
        return folder / name

    def move_folder(self, source: Path, target: Path) -> None:
        """Moves a folder with all that it holds; into `target`, where that is there."""
        same = target.is_dir() and source.samefile(target)  # but for case
        if same or not os.path.lexists(target):
            self.make(target.parent)
            self.operations.append(Move(self.relative(source), self.relative(target)))
            return
        folders = [source]
        for folder in folders:  # which grows meanwhile
            for entry in sorted(folder.iterdir()):
                if not entry.is_symlink() and entry.is_dir():
                    folders.append(entry)
                else:
                    self.move_file(entry, target / entry.relative_to(source))
        for folder in reversed(folders):
            self.operations.append(Remove(self.relative(folder)))

    def remove_empty(self, folder: Path) -> None:
        """Removes a folder of a class without photos; files that mark it go aside."""
        folders = [folder]
        for place in folders:  # which grows meanwhile
            for entry in sorted(place.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    folders.append(entry)
                else:
                    aside = self.root / ASIDE_FOLDER / entry.relative_to(self.root)
                    self.move_file(entry, aside)
        self.operations += [Remove(self.relative(place)) for place in reversed(folders)]

    def remove_emptied(self, folder: Path) -> None:
        """Removes a folder that photos move out of, where nothing stays in it or below it."""
        moved = {each.source for each in self.operations if isinstance(each, Move)}
        if not any(source.startswith(f"{self.relative(folder)}/") for source in moved):
            return
        folders = [folder]
        for place in folders:  # which grows meanwhile
            for entry in place.iterdir():
                if not entry.is_symlink() and entry.is_dir():
                    folders.append(entry)
                elif self.relative(entry) not in moved:
                    return
        self.operations += [Remove(self.relative(place)) for place in reversed(folders)]

    def remove_emptied_aside(self) -> None:
        """Removes folders of photos set aside that files move out of, where nothing stays there."""
        aside = self.root / ASIDE_FOLDER
        sources = [self.root / each.source for each in self.operations if isinstance(each, Move)]
        emptied = {
            folder
            for source in sources
            for folder in source.parents
            if folder.is_relative_to(aside) and folder != aside / UNSURE_FOLDER
        }
        planned = {each.folder for each in self.operations if isinstance(each, Remove)}
        removed = [self.relative(each) for each in sorted(emptied, reverse=True)]
        self.operations += [Remove(each) for each in removed if each not in planned]

    def name(self, class_name: str, before: str | None, after: str | None) -> None:
        """Another display name."""
        if before != after:
            self.operations.append(Name(class_name, before, after))

    def template(self, before: str | None, after: str | None) -> None:
        """Another template."""
        if before != after:
            self.operations.append(Template(before, after))

    def reverse(self, operations: Iterable[Operation]) -> None:
        """All that was done by `operations`, the other way round; what was added goes aside."""
        for operation in reversed(list(operations)):
            match operation:
                case Add(_, target):
                    self.move_file(self.root / target, self.root / ASIDE_FOLDER / target)
                case Move(source, target):
                    self._move_back(self.root / target, self.root / source)
                case Make(folder):
                    if (self.root / folder).is_dir():
                        self.operations.append(Remove(folder))
                case Remove(folder):
                    self.make(self.root / folder)
                case Name(class_name, before, after):
                    self.name(class_name, after, before)
                case Template(before, after):
                    self.template(after, before)

    def _move_back(self, source: Path, target: Path) -> None:
        if not source.is_symlink() and source.is_dir():
            self.move_folder(source, target)
        else:
            self.move_file(source, target, back=True)


def require_no_links(root: Path, folders: Mapping[str, Path]) -> None:
    """Raises UserError where one of a class's `folders` is a link, behind which nothing changes."""
    for folder in folders.values():
        if is_linked(root, folder.relative_to(root).as_posix()):
            raise UserError(
                f"{folder} is a link, or lies behind one: what it leads to is shown and learnt "
                "from, but not changed. Change it where it lies"
            )
