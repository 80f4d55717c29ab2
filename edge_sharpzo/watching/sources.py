"""Where frames come from, by what the user names: a folder, a video file, a stream or a camera."""

import re
import stat
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.system.errors import UserError

STREAMS = ("rtsp", "rtsps", "http", "https")
LONGEST_PAUSE = 86_400.0  # seconds
SOME = f"give a folder, a video file, camera, camera:N or an address such as {STREAMS[0]}://..."
PLAIN = r"[\w.,~+-]*"


class Frame(NamedTuple):
    """A picture, or why there is none."""

    number: int  # in its source, from 1
    source: str  # the file, or the source's name
    picture: np.ndarray | str  # uint8 RGB [H, W, 3], upright; or why it cannot be read
    is_one_of_many: bool = False  # a photo of a folder, which says nothing of the next one's size


# None where nothing new came for a while: whoever asks has a moment for other things.
Frames = Generator[Frame | None]


def frames_of(source: str, every: float, tell: Tell) -> Frames:
    """The frames of what `source` names, at most one in `every` seconds but for a folder.

    A video's seconds are its own, and it ends; folders are looked into so often, and like cameras
    and streams do not end. Raises UserError, also at the first frame, where there is nothing.
    """
    if not 0 <= every <= LONGEST_PAUSE:
        raise UserError(f"`every={every}`: give seconds, 0 for each frame", field="every")
    if not source.strip():
        raise UserError(f"`source` is empty, as of a variable that is not set: {SOME}", "source")
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", source, re.IGNORECASE)
    camera = re.fullmatch(r"camera(?::([0-9]{1,9}))?", source)
    if scheme and scheme[1].lower() not in STREAMS:
        raise UserError(
            f"`source={shown_address(source)[:200]}`: there is no {scheme[1]}://, but "
            f"{', '.join(f'{each}://' for each in STREAMS)}",
            field="source",
        )
    if scheme:  # in small letters, as FFmpeg knows it
        return _stream(scheme[0].lower() + source[scheme.end() :], every, tell)
    if camera:
        return _camera(int(camera[1] or 0), every, tell)
    return _file(Path(source), every, tell)


def _stream(address: str, every: float, tell: Tell) -> Frames:
    from edge_sharpzo.watching.live import live_frames
    from edge_sharpzo.watching.video import check_extra, stream

    check_extra()
    return live_frames(lambda: stream(address), shown_address(address), every, tell)


def _camera(number: int, every: float, tell: Tell) -> Frames:
    from edge_sharpzo.watching import pi_camera
    from edge_sharpzo.watching.live import live_frames
    from edge_sharpzo.watching.video import check_extra, v4l2

    name = f"camera:{number}"
    if pi_camera.is_there():
        return live_frames(lambda: pi_camera.pictures(number), name, every, tell)
    check_extra()
    return live_frames(lambda: v4l2(Path(f"/dev/video{number}")), name, every, tell)


def _file(path: Path, every: float, tell: Tell) -> Frames:
    try:
        kind = path.stat().st_mode
    except OSError as error:
        if path.name.startswith("camera:"):  # a file may be called so
            raise UserError(
                f"there is no {str(path)[:80]}: a camera is camera:N with its number, from "
                "camera:0 on",
                field="source",
            ) from error
        raise UserError(
            f"`source={shown_address(str(path))}` is not there ({error.strerror}): {SOME}",
            field="source",
        ) from error
    if stat.S_ISDIR(kind):
        from edge_sharpzo.watching.folder import folder_frames

        return folder_frames(path, every, tell)
    from edge_sharpzo.watching.live import live_frames
    from edge_sharpzo.watching.video import check_extra, v4l2, video_frames

    if not (stat.S_ISREG(kind) or stat.S_ISCHR(kind)):
        raise UserError(f"`source={path}` is no folder, file or camera", field="source")
    check_extra()
    if stat.S_ISCHR(kind):
        return live_frames(lambda: v4l2(path), str(path), every, tell)
    return video_frames(path, every, tell)


def shown_address(address: str) -> str:
    """An address without what may let others in: user, password, and what is asked for.

    Of its path, parts with other marks than those of plain names become dots: cameras take
    passwords there, too. Where the host cannot be read, all up to the last @ becomes dots.
    """
    asked = "?" in address
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises ValueError as well
    except ValueError:
        parts = urlsplit("")
    if not parts.netloc:
        return re.sub(r"^.*:.*@", "...@", address.partition("?")[0]) + ("?..." if asked else "")
    path = "/".join(each if re.fullmatch(PLAIN, each) else "..." for each in parts.path.split("/"))
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{path}" + ("?..." if asked else "")
