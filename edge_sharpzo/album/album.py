"""A data folder that can be changed: steps, each undoable, over the plain folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_sharpzo.album.contents import AlbumPhoto, ClassFolder, Contents


@dataclass(frozen=True)
class Step:
    """A change that was made."""

    id: int
    time: str  # ISO 8601, with the offset from UTC
    text: str  # as "'cat' renamed to 'tabby'"
    undone: bool


@dataclass(frozen=True)
class Outcome:
    """What a step did."""

    step: Step | None  # None: there was nothing to do
    told: list[str]  # what could not be done, and why


@dataclass(frozen=True)
class Added:
    """What became of photos that were added."""

    step: Step | None
    told: list[str]
    photos: list[AlbumPhoto]  # those that are new
    copies: list[Path]  # given files whose bytes the album, or a file before them, has already
    refused: list[tuple[Path, str]]  # given files that are no photos, and why


class Album:
    """A data folder, locked while it is open. Its methods may be called from several threads.

    Every method that changes something raises UserError where it refuses (NotThereError for a class
    or photo that is not there, NameTakenError, DiskFullError), and then nothing was changed. What a
    hand does to the folder meanwhile is no error: it is in the outcome's `told`.
    """

    @classmethod
    def open(cls, root: Path, address: str = "") -> "Album":
        """Locks the folder `root`, finishes a step that a dead process began, clears its leftovers.

        `address` is told to others that try. Raises InUseError, and UserError where `root` is no
        folder or cannot be written to.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Lets others open the folder."""
        raise NotImplementedError

    def __enter__(self) -> "Album":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def told(self) -> list[str]:
        """What there is to say of the opening: a step finished, a journal that was damaged."""
        raise NotImplementedError

    def announce(self, address: str) -> None:
        """Has others that try to open the folder told of `address`."""
        raise NotImplementedError

    # What is there.

    def contents(self) -> Contents:
        """One walk through the folder. Raises UserError, as for two folders `train`."""
        raise NotImplementedError

    def classes(self) -> list[ClassFolder]:
        """The classes, sorted by name."""
        return self.contents().classes

    def background(self) -> list[AlbumPhoto]:
        """Photos of none of the classes."""
        return self.contents().background

    def set_aside(self) -> list[AlbumPhoto]:
        """Photos that were set aside."""
        return self.contents().set_aside

    def version(self) -> str:
        """Of the contents; 16 hex digits."""
        return self.contents().version

    def photo(self, photo_id: str) -> AlbumPhoto:
        """The photo of that id, wherever it lies. Raises NotThereError."""
        raise NotImplementedError

    @property
    def template(self) -> str | None:
        """The template that was chosen, None where none was."""
        raise NotImplementedError

    def names_file(self) -> Path | None:
        """What to give as `class_names` of a run: no class that is gone; None where none is named."""
        raise NotImplementedError

    # Steps.

    def new_class(self, name: str) -> Outcome:
        """Makes an empty class; its folder is called `name`, without spaces around it."""
        raise NotImplementedError

    def rename(self, class_name: str, to: str) -> Outcome:
        """Renames a class: its folders in all parts, and those of its photos set aside."""
        raise NotImplementedError

    def merge(self, class_name: str, into: str) -> Outcome:
        """Moves all photos of a class to those of another, part by part; the class is gone then."""
        raise NotImplementedError

    def display(self, class_name: str, name: str) -> Outcome:
        """Has prompts call a class `name`; empty: as its folder is called."""
        raise NotImplementedError

    def set_template(self, template: str) -> Outcome:
        """Chooses the template of prompts; empty: none. Whether a model takes it is not looked at."""
        raise NotImplementedError

    def incoming(self) -> Path:
        """A new path to write a photo to that is to be added."""
        raise NotImplementedError

    def add(self, files: Sequence[Path], class_name: str | None) -> Added:
        """Adds photos that were written to `incoming`; to the background where `class_name` is None.

        They get names of their own, go to TRAIN, and are gone from `incoming` afterwards, whatever
        became of them. A photo whose bytes are among those set aside is new.
        """
        raise NotImplementedError

    def move(self, photo_ids: Sequence[str], class_name: str) -> Outcome:
        """Moves photos, from wherever they lie, to a class; each stays in its part."""
        raise NotImplementedError

    def move_to_background(self, photo_ids: Sequence[str]) -> Outcome:
        """Moves photos to those of none of the classes; each stays in its part."""
        raise NotImplementedError

    def move_aside(self, photo_ids: Sequence[str]) -> Outcome:
        """Sets photos aside: nothing learns from them or shows them as a class's."""
        raise NotImplementedError

    def put_back(self, photo_ids: Sequence[str]) -> Outcome:
        """Moves photos that were set aside to where they lay."""
        raise NotImplementedError

    def undo(self) -> Outcome:
        """Undoes the newest step that is not undone; photos that it added are set aside.

        Raises NotThereError where there is none.
        """
        raise NotImplementedError

    def redo(self) -> Outcome:
        """Does the step again that was undone last. Raises NotThereError where there is none."""
        raise NotImplementedError

    def can_undo(self) -> str | None:
        """The text of the step that `undo` would undo."""
        raise NotImplementedError

    def can_redo(self) -> str | None:
        """The text of the step that `redo` would do again."""
        raise NotImplementedError

    def history(self) -> list[Step]:
        """Every step but undoing and doing again, oldest first."""
        raise NotImplementedError
