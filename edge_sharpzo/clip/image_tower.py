"""Image features of photos, decoded ahead while the tower computes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from edge_sharpzo.clip.card import ModelCard
from edge_sharpzo.clip.images import (
    MAX_BYTES,
    Photo,
    UnreadableImageError,
    load_image,
    preprocess,
)
from edge_sharpzo.clip.sketch import sketch
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit, return_freed_memory

if TYPE_CHECKING:
    from edge_sharpzo.clip.session import TowerSession

AHEAD = 8  # photos decoded ahead of the tower, while it computes
SHARE = 2  # the tower and the decoding of the next photos have half of what is left each


class Seen(NamedTuple):
    """A photo as the tower sees it."""

    place: int  # of the photo in the list
    features: np.ndarray  # L2-normalised [D], float32
    sketch: np.ndarray  # [SKETCH], uint8, see `clip.sketch`


class ImageTower:
    """Maps photos to L2-normalised features. Its session opens at the first photo.

    A context manager: leaving it closes the session and gives its memory back. One thread may use
    it at a time.
    """

    def __init__(
        self,
        open_session: "Callable[[], TowerSession]",
        card: ModelCard,
        memory: MemoryLimit,
    ):
        """Use `ClipOnnx.image_tower`. `memory` limits what photos are decoded."""
        self._open, self._card, self._memory = open_session, card, memory
        self._session: TowerSession | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._session = None
        return_freed_memory()

    def encode(
        self,
        photos: Sequence[Photo],
        skipped: Callable[[int, str], object],
        progress: Callable[[int], object] = lambda done: None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features [N, D], float32, and which photos could be read [N], bool.

        A photo that cannot be read has a row of zeros; `skipped` hears its index and the reason.
        `progress` hears how many photos are done, after each of them.
        """
        features = np.zeros((len(photos), self._card.feature_dim), np.float32)
        readable = np.zeros(len(photos), bool)
        for seen in self.each(photos, skipped, progress):
            features[seen.place], readable[seen.place] = seen.features, True
        return features, readable

    def encode_all(self, photos: Sequence[Photo]) -> np.ndarray:
        """Features [N, D], float32. Raises UserError for a photo that cannot be read."""

        def refuse(index: int, reason: str) -> None:
            photo = photos[index]
            name = photo if isinstance(photo, str | Path) else f"photo {index}"
            raise UserError(f"cannot read {name}: {reason}")

        return self.encode(photos, refuse)[0]

    def each(
        self,
        photos: Sequence[Photo],
        skipped: Callable[[int, str], object],
        progress: Callable[[int], object] = lambda done: None,
    ) -> Iterator[Seen]:
        """What `encode` returns, photo by photo, as soon as it is known.

        One photo in a call, whatever the tower: in integers all that share a call are rounded with
        one scale, and a photo's features would depend on its neighbours.
        """
        if not photos:
            return
        if self._session is None:
            self._session = self._open()
        waiting: list[tuple[int, np.ndarray]] = []
        for index, values in enumerate(self._prepared(photos)):
            if isinstance(values, str):
                skipped(index, values)
            else:
                waiting.append((index, values))
            if len(waiting) == self._session.at_once or index + 1 == len(photos):
                yield from self._encoded(self._session, waiting, skipped)
                waiting = []
            progress(index + 1)

    def _encoded(
        self,
        session: "TowerSession",
        prepared: Sequence[tuple[int, np.ndarray]],
        skipped: Callable[[int, str], object],
    ) -> Iterator[Seen]:
        """Photos whose place in the list and pixel values [3, H, W] are known."""
        calls = [{"pixel_values": values[None]} for _, values in prepared]
        for (index, values), rows in zip(prepared, session.run_all(calls), strict=True):
            if np.isfinite(rows).all():
                yield Seen(index, rows[0], sketch(values, self._card.image))
            else:
                skipped(index, "the image tower makes no finite numbers of it")

    def _prepared(self, photos: Sequence[Photo]) -> Iterator[np.ndarray | str]:
        """Each photo's pixel values [3, H, W], or why it cannot be used.

        A thread decodes up to `AHEAD` photos ahead.
        """
        card = self._card.image
        most_bytes = self._memory.fitting(MAX_BYTES, SHARE)

        def prepare(photo: Photo) -> np.ndarray | str:
            try:
                return preprocess(load_image(photo, most_bytes), card, most_bytes)
            except UnreadableImageError as error:
                return str(error)

        with ThreadPoolExecutor(1) as pool:
            waiting = deque(pool.submit(prepare, photo) for photo in photos[:AHEAD])
            following = iter(photos[AHEAD:])
            try:
                while waiting:
                    yield waiting.popleft().result()
                    if (photo := next(following, None)) is not None:
                        waiting.append(pool.submit(prepare, photo))
            finally:
                pool.shutdown(cancel_futures=True)
