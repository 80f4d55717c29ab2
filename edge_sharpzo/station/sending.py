"""Files that are sent: opened once, so that what is sent is what was looked at."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from starlette.responses import StreamingResponse

from edge_sharpzo.system.storage import open_file

CHUNK = 256_000  # bytes


def opened(path: Path, follow: bool = False) -> BinaryIO:
    """The file, to read. Raises OSError for what is none, and for a link unless to `follow` it."""
    return os.fdopen(open_file(path, os.O_RDONLY, follow=follow), "rb")


def file_response(file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
    """The whole file, which is closed then."""
    size = os.fstat(file.fileno()).st_size
    return StreamingResponse(
        portions(file, size),
        headers={**headers, "content-length": str(size)},
        media_type=media_type,
    )


def portions(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file, which may grow meanwhile."""
    with file:
        while size > 0 and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk
