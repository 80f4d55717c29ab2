"""A data folder that is open: locked, cut-short steps finished; steps written, done and undone."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from edge_sharpzo.album import files
from edge_sharpzo.album.carrying import Carried, carry_out
from edge_sharpzo.album.errors import NotThereError
from edge_sharpzo.album.journal import Entry, Journal
from edge_sharpzo.album.lock import AlbumLock
from edge_sharpzo.album.operations import Operation
from edge_sharpzo.album.plan import Plan
from edge_sharpzo.album.settings import Settings
from edge_sharpzo.photos.scan import ASIDE_FOLDER, OWN_FOLDER
from edge_sharpzo.system.errors import UserError, os_errors_told
from edge_sharpzo.system.text import counted

INCOMING = "incoming"


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

    step: Step | None  # None: there was nothing to do, or nothing could be done
    told: list[str]  # what could not be done, and why
    # Photos to be added that were not, by their paths in the folder, and why.
    left: Mapping[str, str] = field(default_factory=dict)


class OpenFolder:
    """What an album is made of, whichever steps there are."""

    def __init__(self, root: Path, address: str = ""):
        """Locks the folder `root`, finishes a step that a dead process began, clears its leftovers.

        `address` is told to others that try. Raises InUseError, and UserError where `root` is no
        folder or cannot be written to.
        """
        self.root, self._guard = root.absolute(), RLock()
        self.changes = 0  # made here since it was opened
        self._own = self.root / OWN_FOLDER
        self.told: list[str] = []  # of the opening: a step finished, a journal that was damaged
        self._check()
        try:
            self._own.mkdir(exist_ok=True)
            (self._own / INCOMING).mkdir(exist_ok=True)
            self._lock = AlbumLock(self._own)
            try:
                self._lock.announce(address)
                self._settings = Settings(self._own)
                self._journal = Journal(self._own)
                files.flush_folders([self.root, self._own])
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EINVAL, errno.EISDIR):
                raise UserError(
                    f"{error.filename} is a link, or no file: move it away", field="data"
                ) from error
            raise UserError(
                f"cannot write to {self._own} ({error.strerror}): the station needs a folder that "
                "it may change",
                field="data",
            ) from error
        self._recover()

    def _check(self) -> None:
        if not self.root.is_dir():
            raise UserError(
                f"{self.root} is not a folder: give `data` a folder for photos, with a subfolder "
                "for each class or empty",
                field="data",
            )
        for place in (self._own, self._own / INCOMING, self.root / ASIDE_FOLDER):
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise UserError(f"{place} is no folder, or a link to one: move it away", "data")

    def _recover(self) -> None:
        """What a process that died left behind."""
        self._finish()
        if self._journal.damaged:
            self.told.append(
                f"{counted(self._journal.damaged, 'line')} of the journal in {self._own} cannot be "
                "read: those steps can't be undone"
            )
        for left in (self._own / INCOMING).iterdir():
            with suppress(OSError):
                files.drop(left)

    def _finish(self) -> None:
        """Whatever of a step that was cut short was done, all of it is done now."""
        if entry := self._journal.unfinished:
            carried = self._carry_out(entry, self._journal.operations(entry))
            what = "could not be finished" if entry.is_void else "is finished"
            self.told += [f"a step that was cut short {what}: {entry.text}", *carried.told]
            self.told += [f"{path}: {why}" for path, why in carried.left.items()]

    def close(self) -> None:
        """Lets others open the folder."""
        with self._guard:
            self._journal.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """One thread at a time. Raises UserError for what the system refuses."""
        with self._guard, os_errors_told():
            yield

    def announce(self, address: str) -> None:
        """Has others that try to open the folder told of `address`."""
        self._lock.announce(address)

    def undo(self) -> Outcome:
        """Undoes the newest step that is not undone; photos that it added are set aside.

        Raises NotThereError where there is none.
        """
        with self._busy():
            if (found := self._journal.to_undo()) is None:
                raise NotThereError("there is no step to undo")
            step, last = found
            plan = self._reversed(last)
            plan.remove_emptied_aside()
            return self._write(f"undone: {step.text}", plan, undoes=step.id)

    def redo(self) -> Outcome:
        """Does the step again that was undone last. Raises NotThereError where there is none."""
        with self._busy():
            if (found := self._journal.to_redo()) is None:
                raise NotThereError("there is no step to do again")
            step, last = found
            plan = self._reversed(last)
            return self._write(f"done again: {step.text}", plan, redoes=step.id)

    def can_undo(self) -> str | None:
        """The text of the step that `undo` would undo."""
        found = self._journal.to_undo()
        return found[0].text if found else None

    def can_redo(self) -> str | None:
        """The text of the step that `redo` would do again."""
        found = self._journal.to_redo()
        return found[0].text if found else None

    def history(self) -> list[Step]:
        """Every step but undoing and doing again, oldest first."""
        with self._busy():
            done = self._journal.done_ids()
            return [_step(entry, entry.id not in done) for entry in self._journal.steps]

    def _reversed(self, entry: Entry) -> Plan:
        operations = enumerate(self._journal.operations(entry))
        plan = Plan(self.root)
        plan.reverse(each for place, each in operations if place not in entry.skipped)
        return plan

    def _write(
        self, text: str, plan: Plan, undoes: int | None = None, redoes: int | None = None
    ) -> Outcome:
        """The step goes into the journal and is done."""
        self._finish()
        entry = self._journal.begin(text, plan.operations, undoes, redoes)
        carried = self._carry_out(entry, plan.operations)
        step = None if entry.is_void else _step(entry, undone=False)
        return Outcome(step, [*plan.told, *carried.told], carried.left)

    def _carry_out(self, entry: Entry, operations: Sequence[Operation]) -> Carried:
        self.changes += 1
        carried = carry_out(entry, operations, self.root, self._settings)
        self.changes += 1  # who has looked meanwhile has seen a part
        self._journal.end(entry, sorted(carried.skipped), carried.text)
        return carried


def _step(entry: Entry, undone: bool) -> Step:
    return Step(entry.id, entry.time, entry.text, undone)
