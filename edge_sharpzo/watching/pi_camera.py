"""Pictures of a Raspberry Pi's own camera, through picamera2, which its system brings."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.watching.live import Picture

SIZE = (1280, 720)


def is_there() -> bool:
    """Whether picamera2 is installed and sees a camera."""
    return find_spec("picamera2") is not None and bool(_cameras())


def _cameras() -> list[dict[str, Any]]:
    from picamera2 import Picamera2

    made: list[dict[str, Any]] = Picamera2.global_camera_info()
    return made


def pictures(number: int) -> Iterator[Picture]:
    """The pictures of the camera of that number, each as it is asked for. Raises UserError."""
    from picamera2 import Picamera2

    if number >= len(found := _cameras()):
        raise UserError(
            f"there is no camera:{number}: picamera2 sees {len(found)}, from camera:0 on",
            field="source",
        )
    try:
        camera = Picamera2(number)
    except (RuntimeError, IndexError) as error:
        raise UserError(
            f"camera:{number} cannot be opened ({error}): another program may use it", "source"
        ) from error
    try:
        # By that name its memory holds red first.
        shape = {"format": "BGR888", "size": SIZE}
        camera.configure(camera.create_video_configuration(main=shape))
        camera.start()
        while True:
            camera.capture_metadata()  # waits for the next one
            yield partial(camera.capture_array, "main")
    finally:
        camera.close()
