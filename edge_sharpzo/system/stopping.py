"""How a caller asks a run to stop: at moments when nothing is lost by it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, Self

from edge_sharpzo.system.errors import Cancelled


class Stop(Protocol):
    """A wish to stop that may come at any moment. A context manager around the time it is heeded.

    `StopWhen` asks a function; the command line has one that listens to signals.
    """

    def __enter__(self) -> Self:
        """From now on a wish is remembered."""
        ...

    def __exit__(self, *error: object) -> None:
        """The end of that time."""
        ...

    def interruptible(self) -> AbstractContextManager[None]:
        """Raises Cancelled for a wish that came before; one that comes within it may, too."""
        ...


class StopWhen:
    """Stops when a function says so; it is asked between two steps."""

    def __init__(self, wished: Callable[[], bool] = lambda: False):
        """`wished` is called from the thread that tunes, often: it must answer at once."""
        self._wished = wished

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """See `Stop`."""
        if self._wished():
            raise Cancelled
        yield
