"""Small pictures for the report."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from edge_sharpzo.clip.images import MAX_BYTES, UnreadableImageError, load_image
from edge_sharpzo.runs.photo_check import PhotoCheck, Suspect
from edge_sharpzo.system.memory import MemoryLimit

SIDE = 160  # the longest, in pixels
MOST = 12  # suspects shown


@dataclass(frozen=True)
class Pictured:
    """A photo whose label is suspect."""

    name: str
    suspect: Suspect
    thumbnail: str | None  # None where the photo cannot be read


def thumbnail(path: Path, max_memory: int | None) -> str | None:
    """A photo as a small JPEG, base64; None where it cannot be read. `max_memory` in MB."""
    try:
        picture = load_image(path, MemoryLimit(max_memory).fitting(MAX_BYTES, 1))
    except UnreadableImageError:
        return None
    picture.thumbnail((SIDE, SIDE))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=80)
    return base64.b64encode(jpeg.getvalue()).decode()


def pictured(checked: PhotoCheck | None, max_memory: int | None) -> list[Pictured]:
    """The most suspicious photos, where any were looked for."""
    return [
        Pictured(Path(each.photo).name, each, thumbnail(Path(each.photo), max_memory))
        for each in (checked.suspects[:MOST] if checked else ())
    ]
