"""Ctrl-C and SIGTERM end a run between two steps of the method, never within one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Within it the two signals raise KeyboardInterrupt where `allowed` says so, and are remembered elsewhere."""

    def __init__(self) -> None:
        self._asked = self._open = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, _: int, __: FrameType | None) -> None:
        self._asked = True
        if self._open:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raises KeyboardInterrupt for a signal that came before, or comes within."""
        if self._asked:
            raise KeyboardInterrupt
        self._open = True
        try:
            yield
        finally:
            self._open = False
