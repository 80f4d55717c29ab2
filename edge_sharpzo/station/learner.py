"""Keeps up with the photos: as they change, heads are fitted anew and a new look is taken.

That takes a second, since nothing is computed twice: features of photos lie in the cache, and those
of texts, the tokenizer's work and the digests of files stay here while classes and template do.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread
from typing import NamedTuple

import numpy as np

from edge_sharpzo.album import Album, Contents
from edge_sharpzo.album.contents import TRAIN
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.events import Event, Note, PhotosEncoded
from edge_sharpzo.photos.digests import Digests
from edge_sharpzo.photos.draw import missing_note
from edge_sharpzo.photos.features import Kept
from edge_sharpzo.photos.found import FewClassesError, find_photos
from edge_sharpzo.photos.left_out import SET_ASIDE, LeftOut, grouped, of_one, told
from edge_sharpzo.pipeline import Found, Task, finish, open_task, prepare
from edge_sharpzo.pipeline.prepare import check_classes
from edge_sharpzo.pipeline.search import word_features
from edge_sharpzo.pipeline.usable import sift
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.station.eyes import Eyes
from edge_sharpzo.station.found_in import found_in
from edge_sharpzo.station.look import Look, look_at
from edge_sharpzo.system.errors import Cancelled, UserError, os_error_text
from edge_sharpzo.system.memory import return_freed_memory
from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.system.text import listed, shown

MOST_NAMED = 100  # files that were left out
LOOK_EVERY = 3.0  # seconds between two looks for changes that were made by hand
AGAIN = 30.0  # seconds after which what failed for want of something is tried again


@dataclass(frozen=True)
class LookState:
    """How far the learner is."""

    state: str  # "none": it cannot, `why`; "working"; "ready"
    version: str | None  # of the album, of the newest look
    why: str | None = None
    done: int = 0  # photos encoded, while it works
    of: int = 0


class Texts(NamedTuple):
    """What is known of the classes' names and the template."""

    task: Task
    as_written: np.ndarray  # text features [K + M, D]
    words: np.ndarray  # of other words [W, D]


class Learner:
    """A thread of its own that always learns the newest version of the album."""

    def __init__(
        self,
        album: Album,
        clip: Clip,
        options: Callable[[], TuneOptions],
        heard: Callable[[], object] = lambda: None,
    ):
        """`options` gives those of a run on the album as it is now; `heard` is told of news."""
        self._album, self._clip, self._options, self._heard = album, clip, options, heard
        self.eyes = Eyes(clip)
        self._digests: Digests = {}
        self._texts: Texts | None = None
        self._wake = Condition()
        self._asked, self._closing = True, False
        self._tried: str | None = None  # what was learnt of the album, or could not be: `_why`
        self._pause = LOOK_EVERY
        self._why: str | None = None
        self._look: Look | None = None
        self._left_out = frozenset[Path]()
        self._state = LookState("working", None)
        self._thread = Thread(target=self._work, name="learner", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Ends, between two photos at the latest."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self.eyes.close()

    def nudge(self) -> None:
        """The album may have changed."""
        with self._wake:
            self._asked = True
            self._state = replace(self._state, state="working")
            self._wake.notify_all()

    @property
    def look(self) -> Look | None:
        """The newest one."""
        return self._look

    @property
    def left_out(self) -> frozenset[Path]:
        """Files of the album that cannot be used, as of when it was learnt last, or was to be.

        Empty where that could not be told.
        """
        return self._left_out

    @property
    def state(self) -> LookState:
        """How far it is."""
        return self._state

    def settled(self, given_up: Callable[[], bool]) -> str | None:
        """Waits until the album as it is now is learnt; returns why it cannot be, or None.

        Raises Cancelled where it is `given_up`.
        """
        self.nudge()
        with self._wake:
            while self._state.state == "working":
                if given_up() or self._closing:
                    raise Cancelled
                self._wake.wait(0.1)
            return self._state.why

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._asked and not self._closing:
                    self._wake.wait(self._pause)
                self._asked = False
            if self._closing:
                return
            try:
                self._learn_what_is_new()
            except Cancelled:
                return
            return_freed_memory()
            self._settle("none" if self._why else "ready")

    def _learn_what_is_new(self) -> None:
        """A look of the album as it is, or why there can be none."""
        changes, version, self._pause = self._album.changes, None, LOOK_EVERY
        try:
            contents = self._album.contents()
            version = contents.teaches
            if version != self._tried:
                self._settle("working")
                self._look, self._why = self._looked(contents), None
            elif self._look:  # photos were set aside, or have come there
                self._look = replace(self._look, version=contents.version)
        except Cancelled:
            raise
        except Exception as error:  # whatever it is, the page goes on and says so
            self._look, self._why = None, _why(error)
            is_told = isinstance(error, UserError)
            if not is_told:
                self._left_out = frozenset()
            if not is_told or isinstance(error.__cause__, OSError):  # it may pass
                self._pause = AGAIN if version else LOOK_EVERY
                version = None
        # A step that came meanwhile may have been seen in part, and undone since.
        self._tried = version if changes == self._album.changes else None

    def _settle(self, state: str) -> None:
        """This is how far it is, unless it has been asked for more meanwhile."""
        with self._wake:
            version = self._look.version if self._look else None
            now = LookState("working" if self._asked else state, version, self._why)
            news, self._state = now != self._state, now
            self._wake.notify_all()
        if news:
            self._heard()

    def _looked(self, contents: Contents) -> Look:
        notes: list[str] = []

        def listen(event: Event) -> None:
            match event:
                case PhotosEncoded(done, total):
                    self._state = replace(self._state, done=done, of=total)
                case Note(text, True):
                    notes.append(text)

        options = self._options()
        stop = StopWhen(lambda: self._closing)
        kept = Kept(self._digests, self.eyes)
        try:
            task, as_written, words = self._texts_of(options, listen)
            prepared = prepare(task, listen, stop, kept)
        except UserError as error:  # nothing can be learnt, but files can be told from photos
            self._left_out = frozenset()
            every = found_in(contents, self._album.root)
            sifted = sift(self._clip, every, options.drop_duplicates, listen, stop, kept)
            self._left_out = frozenset(each.path for each in sifted.left_out)
            if isinstance(error, FewClassesError):
                raise UserError(_few_classes(contents, error.left_out)) from error
            raise
        nothing = np.zeros((0, self._clip.card.text.width), np.float32)
        text = as_written[: task.found.learnt]
        unused = [each for each in prepared.left_out if each.reason != SET_ASIDE]
        self._left_out = frozenset(each.path for each in unused)
        finished = finish(prepared, Found(nothing, text, text, as_written), words)
        found = task.found
        taught_alone = missing_note(
            "held-out photos",
            [n for k, n in enumerate(found.folders) if k not in prepared.splits.test.labels],
            len(found.folders),
        )
        if left_out := told(grouped(unused)):
            notes.append(left_out)
        made = look_at(prepared, finished, as_written, contents, notes)
        if not made.held_out:  # then every class has a part in the figures
            notes[:] = [note for note in notes if note not in taught_alone]
        return replace(made, left_out=self._named(unused))

    def _named(self, left_out: list[LeftOut]) -> list[tuple[str, str]]:
        """Files by their place in the folder, and why."""
        root = self._album.root
        named = []
        for each in left_out[:MOST_NAMED]:
            inside = each.path.is_relative_to(root)
            file = each.path.relative_to(root) if inside else each.path
            reason = of_one(each.reason)
            why = f"{reason}: {each.detail}" if each.detail else reason
            named.append((shown(str(file)), shown(why.replace(f"{root}/", ""))))
        return named

    def _texts_of(self, options: TuneOptions, listen: Callable[[Event], object]) -> Texts:
        """The task with the photos as they are now; texts are encoded where they are new."""
        found = find_photos(
            options.data, options.class_names, runs=[options.out] if options.out else []
        )
        if self._texts:
            old = self._texts.task
            same = (old.found.folders, old.found.names, old.found.learnt, old.options.template)
            if same == (found.folders, found.names, found.learnt, options.template):
                task = replace(old, options=options, found=found, started=time.monotonic())
                return self._texts._replace(task=task)
        task = open_task(options, listen, clip=self._clip)
        as_written = self._clip.written_features(task.template_rows)
        check_classes(task.found, as_written)
        self._texts = Texts(task, as_written, word_features(task))
        return self._texts


def _why(error: Exception) -> str:
    """Why nothing could be learnt."""
    match error:
        case UserError():
            return str(error)
        case OSError():
            return os_error_text(error)
        case MemoryError():
            return "memory ran out: take fewer photos, or a smaller model"
    return f"that failed ({type(error).__name__}: {error})"


def _few_classes(contents: Contents, left_out: str) -> str:
    """What to do on the page where fewer than two classes have photos to learn from."""
    teaching = [any(photo.part == TRAIN for photo in each.photos) for each in contents.classes]
    without = [
        f"'{shown(each.display)}'"
        for each, teaches in zip(contents.classes, teaching, strict=True)
        if not teaches
    ]
    if not any(teaching):
        return f"two classes need photos to learn from{left_out}: add them on the page Photos"
    if not without:
        only = shown(contents.classes[0].display)
        return f"there is only the class '{only}'{left_out}: make another on the page Photos"
    have = "has" if len(without) == 1 else "have"
    return (
        f"{listed(without)} {have} no photos to learn from{left_out}: add some on the page Photos"
    )
