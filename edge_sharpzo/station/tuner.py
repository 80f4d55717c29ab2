"""Tunes the prompt behind the page, as the command `tune` does and into the same run folder."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread

from edge_sharpzo import api
from edge_sharpzo.album import Album
from edge_sharpzo.events import Event, TuningStarts
from edge_sharpzo.photos.scan import OWN_FOLDER
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.station.learner import Learner
from edge_sharpzo.station.look import Look, MadeOf
from edge_sharpzo.station.progress import Progress, TuneState
from edge_sharpzo.station.run_state import RunFolder, RunState
from edge_sharpzo.system.errors import Cancelled, UserError

_DEFAULTS = vars(TuneOptions())
AUTO = "learns-by-itself"  # a file that is there where it does
QUIET = 30.0  # seconds without a change, after which it tunes by itself where that is wished


class _ChangedError(Exception):
    """Photos changed while they were read."""


class Tuner:
    """One tuning at a time, in a thread of its own."""

    def __init__(
        self,
        album: Album,
        learner: Learner,
        options: Callable[[], TuneOptions],
        run: Path,
        look_now: Callable[[], Look | None],
        log: Callable[[str], object],
    ):
        """`options` gives those of a new run on the album as it is now; `log` hears of failures.

        `look_now` gives the look of the album as it is, where it is learnt.
        """
        self._log, self._told_of = log, ""
        self._album, self._learner, self._options = album, learner, options
        self.folder, self._look_now = RunFolder(run), look_now
        self._auto = album.root / OWN_FOLDER / AUTO
        self._lock, self._stop, self._closing = Lock(), Flag(), Flag()
        self._now: TuneState | None = None  # of the last one, where there was one
        self._left = RunState()  # what that one left
        self._stopped_on: MadeOf | None = None  # what it does not learn by itself
        self._progress = Progress()
        self._thread: Thread | None = None
        self._watcher = Thread(target=self._watch, name="auto", daemon=True)

    @property
    def auto(self) -> bool:
        """Whether it tunes by itself when photos changed, also after the station's next start."""
        return self._auto.exists()

    @auto.setter
    def auto(self, on: bool) -> None:
        if on:
            self._auto.touch()
        else:
            self._auto.unlink(missing_ok=True)

    def start(self) -> None:
        """From now on it tunes by itself where that is wished."""
        self._watcher.start()

    def close(self) -> None:
        """Ends a tuning as `stop` does, and waits until its checkpoint is written."""
        self._closing.set()
        self._stop.set()
        for thread in (self._thread, self._watcher):
            if thread and thread.is_alive():
                thread.join()

    @property
    def goes_on(self) -> bool:
        """Whether it tunes."""
        return self._thread is not None and self._thread.is_alive()

    def state(self) -> TuneState:
        """How far it is; without a tuning here, what the run folder holds."""
        if self.goes_on:
            return self._progress.state()
        if self.folder.is_elsewhere():
            return TuneState("elsewhere", why="another process tunes into the run folder")
        with suppress(UserError, OSError):  # it is told when the next one is to begin
            self.folder.adopt()  # where the command has ended what was begun here
        run, look, last = self.folder.state(), self._learner.look, self._now
        up_to_date = run.finished and run.is_of(self._look_now())
        run, begun = self.folder.begun_state(), self.folder.begun
        state = "done" if run.finished else "idle"
        why = run.why
        if last and last.state == "failed" and run is self._left:  # not changed since
            state, why = "failed", last.why
        why_not = _why_not_resumable(run, look)
        return TuneState(
            state,
            run.queries,
            history=run.history,
            why=why,
            told=last.told if last and look and look.version == self._told_of else [],
            stopped=begun if run.can_resume else None,
            resumable=run.can_resume and why_not is None,
            why_not_resumable=why_not,
            up_to_date=up_to_date,
        )

    def begin(self, again: bool = False) -> None:
        """Tunes, or goes on with what was stopped; `again`: from the beginning in any case.

        Raises UserError where one goes on already.
        """
        with self._lock:
            if self._closing.is_set():
                raise UserError("the station is ending")
            if self.goes_on:
                raise UserError("a tuning goes on: stop it first, or wait for it")
            if self.folder.is_elsewhere():
                raise UserError(
                    f"another process tunes into {self.folder.begun}: wait for it, or end it"
                )
            self._stop.clear()
            self._stopped_on = None
            self._now, self._progress = None, Progress()
            self._thread = Thread(target=self._tune, args=(again,), name="tuner", daemon=True)
            self._thread.start()

    def stop(self) -> bool:
        """Asks a tuning to stop at its next step, with a checkpoint; whether there is one."""
        self._stop.set()
        self._stopped_on = self._learner.look.made_of if self._learner.look else None
        return self.goes_on

    def _tune(self, again: bool) -> None:
        progress = self._progress
        try:
            if why := self._learner.settled(self._stop.is_set):
                raise UserError(why)
            self.folder.adopt()
            try:
                self._tune_into_folder(again, progress)
            finally:
                progress.told += self.folder.adopt()
        except Cancelled:
            pass  # before the search began: nothing is lost
        except UserError as error:
            self._now = TuneState("failed", why=_for_the_page(str(error)))
        except MemoryError:
            self._now = TuneState("failed", why="memory ran out: take fewer photos")
        except OSError as error:
            self._now = TuneState("failed", why=f"cannot tune: {error.strerror or error}")
        except Exception as error:  # whatever it is, the page goes on and says so
            self._now = TuneState("failed", why=f"tuning failed ({type(error).__name__}: {error})")
        if self._now and self._now.why:
            self._log(f"learning failed: {self._now.why}")
        told = self._now.told if self._now else []
        self._now = replace(self._now or TuneState("idle"), told=[*progress.told, *told])
        self._left = self.folder.begun_state()

    def _tune_into_folder(self, again: bool, progress: Progress) -> None:
        run, look = self.folder.state(), self._learner.look
        self._told_of = look.version if look else ""
        is_stopped = self.folder.begun_state().can_resume
        if not again and run.finished and run.is_of(look) and not is_stopped:
            progress.told.append("the run is of these photos already: nothing has changed")
            return
        begun = self.folder.begun_state()
        same = look and begun.made_of and begun.made_of.is_called_as(look.made_of)
        if begun.has_checkpoint:
            same = same and _why_not_resumable(begun, look) is None
        if begun.can_resume and same and not again:
            try:
                progress.history = list(begun.history)
                begun_in = self.folder.begun
                self._run(progress, begun_in, resume=begun_in)
            except UserError as error:
                if error.field != "resume":
                    raise
                progress.told.append(str(error))
            else:
                return
        self._begin_anew(progress)

    def _begin_anew(self, progress: Progress) -> None:
        """A run of the album as it is now, in a folder of its own."""
        progress.history = []
        place, told = self.folder.place()
        progress.told += told
        overwrite = False
        while True:
            version = self._album.teaches()
            chosen = vars(self._options())
            given = {name: value for name, value in chosen.items() if value != _DEFAULTS[name]}
            try:
                self._run(progress, place, version, overwrite=overwrite, **{**given, "out": place})
            except _ChangedError:
                overwrite = True  # no query of that one is spent
                if why := self._learner.settled(self._stop.is_set):
                    raise UserError(why) from None
            else:
                return

    def _run(
        self, progress: Progress, place: Path, version: str | None = None, **asked: object
    ) -> None:
        """One call of `tune` for `place`; a new run is of one `version` of the album, or none."""

        def hear(event: Event) -> None:
            if isinstance(event, TuningStarts) and version not in (None, self._album.teaches()):
                raise _ChangedError
            progress.hear(event)

        made = api.tune(on_progress=hear, cancelled=self._stop.is_set, **asked)  # type: ignore[arg-type]
        if made.folder != place:
            told = self.folder.brought_back(made.folder, place)
            self._log(f"{made.folder}: {told}")
            progress.told.append(told)

    def _watch(self) -> None:
        """Begins by itself once photos have changed and then stayed as they are."""
        seen, since, tried = None, time.monotonic(), None
        while not self._closing.wait(min(1.0, QUIET)):
            look = self._learner.look if self._learner.state.state == "ready" else None
            version = look.made_of if look else None
            if version != seen:
                seen, since = version, time.monotonic()
            still = time.monotonic() - since >= QUIET
            if not (self.auto and still and look) or self.goes_on:
                continue
            if version in (tried, self._stopped_on):
                continue
            try:
                if self.folder.state().made_of != look.made_of or not self.folder.state().finished:
                    self.begin()
            except UserError:
                continue  # another process tunes: it is tried again
            tried = version


def _why_not_resumable(run: RunState, look: Look | None) -> str | None:
    """Why a stopped run would begin anew; None where it goes on, or there is none."""
    if not run.can_resume:
        return None
    if not run.has_checkpoint:
        if run.has_results:
            return "its folder was lost on the way, so that no checkpoint was kept"
        return "nothing was kept of it yet"
    if look is None or run.made_of is None:
        return "the photos as they are now are not learnt yet"
    if not run.made_of.is_called_as(look.made_of):
        return "classes, their names or the words have changed since"
    if run.made_of != look.made_of:
        return "photos have changed since, or how many of them teach"
    return None


def _for_the_page(text: str) -> str:
    """What to press, or to give the station, where a message says what to type."""
    text = text.replace("choose another `out`", "start the station with another --run")
    return re.sub(r"(and|then) go on with `resume=[^`]*`", r"\1 press Learn again", text)
