"""The one way to the engine: opening and running a tower, with memory, time and errors in hand."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MB, MemoryLimit, thread_stack
from edge_sharpzo.system.text import first_line

if TYPE_CHECKING:
    import onnxruntime

Feeds = Mapping[str, np.ndarray]
# A session may take so much beyond the process that opens it: copies of its weights, as float32
# where they are stored in 8 bits, and what one call computes.
COPIES = 8
ROOM = {Tower.TOKENS: 200 * MB, Tower.TEXT: 1000 * MB, Tower.IMAGE: 2000 * MB}  # photos decoded too
# A call may last so long: a thousand operations for each byte of weights, at a billion a second.
SECONDS, SECONDS_PER_MB = 15.0, 1.0
# What onnxruntime says where it gets no memory.
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


class TowerSession(Protocol):
    """One tower, open somewhere."""

    @property
    def at_once(self) -> int:
        """How many calls are worth giving at once: they may run beside each other."""
        ...

    def run_all(self, calls: Sequence[Feeds], /) -> list[np.ndarray]:
        """The tower's one output, float32, for each of the calls.

        Raises UserError where that fails, or an output has another shape than the tower's.
        """
        ...


class Session:
    """One tower, open in onnxruntime. Whatever happens in there, callers get a UserError.

    A model file is untrusted: its graph may ask for any amount of memory or time and give back
    anything. A call is cut off where it takes more of either than a tower of this size can need,
    and what comes back is checked.
    """

    def __init__(
        self,
        open_session: "Callable[[], onnxruntime.InferenceSession]",
        tower: Tower,
        where: Path,
        weights: int,
        threads: int,
        shape: Callable[[Feeds], tuple[int, ...]],
        memory: MemoryLimit,
    ):
        """Opens it.

        `where` is the model file, `weights` are those of the tower in bytes, `threads` are those
        that the engine starts, `shape` says what shape the output has for some feeds. Raises
        UserError.
        """
        self._what, self._shape, self._memory = f"the {tower} tower of {where}", shape, memory
        self._room = ROOM[tower] + COPIES * weights
        self._seconds = SECONDS + SECONDS_PER_MB * weights / MB
        with self._errors("open", idle=threads * thread_stack()):
            self._session = open_session()

    def run(self, outputs: None, feeds: Feeds) -> list[np.ndarray]:
        """The tower's one output, float32, in a list, as onnxruntime's sessions return it.

        Raises UserError where the engine fails, takes too much memory or time, or gives an output
        of another shape than the tower's.
        """
        import onnxruntime

        options, done = onnxruntime.RunOptions(), Event()
        with self._errors("run"):
            Thread(target=_watch, args=(options, done, self._seconds), daemon=True).start()
            try:
                (found,) = self._session.run(outputs, dict(feeds), options)
            finally:
                done.set()
            self._check(found, self._shape(feeds))
        return [found]

    at_once = 1

    def run_all(self, calls: Sequence[Feeds]) -> list[np.ndarray]:
        """See `TowerSession`; one call after the other."""
        return [self.run(None, feeds)[0] for feeds in calls]

    def get_inputs(self) -> list[Any]:
        """What onnxruntime says of the tower's inputs: `name`, `shape`, `type`."""
        made: list[Any] = self._session.get_inputs()
        return made

    def _check(self, found: Any, shape: tuple[int, ...]) -> None:
        if not isinstance(found, np.ndarray) or (found.dtype, found.shape) != (np.float32, shape):
            given = getattr(found, "shape", type(found).__name__)
            raise UserError(
                f"{self._what} does not do what its card says (it gives {given}, "
                f"expected {shape}): export the model again"
            )

    @contextmanager
    def _errors(self, verb: str, idle: int = 0) -> Iterator[None]:
        """Raises UserError for whatever the engine raises, in the memory that the tower may take.

        And `idle` bytes more that are asked for and not used.
        """
        try:
            with self._memory.kept(self._room, idle):
                yield
        except UserError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class
            text = first_line(error, 200)
            if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
                raise self._too_large() from error
            if "terminate flag" in str(error):
                text = f"it was still busy after {self._seconds:.0f} s"
            raise UserError(
                f"onnxruntime cannot {verb} {self._what}: {text}. Export the model again, or take "
                "another"
            ) from error

    def _too_large(self) -> UserError:
        if self._memory.mb is None:
            return UserError(
                f"{self._what} needs more memory than this machine has left, or than a model of "
                "its size can need: free some, or take another model"
            )
        return UserError(
            f"`max_memory={self._memory.mb}` is too little for {self._what}: allow more, or take "
            "another model",
            field="max_memory",
        )


def _watch(options: "onnxruntime.RunOptions", done: Event, seconds: float) -> None:
    """Ends a call that has been busy for so long; a process that was stopped was not."""
    began = time.process_time()
    while not done.wait(seconds):
        if time.process_time() - began >= seconds:
            options.terminate = True
            return
