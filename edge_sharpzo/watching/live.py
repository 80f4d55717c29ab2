"""Pictures of what does not end, a camera or a stream: always the newest, and again after trouble.

A thread reads all the time, since a stream that nobody reads from grows stale.
"""

import time
from collections.abc import Callable, Iterator
from threading import Condition, Thread

import numpy as np

from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import first_line
from edge_sharpzo.watching.sources import Frame, Frames
from edge_sharpzo.watching.trouble import Trouble

BEAT = 1.0  # seconds after which there is a moment for other things
STALLED = 15.0  # seconds without a picture, after which that is told
NO_PICTURE = "it gives no picture for {:.0f} s"
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a source is opened again
FAREWELL = 1.0  # seconds at the end for the thread; one that hangs ends with the process

# For each picture that comes, how to get it: that is not called where nobody wants it. It gives
# uint8 RGB [H, W, 3], or None where there is none after all. Raises UserError.
Picture = Callable[[], np.ndarray | None]
Open = Callable[[], Iterator[Picture]]


def live_frames(opened: Open, name: str, every: float, tell: Tell) -> Frames:
    """The newest picture, at most once in `every` seconds.

    Raises UserError where there is no first one; what fails later is opened again.
    """
    reader, number, due = _Reader(opened), 0, 0.0
    since, pause = time.monotonic(), SHORTEST_PAUSE  # since the last good moment
    trouble = Trouble(tell)
    try:
        while True:
            if (left := due - time.monotonic()) > 0:
                time.sleep(min(left, BEAT))
                yield None
                continue
            try:
                found = reader.next()
            except UserError as error:
                if not number:
                    raise _at_the_start(error, name) from None
                trouble.begin(f"{name}: {error}. It is opened again, and again")
                due = time.monotonic() + pause
                pause = min(2 * pause, LONGEST_PAUSE)
                reader.close()
                reader = _Reader(opened)
                continue
            now = time.monotonic()
            if found is None:
                if now - max(since, reader.seen) > STALLED:
                    if not number:
                        raise _at_the_start(UserError(NO_PICTURE.format(STALLED)), name)
                    trouble.begin(f"{name}: {NO_PICTURE.format(STALLED)}. It is waited for")
                yield None
                continue
            trouble.end(f"{name} is back after {now - since:.0f} s")
            number += 1
            since, pause, due = now, SHORTEST_PAUSE, now + every
            yield Frame(number, name, found)
    finally:
        reader.close()


def _at_the_start(error: UserError, name: str) -> UserError:
    """With the source and a cure, where it has none yet."""
    if error.field:
        return error
    return UserError(f"{name}: {error}: look at it, or give another `source`", field="source")


class _Reader:
    """The thread that reads, and the one picture that is wanted of it."""

    def __init__(self, opened: Open):
        self.seen = time.monotonic()  # when it last read anything, be it no picture
        self._opened, self._ended = opened, False
        self._turn = Condition()  # of the two that follow
        self._is_wanted = True
        self._found: np.ndarray | UserError | None = None
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def next(self) -> np.ndarray | None:
        """The next picture that comes; None where none does in a while. Raises UserError."""
        with self._turn:
            if self._found is None:
                self._is_wanted = True
                self._turn.wait(BEAT)
            found, self._found = self._found, None
            self._turn.notify()
        if isinstance(found, UserError):
            raise found
        return found

    def close(self) -> None:
        """Ends the thread, if it can."""
        with self._turn:
            self._ended = True
            self._turn.notify()
        self._thread.join(FAREWELL)

    def _read(self) -> None:
        well = 0.0  # when there was the last picture, or nobody wanted one
        try:
            for get in self._opened():
                if self._ended:
                    return
                self.seen = time.monotonic()
                is_wanted = self._is_wanted
                picture = get() if is_wanted else None
                if picture is not None:
                    self._give(picture)
                if picture is not None or not is_wanted or not well:
                    well = self.seen
                elif self.seen - well > STALLED:  # much comes, and none of it can be decoded
                    raise UserError(NO_PICTURE.format(STALLED))
            self._give(UserError("it has ended"))
        except UserError as error:
            self._give(error)
        except Exception as error:  # whatever a driver raises, it is opened again
            self._give(UserError(first_line(error, 200)))

    def _give(self, found: np.ndarray | UserError) -> None:
        with self._turn:
            # An end does not take the place of a last picture, which may be the only one.
            self._turn.wait_for(lambda: self._found is None or self._ended)
            self._found, self._is_wanted = found, False
            self._turn.notify()
