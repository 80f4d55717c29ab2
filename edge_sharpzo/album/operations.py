"""What a step consists of: operations that may be done twice, and that say why one was not done.

After a kill nobody knows which of them were done, so all are done again.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edge_sharpzo.album import files
from edge_sharpzo.album.settings import Settings
from edge_sharpzo.photos.scan import ASIDE_FOLDER
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import is_text, shown

GONE = "no longer there"
TAKEN = "not moved, since there is another of that name now"
NOT_EMPTY = "not removed, since something lies there"
OTHER_DISK = (
    "not moved, since one of the two folders lies on another disk than the data folder, or is "
    "mounted: copy them there by hand"
)
ELSEWHERE = (
    "lies on another disk than the data folder, or is mounted, so that photos cannot be moved into "
    "it: copy them there by hand"
)
LINK = "left where they are, since they are links or lie behind one"


@dataclass(frozen=True)
class Move:
    """A file or a folder moves; paths are relative to the data folder."""

    source: str
    target: str


@dataclass(frozen=True)
class Add(Move):
    """A photo that is new moves in. There is nowhere to move it back to."""


@dataclass(frozen=True)
class Make:
    """A folder is made."""

    folder: str


@dataclass(frozen=True)
class Remove:
    """An empty folder is removed."""

    folder: str


@dataclass(frozen=True)
class Name:
    """A class's display name changes; None is none."""

    class_name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Template:
    """The template of prompts changes; None is none."""

    before: str | None
    after: str | None


Operation = Move | Add | Make | Remove | Name | Template
_KINDS: dict[str, type[Operation]] = {
    "move": Move,
    "add": Add,
    "make": Make,
    "remove": Remove,
    "name": Name,
    "template": Template,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def as_json(operation: Operation) -> list[str | None]:
    """For the journal."""
    return [_NAMES[type(operation)], *astuple(operation)]


def from_json(value: Any) -> Operation:
    """Of the journal, which anybody may have written. Raises ValueError."""
    try:
        name, *fields = value
        operation = _KINDS[name](*fields)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError("no operation of an album") from error
    optional = isinstance(operation, Name | Template)
    if not all(isinstance(each, str) or (optional and each is None) for each in fields):
        raise ValueError("no operation of an album")
    if isinstance(operation, Move | Make | Remove):
        if not all(map(_is_inside, fields)):
            raise ValueError("an operation outside the folder")
    elif not all(each is None or is_text(each) for each in fields):
        raise ValueError("a name that is no text")
    return operation


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return (
        bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path
    )


def subject(operation: Operation) -> str:
    """What is told of it: a path, or a name."""
    match operation:
        case Move(source, _):
            return source
        case Make(folder) | Remove(folder):
            return folder
        case Name(class_name, _, _):
            return f"the name of {class_name}"
        case _:
            return "the template"


def parents(operation: Operation) -> Iterable[PurePosixPath]:
    """The folders in which something is another then."""
    if isinstance(operation, Move | Make | Remove):
        return (PurePosixPath(path).parent for path in astuple(operation))
    return ()


def do(operation: Operation, root: Path, settings: Settings) -> str | None:
    """Does it. Returns why it could not be done, None where it is."""
    try:
        match operation:
            case Move(source, target):
                return _move(root, source, target)
            case Make(folder):
                return _make(root, folder)
            case Remove(folder):
                return _remove(root, folder)
            case Name(class_name, _, after):
                settings.name(class_name, after)
            case Template(_, after):
                settings.set_template(after)
    except OSError as error:
        return _failed(operation, error)
    except UserError as error:
        return str(error)
    return None


def _failed(operation: Operation, error: OSError) -> str:
    """Why, and what to do."""
    folder = shown(str(PurePosixPath(operation.target).parent)) if type(operation) is Add else ""
    if error.errno in (errno.EXDEV, errno.EBUSY):
        return f"not added, since '{folder}' {ELSEWHERE}" if folder else OTHER_DISK
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        where = f"'{folder}'" if folder else "these folders"
        cure = f": let the user that the station runs as write to {where}"
    else:
        cure = ": make room on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    what = "cannot be made" if isinstance(operation, Make) else "failed"
    return f"{what} ({error.strerror or error}){cure}"


def _move(root: Path, source: str, target: str) -> str | None:
    if is_linked(root, source) or is_linked(root, target):
        return LINK
    try:
        files.move(root / source, root / target)
    except FileExistsError:
        return TAKEN if os.path.lexists(root / source) else None
    except FileNotFoundError:
        if os.path.lexists(root / source):
            raise
        return None if os.path.lexists(root / target) else GONE
    return None


def _make(root: Path, folder: str) -> str | None:
    if is_linked(root, folder):
        return "cannot be made, since it is a link or lies behind one: move the link away"
    try:
        files.make_folder(root / folder)
    except FileExistsError:
        if not (root / folder).is_dir():
            return "cannot be made, since a file of that name is there: move it away"
    return None


def _remove(root: Path, folder: str) -> str | None:
    if is_linked(root, folder):
        return LINK
    try:
        files.remove_folder(root / folder)
    except FileNotFoundError:
        return None
    except OSError:
        if not ((root / folder).is_dir() and any((root / folder).iterdir())):
            raise
        # Of photos set aside some may stay, and nobody has to know that folder.
        return None if PurePosixPath(folder).parts[0] == ASIDE_FOLDER else NOT_EMPTY
    return None


def is_linked(root: Path, path: str) -> bool:
    """Whether `path` in `root` is a link or lies behind one."""
    pure = PurePosixPath(path)
    return any((root / each).is_symlink() for each in (pure, *pure.parents[:-1]))
