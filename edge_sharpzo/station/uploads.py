"""Photos that come in: counted while they arrive, looked at before they are decoded."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL.JpegImagePlugin import JpegImageFile
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from edge_sharpzo.clip.images import MAX_BYTES, UnreadableImageError
from edge_sharpzo.clip.images.opening import open_photo
from edge_sharpzo.station.errors import AskedError
from edge_sharpzo.station.thumbnails import small, thumbnail
from edge_sharpzo.system.text import shown

MOST_FILES = 200  # of a request
FILE_BYTES = 25_000_000
REQUEST_BYTES = 500_000_000
MEGAPIXELS = 64
PORTION = 256_000  # bytes that are written at once
MOST_HEADERS = 8_000  # bytes, of one file's
MOST_NAME = 100  # characters of a client's name that are told back


@dataclass
class Upload:
    """A file that has arrived."""

    path: Path  # where it lies until it is used
    name: str  # as the client calls it: to be told, never to be opened
    why: str | None = None  # it is refused
    size: int = 0


@dataclass
class _Part:
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    name: bytes = b""
    value: bytes = b""
    size: int = 0


class Received:
    """The files of a form; leaving it deletes those that are still there."""

    def __init__(self, content_type: str, wanted: str, most: int, place: Callable[[], Path]):
        """Files of the field `wanted`, at most so many; `place` gives a path for each.

        Raises AskedError for another kind of body.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
            raise AskedError(415, "send a form: multipart/form-data, with a boundary")
        self._wanted, self._most, self._place = wanted.encode(), most, place
        self.uploads: list[Upload] = []
        self._part, self._bytes = _Part(), 0
        self._stream: BinaryIO | None = None
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._open,
                "on_part_data": self._write,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """A portion of the body. Raises AskedError."""
        self._bytes += len(data)
        if self._bytes > REQUEST_BYTES:
            raise AskedError(413, f"send no more than {REQUEST_BYTES // 10**6} MB at once")
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise AskedError(400, f"that is no form: {str(error)[:100]}") from error

    def finish(self) -> None:
        """The body has ended. Raises AskedError where the form has not, or holds no file."""
        if not self._ended:
            raise AskedError(400, "the form ends in the middle: send it again")
        if not self.uploads:
            raise AskedError(422, f"the form has no file '{self._wanted.decode()}'")

    def clear(self) -> None:
        """Deletes what is left of the files."""
        if self._stream:
            self._stream.close()
            self._stream = None
        for upload in self.uploads:
            with suppress(OSError):
                upload.path.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._part.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._part.value += data[start:end]

    def _count(self, size: int) -> None:
        self._part.size += size
        if self._part.size > MOST_HEADERS:
            raise AskedError(400, "that is no form: its headers are too long")

    def _header_end(self) -> None:
        self._part.headers.append((self._part.name.lower(), self._part.value))
        self._part.name = self._part.value = b""

    def _open(self) -> None:
        disposition = dict(self._part.headers).get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if options.get(b"name") != self._wanted or b"filename" not in options:
            raise AskedError(422, f"send files in the field '{self._wanted.decode()}' alone")
        if len(self.uploads) == self._most:
            raise AskedError(413, f"send no more than {self._most} files at once")
        name = options[b"filename"].decode(errors="replace")
        self.uploads.append(Upload(self._place(), shown(name[:MOST_NAME])))
        self._stream = self.uploads[-1].path.open("xb")

    def _write(self, data: bytes, start: int, end: int) -> None:
        upload = self.uploads[-1]
        upload.size += end - start
        if upload.why:
            return
        if upload.size > FILE_BYTES:
            upload.why = f"more than the {FILE_BYTES // 10**6} MB of a photo"
            assert self._stream
            self._stream.truncate(0)
            return
        assert self._stream
        self._stream.write(memoryview(data)[start:end])

    def _close(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def _end(self) -> None:
        self._ended = True


async def receive(request: Request, wanted: str, most: int, place: Callable[[], Path]) -> Received:
    """All files of a request's form, on disk; none is left where it fails. Raises AskedError."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > REQUEST_BYTES:
        raise AskedError(413, f"send no more than {REQUEST_BYTES // 10**6} MB at once")
    received = Received(request.headers.get("content-type", ""), wanted, most, place)
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= PORTION:
                await run_in_threadpool(received.feed, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(received.feed, bytes(waiting))
        received.finish()
    except BaseException:
        received.clear()
        raise
    return received


def look_at(upload: Upload, keep: bool = True) -> None:
    """Says why a file is no photo, where it is none: by its header, then by decoding it.

    A thumbnail is made by the way, and kept where the photo is.
    """
    if upload.why:
        return
    try:
        width, height = _size(upload.path)
        if width * height > MEGAPIXELS * 10**6:
            upload.why = f"{width} x {height} pixels, more than the {MEGAPIXELS} megapixels of one"
        elif keep:
            thumbnail(upload.path)
        else:
            small(upload.path)
    except UnreadableImageError as error:
        upload.why = str(error)
    except MemoryError:
        upload.why = "no memory left to decode it"


def _size(path: Path) -> tuple[int, int]:
    """Width and height, without decoding. Raises UnreadableImageError."""
    with path.open("rb") as file:
        try:
            if file.read(3) == b"\xff\xd8\xff":
                file.seek(0)
                return JpegImageFile(file).size  # `open_photo` may have it decoded to a part
            file.seek(0)
            return open_photo(file, MAX_BYTES)[0].size
        except UnreadableImageError:
            raise
        except Exception as error:  # pillow raises almost anything on damaged files
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnreadableImageError(reason[:120]) from error
