"""Image features of photos, decoded ahead while the tower computes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

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
    from edge_sharpzo.clip.session import Session

BATCH = 4  # photos in one call: more are no faster and hold more memory
AHEAD = 2 * BATCH  # photos decoded ahead of the tower, while it computes
PHOTO_BYTES = 40_000_000  # that a photo takes in a large image tower
SHARE = 2  # the tower and the decoding of the next photos have half of what is left each


class ImageTower:
    """Maps photos to L2-normalised features. Its session opens at the first photo.

    A context manager: leaving it closes the session and gives its memory back. One thread may use
    it at a time.
    """

    def __init__(
        self,
        open_session: "Callable[[], Session]",
        card: ModelCard,
        memory: MemoryLimit,
    ):
        """Use `ClipOnnx.image_tower`. `memory` limits how many photos are worked on at once."""
        self._open, self._card, self._memory = open_session, card, memory
        self._session: Session | None = None

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
        `progress` hears how many photos are done, after each call of the tower.
        """
        features = np.zeros((len(photos), self._card.feature_dim), np.float32)
        readable = np.zeros(len(photos), bool)
        for rows, values, _ in self.batches(photos, skipped, progress):
            features[rows], readable[rows] = values, True
        return features, readable

    def encode_all(self, photos: Sequence[Photo]) -> np.ndarray:
        """Features [N, D], float32. Raises UserError for a photo that cannot be read."""

        def refuse(index: int, reason: str) -> None:
            photo = photos[index]
            name = photo if isinstance(photo, str | Path) else f"photo {index}"
            raise UserError(f"cannot read {name}: {reason}")

        return self.encode(photos, refuse)[0]

    def batches(
        self,
        photos: Sequence[Photo],
        skipped: Callable[[int, str], object],
        progress: Callable[[int], object] = lambda done: None,
    ) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        """What `encode` returns, call by call: indices of n photos, their features [n, D].

        And their sketches [n, SKETCH], uint8.
        """
        if not photos:
            return
        if self._session is None:
            self._session = self._open()
        batch_size = self._memory.fitting(BATCH, SHARE * PHOTO_BYTES)
        ready = self._prepared(photos)
        for start in range(0, len(photos), batch_size):
            batch, pixels = [], []
            places = range(start, min(start + batch_size, len(photos)))
            # `places` first: at its end nothing is taken from `ready`.
            for index, values in zip(places, ready, strict=False):
                if isinstance(values, str):
                    skipped(index, values)
                else:
                    pixels.append(values)
                    batch.append(index)
            if batch:
                features = self._session.run(None, {"pixel_values": np.stack(pixels)})[0]
                finite = np.isfinite(features).all(axis=1)
                for index in (i for i, good in zip(batch, finite, strict=True) if not good):
                    skipped(index, "the image tower makes no finite numbers of it")
                seen = np.stack([sketch(values, self._card.image) for values in pixels])
                good = [index for index, fine in zip(batch, finite, strict=True) if fine]
                yield good, features[finite], seen[finite]
            progress(places.stop)

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
