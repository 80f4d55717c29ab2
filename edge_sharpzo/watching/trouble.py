"""Trouble is told once, also where it comes and goes all the time."""

import time
from threading import Lock

from edge_sharpzo.engines.spread import Tell

HELD = 10.0  # seconds without it, after which it is over


class Trouble:
    """What is wrong with something that mends itself; several threads may say so.

    A camera that is there for a moment, again and again, would else fill a log with two lines each.
    """

    def __init__(self, tell: Tell):
        self._tell, self._lock = tell, Lock()
        self._told = ""
        self._well: tuple[float, str] | None = None  # since when, and what to tell of it

    @property
    def is_told(self) -> bool:
        """Whether there is some, or was until a moment ago."""
        return bool(self._told)

    def begin(self, text: str, is_other: bool = False) -> None:
        """It is there; told unless some is told already that is not over.

        `is_other` is what has to be known beside that: it is told unless it was the last.
        """
        with self._lock:
            self._well = None
            if not self._told or (is_other and text != self._told):
                self._told = text
                self._tell(text, True)

    def end(self, text: str, is_warning: bool = False) -> bool:
        """All is well; to be said again and again, for it is over only when that has held on.

        What is told then is the `text` of the first time. Says whether it was told.
        """
        with self._lock:
            if not self._told:
                return False
            since, text = self._well = self._well or (time.monotonic(), text)
            if time.monotonic() - since < HELD:
                return False
            self._told, self._well = "", None
            self._tell(text, is_warning)
            return True
