"""Ctrl-C and SIGTERM end a run between two steps of the method, never within one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from edge_sharpzo.system.errors import Cancelled


class Interrupts:
    """A `Stop` by signals: they raise Cancelled where it is interruptible, and wait elsewhere."""

    def __init__(self) -> None:
        self._asked = self._open = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, _: int, __: FrameType | None) -> None:
        self._asked = True
        if self._open:
            raise Cancelled

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raises Cancelled for a signal that came before, or comes within."""
        if self._asked:
            raise Cancelled
        self._open = True
        try:
            yield
        finally:
            self._open = False


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Within it, SIGTERM ends a command as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
