"""Carries operations out, says what came of them, and takes back those of a step that came to none.

A step came to nothing where none of what it is about was done: photos that none moved of leave
folders that were made for them, and maybe a display name that went ahead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_sharpzo.album import files
from edge_sharpzo.album.journal import Entry
from edge_sharpzo.album.operations import (
    Add,
    Make,
    Move,
    Name,
    Operation,
    Remove,
    do,
    parents,
    subject,
)
from edge_sharpzo.album.settings import Settings
from edge_sharpzo.photos.scan import ASIDE_FOLDER, MARKS, is_empty
from edge_sharpzo.system.text import counted, shown, some

# How much an operation counts for: a step is about those that count most. Photos set aside that
# follow their class count as its empty folders do.
_BY_THE_WAY, _FOLDER, _PHOTO = range(3)


@dataclass(frozen=True)
class Carried:
    """What came of a step's operations."""

    skipped: dict[int, str]  # which were not done, by their places, and why
    told: list[str]  # the same for people
    text: str  # what the step did
    left: Mapping[str, str]  # photos to be added that were not, by their paths, and why


def carry_out(
    entry: Entry, operations: Sequence[Operation], root: Path, settings: Settings
) -> Carried:
    """Does the `operations` of an `entry` in order; one that cannot be done is passed over.

    Where nothing of what the step is about could be done, what was done by the way is taken back:
    all of them are skipped then. Not of undoing, which goes on to the step before. It may be done
    twice, as after a kill.
    """
    skipped = _done(operations, root, settings)
    about = _about(operations, skipped, root) if skipped and entry.undoes is None else []
    told = skipped
    if about and all(place in skipped for place in about):
        told = {place: skipped[place] for place in about}
        skipped = skipped | _taken_back(operations, skipped, root, settings)
    files.flush_folders(root / parent for each in operations for parent in parents(each))
    left = {
        each.source: skipped[place]
        for place, each in enumerate(operations)
        if isinstance(each, Add) and place in skipped
    }
    began_anew = entry.undoes is None and entry.redoes is None
    text = _as_done(entry.text, operations, skipped) if began_anew else entry.text
    return Carried(skipped, _told(operations, told), text, left)


def _done(operations: Sequence[Operation], root: Path, settings: Settings) -> dict[int, str]:
    """Does what can be done. Returns the places of what was not, and why."""
    skipped, not_made = dict[int, str](), dict[str, str]()
    for place, each in enumerate(operations):
        path = _comes_to(each)
        above = not_made.get(str(PurePosixPath(path).parent))
        if why := above or do(each, root, settings):
            skipped[place] = why
            if isinstance(each, Make):
                not_made[path] = above or f"not moved, since '{shown(path)}' {why}"
    return skipped


def _comes_to(operation: Operation) -> str:
    """The path that is there then, which needs the folder that it lies in."""
    match operation:
        case Move(_, path) | Make(path):
            return path
    return ""


def _about(operations: Sequence[Operation], skipped: Mapping[int, str], root: Path) -> list[int]:
    """The places of the operations that a step is about."""
    weights = [_weight(each, place in skipped, root) for place, each in enumerate(operations)]
    heaviest = max(weights, default=_BY_THE_WAY)
    return [place for place, weight in enumerate(weights) if weight == heaviest]


def _weight(operation: Operation, is_skipped: bool, root: Path) -> int:
    match operation:
        case Move(source, target):
            if all(PurePosixPath(each).parts[0] == ASIDE_FOLDER for each in (source, target)):
                return _FOLDER
            path = root / (source if is_skipped else target)
            if not path.is_symlink() and path.is_dir():
                return _FOLDER if _holds_nothing(path) else _PHOTO
            return _BY_THE_WAY if path.name.lower() in MARKS else _PHOTO
        case Remove():
            return _FOLDER
    return _BY_THE_WAY


def _holds_nothing(folder: Path) -> bool:
    try:
        return is_empty(folder)
    except OSError:
        return False


def _taken_back(
    operations: Sequence[Operation], skipped: Mapping[int, str], root: Path, settings: Settings
) -> dict[int, str]:
    """Takes back what was done. Returns the places of what is as before."""
    back = dict[int, str]()
    for place, each in reversed(list(enumerate(operations))):
        if place not in skipped:
            why = do(_other_way(each), root, settings)
            # An empty folder that stays is nobody's loss.
            if why is None or isinstance(each, Make):
                back[place] = "taken back"
    return back


def _other_way(operation: Operation) -> Operation:
    match operation:
        case Move(source, target):
            return Move(target, source)
        case Make(folder):
            return Remove(folder)
        case Remove(folder):
            return Make(folder)
        case Name(class_name, before, after):
            return Name(class_name, after, before)
    raise ValueError("a step is about nothing else than this one")


def _as_done(text: str, operations: Sequence[Operation], skipped: Mapping[int, str]) -> str:
    """What a step did, where `text` says what it was to do."""
    moves = [place for place, each in enumerate(operations) if isinstance(each, Move)]
    left, planned = len(skipped.keys() & set(moves)), counted(len(moves), "photo")
    if moves and text.startswith(planned):
        return f"{len(moves) - left:,} of {text}" if left else text
    some_left = any(isinstance(operations[place], Move | Remove) for place in skipped)
    return f"{text}, but not all of it" if some_left else text


def _told(operations: Sequence[Operation], skipped: Mapping[int, str]) -> list[str]:
    why = dict[str, list[str]]()
    for place, reason in skipped.items():
        if not isinstance(operations[place], Add):  # it has its own place in the answer
            why.setdefault(reason, []).append(shown(subject(operations[place])))
    return [f"{some(names)}: {reason}" for reason, names in why.items()]
