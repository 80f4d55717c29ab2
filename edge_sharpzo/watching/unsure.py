"""Keeps photos that the classifier was unsure of, for somebody to label."""

import hashlib
import time
from collections import deque
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from edge_sharpzo.clip.sketch import SIDE
from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.photos.near_duplicates import near_duplicates
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import write_atomic
from edge_sharpzo.system.text import counted

MOST_PHOTOS, MOST_BYTES = 500, 250_000_000  # that the folder may hold
RECENT = 16  # saved photos that a new one must not be nearly the same as
QUALITY = 95  # of the JPEG


class Unsure:
    """A folder for such photos, which holds no more than a card can take."""

    def __init__(self, folder: Path, tell: Tell):
        """Makes the folder. Raises UserError where that cannot be."""
        self._folder, self._tell = folder, tell
        self._features: deque[np.ndarray] = deque(maxlen=RECENT)
        self._sketches: deque[np.ndarray] = deque(maxlen=RECENT)
        self._told: int | str = ""  # why nothing is saved, which is said once
        try:
            self._holds()
        except OSError as error:
            raise UserError(
                f"cannot save to {folder} ({error.strerror}): give another `save_to`", "save_to"
            ) from error

    def keep(self, picture: np.ndarray, features: np.ndarray, frame: int) -> None:
        """Saves a picture [H, W, 3], uint8, as a JPEG, unless it is nearly the same as another.

        `features` [D] are the classifier's, L2-normalised. The folder is made where it is gone.
        Where it cannot be saved, that is told, and the watching goes on.
        """
        image = Image.fromarray(picture)
        sketch = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
        sketch = sketch.transpose(2, 0, 1).ravel()
        if self._is_known(features, sketch):
            return
        try:
            photos, size = self._holds()
            if photos >= MOST_PHOTOS or size >= MOST_BYTES:
                self._say(
                    "full",
                    f"{self._folder} holds {counted(photos, 'photo')} of {size // 1_000_000} MB, "
                    "as many as it may: label them or move them away, and more are saved",
                )
                return
            jpeg = _jpeg(image)
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{frame:06}-{_digest(jpeg)}.jpg"
            write_atomic(self._folder / name, lambda part: part.write_bytes(jpeg))
        except OSError as error:
            self._say(
                error.errno or "odd",
                f"cannot save to {self._folder} ({error.strerror or error}): photos that are "
                "unsure are not kept until that is mended",
            )
            return
        self._features.append(features)
        self._sketches.append(sketch)
        self._told = ""

    def _is_known(self, features: np.ndarray, sketch: np.ndarray) -> bool:
        """Whether one of the last that were saved is nearly the same."""
        for known, drawn in zip(self._features, self._sketches, strict=True):
            pair = np.stack([known, features]), np.stack([drawn, sketch])
            if near_duplicates(*pair, (0, 1)):
                return True
        return False

    def _holds(self) -> tuple[int, int]:
        """How many photos lie in the folder, which is made where it is gone, and their bytes.

        Raises OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        sizes = []
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):  # somebody labels it just now
                if file.is_file() and not file.name.startswith("."):
                    sizes.append(file.stat().st_size)
        return len(sizes), sum(sizes)

    def _say(self, kind: int | str, why: str) -> None:
        """Says it, unless the last that was said is of the same kind."""
        if kind != self._told:
            self._tell(why, True)
        self._told = kind


def _jpeg(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _digest(jpeg: bytes) -> str:
    """By it a name is no other picture's: others write here too, and clocks are set back."""
    return hashlib.sha256(jpeg).hexdigest()[:16]
