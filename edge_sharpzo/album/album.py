"""A data folder that can be changed: steps, each undoable, over the plain folders."""

import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from edge_sharpzo.album import adding, files
from edge_sharpzo.album.contents import AlbumPhoto, ClassFolder, Contents, read_contents
from edge_sharpzo.album.errors import NO_PHOTO, NotThereError
from edge_sharpzo.album.opened import INCOMING, OpenFolder, Outcome, Step
from edge_sharpzo.album.plan import Plan
from edge_sharpzo.album.steps import Steps, find_class
from edge_sharpzo.photos.background import NONE_OF_THESE
from edge_sharpzo.photos.digests import Digests
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import counted, is_line


@dataclass(frozen=True)
class Added:
    """What became of photos that were added."""

    step: Step | None
    told: list[str]
    photos: list[AlbumPhoto]  # those that are new
    copies: list[Path]  # given files whose bytes the album, or a file before them, has already
    copies_of: list[str | None]  # the classes that have those; None: the background
    # Given files that are no photos, or that could not be moved to their class, and why.
    refused: list[tuple[Path, str]]


class Album(OpenFolder):
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
        return cls(root, address)

    def __init__(self, root: Path, address: str = ""):
        """Use `open`."""
        super().__init__(root, address)
        self._known: dict[str, AlbumPhoto] = {}  # by id, as they were listed last
        self._digests: Digests = {}

    # What is there.

    def contents(self) -> Contents:
        """One walk through the folder. Raises UserError, as for two folders `train`."""
        with self._busy():
            names, template, notes = dict[str, str](), "", list[str]()
            try:
                names = self._settings.names()
                template = self._settings.template() or ""
            except UserError as error:
                notes.append(str(error))
            found = read_contents(self.root, names, [template])
            found.notes.extend(notes)
            self._known = {photo.id: photo for photo in found.photos()}
            return found

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

    def teaches(self) -> str:
        """Of what is learnt from, of the contents; 16 hex digits."""
        return self.contents().teaches

    def photo(self, photo_id: str) -> AlbumPhoto:
        """The photo of that id, wherever it lies. Raises NotThereError."""
        if (found := self._known.get(photo_id)) and found.is_there():
            return found
        with self._busy():
            self.contents()
            if found := self._known.get(photo_id):
                return found
        raise NotThereError(NO_PHOTO)

    @property
    def template(self) -> str | None:
        """The template that was chosen, None where none was. Raises UserError."""
        return self._settings.template()

    def names_file(self) -> Path | None:
        """What to give a run as `class_names`: of classes that are there; None where none is named.

        Raises UserError.
        """
        with self._busy():
            return self._settings.names_file({each.name for each in self.classes()})

    # Steps.

    def new_class(self, name: str) -> Outcome:
        """Makes an empty class; its folder is called `name`, without spaces around it."""
        with self._busy():
            name, plan = self._steps().new_class(name)
            return self._take(f"new class '{name}'", plan)

    def rename(self, class_name: str, to: str) -> Outcome:
        """Renames a class: its folders in all parts, and those of its photos set aside."""
        with self._busy():
            contents = self.contents()
            known = find_class(contents, class_name)
            to, plan = self._steps(contents).rename(known, to)
            return self._take(f"'{known.name}' renamed to '{to}'", plan)

    def merge(self, class_name: str, into: str) -> Outcome:
        """Moves all photos of a class to those of another, part by part; the class is gone then."""
        with self._busy():
            contents = self.contents()
            known, other = (find_class(contents, name) for name in (class_name, into))
            plan = self._steps(contents).merge(known, other)
            return self._take(f"'{known.name}' merged into '{other.name}'", plan)

    def remove_class(self, class_name: str) -> Outcome:
        """Removes a class without photos. Raises UserError for another."""
        with self._busy():
            contents = self.contents()
            known = find_class(contents, class_name)
            return self._take(f"'{known.name}' removed", self._steps(contents).remove(known))

    def display(self, class_name: str, name: str) -> Outcome:
        """Has prompts call a class `name`; empty: as its folder is called."""
        with self._busy():
            contents = self.contents()
            known = find_class(contents, class_name)
            name, plan = self._steps(contents).display(known, name)
            return self._take(f"'{known.name}' is called '{name}'", plan)

    def set_template(self, template: str) -> Outcome:
        """Chooses the template of prompts; empty: none. Whether it suits a model is not checked."""
        if not is_line(template) or (template and template.count("{}") != 1):
            raise UserError(
                "a template is one line of text, with {} once where the class's name goes",
                field="template",
            )
        with self._busy():
            plan = Plan(self.root)
            plan.template(self._settings.template(), template or None)
            if not plan.operations:
                plan.leave_out("the template", "as it is already: give another one")
            return self._take(f"the template is '{template}'" if template else "no template", plan)

    def incoming(self) -> Path:
        """A new path to write a photo to that is to be added; its folder is made where it is gone.

        Raises UserError where it cannot be.
        """
        folder = self._own / INCOMING
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise UserError(f"{folder} is no folder, or a link to one: move it away")
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError as error:
            raise UserError(
                f"{self._own} was moved or deleted: put it back, or start again with a new one"
            ) from error
        return folder / uuid.uuid4().hex

    def add(self, given: Sequence[Path], class_name: str | None) -> Added:
        """Adds photos that were written to `incoming`; `class_name` None: to the background.

        They get names of their own, go to TRAIN, and are gone from `incoming` afterwards, whatever
        became of them. A photo whose bytes are among those set aside is new.
        """
        if any(path.parent != self._own / INCOMING for path in given):
            raise ValueError("photos to add have to be written to paths of `incoming`")
        try:
            read = adding.Read(self._digests)
            adding.read_ahead(given, _not_aside(self.contents()), read)
            with self._busy():
                return self._add(given, class_name, read)
        finally:
            for path in given:
                with suppress(OSError):
                    files.drop(path)

    def _add(self, given: Sequence[Path], class_name: str | None, read: adding.Read) -> Added:
        contents = self.contents()
        folder = self._steps(contents).home(class_name)
        try:
            found = adding.sort(given, _not_aside(contents), read)
        except OSError as error:
            raise UserError(f"the photos cannot be kept ({error.strerror})") from error
        plan = Plan(self.root)
        targets = [plan.add_file(path, folder / name) for path, name in found.new]
        where = f"'{folder.name}'" if class_name is not None else f"'{NONE_OF_THESE}'"
        outcome = self._take(f"{_moved(plan)} added to {where}", plan)
        left = {self.root / path: why for path, why in outcome.left.items()}
        refused = [*found.refused, *((p, left[p]) for p, _ in found.new if p in left)]
        new = {
            target for target, (path, _) in zip(targets, found.new, strict=True) if path not in left
        }
        photos = [p for p in self.contents().photos() if p.path in new] if new else []
        copies = [path for path, _ in found.copies]
        own = None if class_name is None else folder.name
        classes = {each.class_name if each else own for _, each in found.copies}
        copies_of = sorted(classes, key=lambda name: (name is None, name))
        return Added(outcome.step, outcome.told, photos, copies, copies_of, refused)

    def move(self, photo_ids: Sequence[str], class_name: str) -> Outcome:
        """Moves photos, from wherever they lie, to a class; each stays in its part."""
        with self._busy():
            contents = self.contents()
            known = find_class(contents, class_name)
            photos, missing = _of_ids(contents, photo_ids)
            plan = self._steps(contents).move(photos, known)
            return self._take(f"{_moved(plan)} moved to '{known.name}'", plan, missing)

    def move_to_background(self, photo_ids: Sequence[str]) -> Outcome:
        """Moves photos to those of none of the classes; each stays in its part."""
        with self._busy():
            contents = self.contents()
            photos, missing = _of_ids(contents, photo_ids)
            plan = self._steps(contents).move_to_background(photos)
            return self._take(f"{_moved(plan)} moved to '{NONE_OF_THESE}'", plan, missing)

    def move_aside(self, photo_ids: Sequence[str]) -> Outcome:
        """Sets photos aside: nothing learns from them or shows them as a class's."""
        with self._busy():
            contents = self.contents()
            photos, missing = _of_ids(contents, photo_ids)
            plan = self._steps(contents).move_aside(photos)
            return self._take(f"{_moved(plan)} set aside", plan, missing)

    def put_back(self, photo_ids: Sequence[str]) -> Outcome:
        """Moves photos that were set aside to where they lay."""
        with self._busy():
            contents = self.contents()
            photos, missing = _of_ids(contents, photo_ids)
            plan = self._steps(contents).put_back(photos)
            return self._take(f"{_moved(plan)} put back", plan, missing)

    def _steps(self, contents: Contents | None = None) -> Steps:
        """Plans for what is there. Raises UserError."""
        return Steps(self.root, contents or self.contents(), self._settings.names())

    def _take(self, text: str, plan: Plan, missing: int = 0) -> Outcome:
        """A new step, where there is anything to do."""
        why = "no longer there, or replaced by another"
        gone = [f"{counted(missing, 'photo')} that you chose: {why}"] if missing else []
        if not plan.operations:
            return Outcome(None, [*gone, *plan.told])
        outcome = self._write(text, plan)
        return replace(outcome, told=[*gone, *outcome.told])


def _not_aside(contents: Contents) -> Iterable[AlbumPhoto]:
    return (photo for photo in contents.photos() if not photo.aside)


def _moved(plan: Plan) -> str:
    return counted(plan.moves(), "photo")


def _of_ids(contents: Contents, photo_ids: Sequence[str]) -> tuple[list[AlbumPhoto], int]:
    """The photos of those ids in the order of listing, and how many are not there.

    Raises NotThereError where none is.
    """
    wanted = set(photo_ids)
    found = [photo for photo in contents.photos() if photo.id in wanted]
    if wanted and not found:
        raise NotThereError(
            "nothing was moved: none of these photos is there any more, they were moved, replaced "
            "or deleted. Choose among those that are there now"
        )
    return found, len(wanted) - len(found)
