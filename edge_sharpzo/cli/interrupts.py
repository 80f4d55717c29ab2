"""Ctrl-C, SIGTERM and a closed terminal end a command; a search between two steps, never in one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, Self

from edge_sharpzo.system.errors import Cancelled

HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # a terminal closes; Windows has no such signal


class Asked(Protocol):
    """Who hears of signals in place of a KeyboardInterrupt."""

    def ask(self) -> None:
        """A signal has come."""
        ...


class Signals:
    """Within it, each of the signals raises KeyboardInterrupt; `nohup` is heeded."""

    def __init__(self) -> None:
        self.search: Asked | None = None  # who hears of signals while it goes on
        self._ending = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in {signal.SIGINT, signal.SIGTERM, HANGUP}:
            previous = signal.getsignal(number)
            if not (number == HANGUP and previous == signal.SIG_IGN):  # `nohup`
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._ending:  # the process goes: the rest of its way is quiet
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, _: int, __: FrameType | None) -> None:
        if self._ending:
            return
        if self.search is None:
            raise KeyboardInterrupt
        self.search.ask()

    def end(self) -> None:
        """From now on signals are dropped: what is left to be said is said."""
        self._ending = True


class Interrupts:
    """A `Stop` by signals: they raise Cancelled where it is interruptible, and wait elsewhere."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._asked = self._open = False

    def __enter__(self) -> Self:
        self._signals.search = self
        return self

    def __exit__(self, *error: object) -> None:
        self._signals.search = None

    def ask(self) -> None:
        """A signal has come."""
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
