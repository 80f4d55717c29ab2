"""The classifier of a run's folder, which is taken anew when the folder gets another one."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np

from edge_sharpzo.classify import Classifier
from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.runs.lock import is_locked
from edge_sharpzo.runs.records import SUMMARY, Summary
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import return_freed_memory

EVERY = 1.0  # seconds between two looks
Stamp = tuple[int, int, int]


class Reloader:
    """Has the classifier of `folder` as it is; `look` swaps it for a newer one.

    A run writes its summary last, so that where a new one is, all else is there too. It is loaded
    beside the old one, in a thread, and taken between two frames.
    """

    def __init__(self, folder: Path, load: Callable[[], Classifier], tell: Tell):
        """Raises UserError where there is no classifier to begin with."""
        self._folder, self._load, self._tell = folder.absolute(), load, tell
        self._stamp = _stamp(self._folder)
        self.classifier = load()
        self._looked = time.monotonic()
        self._thread: Thread | None = None
        self._loaded: Classifier | UserError | None = None

    def look(self) -> bool:
        """Whether `classifier` is another one from now on. To be called between two frames."""
        if self._thread is not None:
            return not self._thread.is_alive() and self._taken()
        if time.monotonic() - self._looked < EVERY:
            return False
        self._looked = time.monotonic()
        if (now := _stamp(self._folder)) == self._stamp:
            return False
        self._stamp = now
        if now is None:
            learning = is_locked(self._folder)  # a new run begins by clearing the old one away
            what = "is being tuned into" if learning else "holds no finished run any more"
            self._tell(
                f"{self._folder} {what}: the classifier that is loaded stays until there is a new "
                "one",
                not learning,
            )
            return False
        self._thread = Thread(target=self._prepare, daemon=True)
        self._thread.start()
        return False

    def _prepare(self) -> None:
        """Loads what is there; the model is the one that is open, where it is the run's still."""
        try:
            Summary.read(self._folder)
            try:
                self._loaded = self.classifier.renewed()
            except UserError:
                fresh = self._load()
                blank = np.zeros((32, 32, 3), np.uint8)
                fresh.encode([blank], lambda index, why: None)  # opens it before it is waited for
                self._loaded = fresh
        except UserError as error:
            self._loaded = error

    def _taken(self) -> bool:
        """Takes what was loaded, if it is a classifier."""
        loaded, self._loaded, self._thread = self._loaded, None, None
        if isinstance(loaded, Classifier):
            self.classifier = loaded
            return_freed_memory()
            self._tell(f"{self._folder} has a new classifier, which answers from here on", False)
            return True
        self._tell(f"the new classifier cannot be used, the old one stays: {loaded}", True)
        return False


def _stamp(folder: Path) -> Stamp | None:
    """What changes when a run writes its summary; None where there is none."""
    try:
        found = (folder / SUMMARY).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
