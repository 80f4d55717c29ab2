"""Pictures through PyAV: video files, streams and V4L2 cameras."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import counted, some
from edge_sharpzo.watching.live import Picture
from edge_sharpzo.watching.sources import Frame, Frames, shown_address

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer
    from av.error import FFmpegError

TIMEOUT = 10.0  # seconds to open a stream, and to wait for its next packet
WHOLE_PICTURES = ("mjpeg", "rawvideo")  # codecs of which each packet is a picture of its own
MOST_PIXELS = 100_000_000  # of a picture
# What a file or stream may open: it can name others, which stay unread.
FILE = {"protocol_whitelist": "file"}
STREAM = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtsps,tcp,tls,http,https"}


def check_extra() -> None:
    """Raises UserError where PyAV is not installed."""
    if find_spec("av") is None:
        raise UserError(
            "videos, streams and cameras need PyAV: pip install 'edge-sharpzo[camera]'",
            field="source",
        )


def video_frames(path: Path, every: float, tell: Tell) -> Frames:
    """The pictures of a video file, one in `every` seconds of it. Raises UserError.

    What of it cannot be decoded is left out, and told at the end.
    """
    number, damaged, due = 0, 0, float("-inf")
    with _opened(path, str(path), options=FILE) as container:
        for frame in _all_of(container, path, tell):
            number += 1
            if frame is None or frame.is_corrupt:
                damaged += 1
                continue
            moment = frame.time or 0.0
            if moment >= due or not every:
                due = moment + every
                yield Frame(number, str(path), _picture(frame))
    if damaged == number:
        raise UserError(
            f"{path} holds no picture that can be read: give another `source`", "source"
        )
    if damaged:
        tell(f"{counted(damaged, 'damaged frame')} of {path} left out", True)


def _all_of(container: "InputContainer", path: Path, tell: Tell) -> Iterator["VideoFrame | None"]:
    """Its frames; None for what cannot be decoded."""
    from av.error import FFmpegError

    packets = container.demux(container.streams.video[0])
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            tell(f"{path} ends too early ({error.strerror})", True)
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except FFmpegError:
            yield None


def stream(address: str) -> Iterator[Picture]:
    """The pictures of a stream, each as it comes. Raises UserError."""
    with _opened(address, shown_address(address), options=STREAM, timeout=TIMEOUT) as container:
        yield from _pictures(container)


def v4l2(device: Path) -> Iterator[Picture]:
    """The pictures of a camera, each as it comes. Raises UserError."""
    if not device.exists():
        others = some(sorted(map(str, Path("/dev").glob("video*"))))
        raise UserError(
            f"there is no camera {device}: "
            + (f"there is {others}; give camera:N with its number" if others else "plug one in"),
            field="source",
        )
    with _opened(device, str(device), format="v4l2", timeout=TIMEOUT) as container:
        yield from _pictures(container)


def _pictures(container: "InputContainer") -> Iterator[Picture]:
    """One for each that comes. Where a packet is a picture, only those wanted are decoded.

    A packet that gives none is told as well: whoever listens may wait for one no longer.
    """
    stream = container.streams.video[0]
    are_whole = stream.codec_context.name in WHOLE_PICTURES
    for packet in container.demux(stream):
        if are_whole:
            yield partial(_first, packet)
        elif frames := _decoded(packet):
            yield from (partial(_picture, frame) for frame in frames)
        else:
            yield _nothing


def _nothing() -> None:
    """In a picture's place."""


def _first(packet: "Packet[VideoStream]") -> np.ndarray | None:
    return next(map(_picture, _decoded(packet)), None)


def _decoded(packet: "Packet[VideoStream]") -> "list[VideoFrame]":
    """None of a damaged one: the next ones come."""
    from av.error import FFmpegError

    try:
        return packet.decode()
    except FFmpegError:
        return []


@contextmanager
def _opened(file: str | Path, name: str, **how: Any) -> Iterator["InputContainer"]:
    """An open container that has pictures. Raises UserError, also for what fails within it.

    `file` is a path, or a stream's address as a string.
    """
    import av
    from av.error import ExitError, FFmpegError

    silent_at, is_open = time.monotonic() + TIMEOUT, False
    try:
        # FFmpeg takes what is before a colon for a protocol, but not in an absolute path.
        address = str(file.absolute()) if isinstance(file, Path) else file
        with av.open(address, "r", **how) as container:
            if not container.streams.video:
                raise UserError(f"{name} has no pictures: give another `source`", field="source")
            context = container.streams.video[0].codec_context
            if context.width * context.height > MOST_PIXELS:
                raise UserError(
                    f"{name} has pictures of {context.width} x {context.height} pixels, which is "
                    "too large: give another `source`",
                    field="source",
                )
            is_open = True
            yield container
    except FFmpegError as error:
        # What a timeout looks like: this error, or any other where a stream has not begun yet.
        if isinstance(error, ExitError) or not (is_open or time.monotonic() < silent_at):
            raise UserError(f"{name} is silent for {TIMEOUT:.0f} s", field="source") from error
        raise UserError(f"cannot read {name} ({_why(error)})", field="source") from error


def _why(error: "FFmpegError") -> str:
    """What is wrong, and what to do about it where that is known."""
    if error.errno == errno.EBUSY:
        return "another program uses it: end that one"
    may_not = f"{error.strerror}: only members of the group video may use cameras"
    is_camera = str(error.filename or "").startswith("/dev/")
    return may_not if error.errno == errno.EACCES and is_camera else str(error.strerror)


def _picture(frame: "VideoFrame") -> np.ndarray:
    """It as uint8 RGB [H, W, 3], upright: phones note how they were held."""
    made = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(made, turns)) if turns else made
