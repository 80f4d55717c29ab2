"""The one image tower of the station: open while it is used, closed soon after."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import RLock, Timer
from typing import Any, Self

from edge_sharpzo.clip.image_tower import ImageTower, Seen
from edge_sharpzo.clip.images import Photo
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.towers import Tower

IDLE = 30.0  # seconds without use after which its memory is given back
AT_ONCE = 2  # photos between which another thread may come in


class Eyes(ImageTower):
    """An image tower that threads share, a few photos at a time.

    It opens at the first photo and closes by itself. Who asks for one photo waits for no more than
    `AT_ONCE` of somebody else's.
    """

    def __init__(self, clip: Clip, idle: float = IDLE):
        super().__init__(lambda: clip.session(Tower.IMAGE, True), clip.card, clip.memory)
        self._idle, self._lock = idle, RLock()
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass  # others may be about to use it

    @property
    def is_open(self) -> bool:
        """Whether it holds its memory."""
        return self._session is not None

    def each(
        self,
        photos: Sequence[Photo],
        skipped: Callable[[int, str], object],
        progress: Callable[[int], object] = lambda done: None,
    ) -> Iterator[Seen]:
        """See `ImageTower`."""
        for first in range(0, len(photos), AT_ONCE):
            with self._lock:
                self._stay()
                found = list(
                    super().each(
                        photos[first : first + AT_ONCE],
                        partial(_behind, skipped, first),
                        partial(_behind, progress, first),
                    )
                )
                self._stay()
            yield from (seen._replace(place=first + seen.place) for seen in found)

    def close(self) -> None:
        """Gives its memory back; it opens again when it is needed."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            super().__exit__()

    def _stay(self) -> None:
        """It is used now: the time until it closes begins anew."""
        if self._timer:
            self._timer.cancel()
        self._timer = Timer(self._idle, self.close)
        self._timer.daemon = True
        self._timer.start()


def _behind(hears: Callable[..., object], first: int, number: int, *more: Any) -> None:
    """Tells of a photo by its number among all."""
    hears(first + number, *more)
