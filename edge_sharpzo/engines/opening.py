"""Opens a model wherever `engine` says that it runs."""

from pathlib import Path

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL, known_as
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.engines.address import addresses, is_address
from edge_sharpzo.engines.served_clip import ServedClip
from edge_sharpzo.engines.service import Service
from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit


def open_clip(
    onnx: Path,
    engine: str,
    send_photos: bool,
    *,
    threads: int,
    provider: str,
    memory: MemoryLimit,
    tell: Tell,
) -> Clip:
    """The model in the file `onnx`, or behind the service that `engine` names.

    With a service, the embedded model stands for no file: unless that is what is served. Photos go
    to the service where `send_photos`. Raises UserError, also for a service that serves another
    model than the file.
    """
    if not is_address(engine):
        return ClipOnnx(onnx, threads, provider, memory)
    places = addresses(engine)
    service = Service(places, tell)
    companion = service.companion()
    if onnx == EMBEDDED_MODEL and not onnx.exists():
        return ServedClip(service, companion, None, send_photos, memory)
    file = ClipOnnx(onnx, threads, provider, memory)
    if known_as(file.sha256) != known_as(companion.sha256):
        if onnx == EMBEDDED_MODEL:
            return ServedClip(service, companion, None, send_photos, memory)
        raise UserError(
            f"{service.where} serves another model than {file.path} (SHA-256 "
            f"{companion.sha256[:12]}, not {file.sha256[:12]}): give the file that is served, or "
            "serve this one",
            field="onnx",
        )
    return ServedClip(service, companion, file, send_photos, memory)
