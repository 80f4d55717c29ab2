"""The device's own camera, where it has one and what reads it is installed."""

import io
import time
from collections.abc import Generator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from edge_sharpzo.system.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

IDLE = 10.0  # seconds without a request, after which the camera is free for others
PATIENCE = 1.5  # seconds that a frame may take
TIMEOUT = (10.0, 5.0)  # seconds to open it, and to wait for it


class Camera:
    """Gives the newest frame; a thread reads the camera as long as frames are asked for."""

    def __init__(self, video: Path = Path("/dev/video0")):
        self._video = video
        self._lock = Condition()
        self._asked = 0.0
        self._frame: tuple[float, Image] | None = None  # and when it came
        self._failed: str | None = None
        self._thread: Thread | None = None

    def why_not(self) -> str | None:
        """Why there is no camera; None where there may be one."""
        if find_spec("picamera2"):
            return None
        if not self._video.exists():
            return f"this device has no camera ({self._video})"
        if not find_spec("av"):
            return "reading the camera takes PyAV: pip install 'edge-sharpzo[camera]'"
        return None

    def frame(self) -> bytes:
        """The newest frame as a JPEG. Raises UserError."""
        if why := self.why_not():
            raise UserError(why)
        with self._lock:
            self._asked = time.monotonic()
            if self._thread is None:
                self._frame = self._failed = None
                self._thread = Thread(target=self._read, name="camera", daemon=True)
                self._thread.start()
            self._lock.wait_for(lambda: self._newest() or self._failed, PATIENCE)
            frame, failed = self._newest(), self._failed
        if frame is None:
            raise UserError(f"the camera gives no picture ({failed or 'it takes its time'})")
        stream = io.BytesIO()
        frame.save(stream, "JPEG", quality=90)
        return stream.getvalue()

    def _newest(self) -> "Image | None":
        """None where the last one is old: a loose cable stops a driver without a word."""
        fresh = self._frame and time.monotonic() - self._frame[0] < PATIENCE
        return self._frame[1] if self._frame and fresh else None

    def _read(self) -> None:
        failed = None
        try:
            with closing(_frames(self._video)) as frames:
                for frame in frames:
                    with self._lock:
                        self._frame = time.monotonic(), frame
                        self._lock.notify_all()
                    if time.monotonic() - self._asked > IDLE:
                        break
        except Exception as error:  # drivers raise anything: busy, unplugged
            failed = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        with self._lock:
            self._thread, self._failed = None, failed
            if failed:
                self._frame = None
            self._lock.notify_all()


def _frames(video: Path) -> Generator["Image"]:
    if find_spec("picamera2"):
        from picamera2 import Picamera2

        with Picamera2() as camera:
            camera.start()
            while True:
                yield camera.capture_image().convert("RGB")
    import av

    options: Any = {} if video.is_file() else {"format": "v4l2"}
    with av.open(str(video), timeout=TIMEOUT, **options) as container:
        for frame in container.decode(video=0):
            yield frame.to_image()
