"""Opens a model wherever `engine` says that it runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL, RELEASES, known_as
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.engines.access import Access, NoCardError
from edge_sharpzo.engines.address import addresses, is_address
from edge_sharpzo.engines.remote_clip import RemoteClip
from edge_sharpzo.engines.served import Companion
from edge_sharpzo.engines.service import Service
from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.engines.strings_clip import StringsClip
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx


def open_clip(
    onnx: Path,
    engine: str,
    send_photos: bool | None,
    *,
    threads: int,
    provider: str,
    memory: MemoryLimit,
    tell: Tell,
) -> Clip:
    """The model in the file `onnx`, or behind the service that `engine` names.

    With a service, the embedded model stands for no file: unless that is what is served. Photos go
    to the service where `send_photos`; None is for who has none. Raises UserError, also for a
    service that serves another model than the file.
    """

    def file() -> "ClipOnnx":
        from edge_sharpzo.clip.clip_file import ClipOnnx  # 6 MB that a device without a file saves

        return ClipOnnx(onnx, threads, provider, memory)

    if not is_address(engine):
        if send_photos:
            raise UserError(
                "`send_photos` goes with an `engine` that is elsewhere: name it, or leave this out",
                field="send_photos",
            )
        return file()
    places = addresses(engine)
    if places[0].scheme.is_dask:
        from edge_sharpzo.engines.fleet import Fleet

        clip = file()
        fleet = Fleet(places[0], clip, tell)
        _tell_photos(send_photos, f"the workers of {places[0]} encode them", tell)
        return RemoteClip(fleet, Companion.of(clip), clip, bool(send_photos), memory)
    service = Service(places, tell)
    try:
        companion = service.companion()
    except NoCardError as error:
        if error.access is not Access.STRINGS:
            raise
        strings = _strings_clip(service, onnx, send_photos, memory)
        _tell_photos(send_photos, f"{service.where} encodes them", tell)
        return strings
    same = _same_file(onnx, service.where, companion.sha256, file)
    if same is None and send_photos is False:
        raise UserError(
            f"{service.where} serves another model than the embedded one, so photos would have to "
            "go there to be encoded: give the model's file with `onnx`, or allow that with "
            "`send_photos`",
            field="send_photos",
        )
    _tell_photos(send_photos, f"{service.where} encodes them", tell)
    return RemoteClip(service, companion, same, bool(send_photos), memory)


def _tell_photos(leave: bool | None, why: str, tell: Tell) -> None:
    if leave:
        tell(f"photos leave this device: {why}", True)


def _strings_clip(
    service: Service, onnx: Path, send_photos: bool | None, memory: MemoryLimit
) -> StringsClip:
    """The model behind a service of strings. Raises UserError where it is of no use."""
    if onnx != EMBEDDED_MODEL:
        raise UserError(
            f"{service.where} takes strings and does not say which model it is, so {onnx} cannot "
            "be that one's file: leave `onnx` out, or `engine`",
            field="onnx",
        )
    if send_photos is False:
        raise UserError(
            f"{service.where} takes strings and photos, so photos have to go there to be encoded: "
            "allow that with `send_photos`",
            field="send_photos",
        )
    return StringsClip(service, memory)


def _same_file(
    onnx: Path, where: str, sha256: str, opened: "Callable[[], ClipOnnx]"
) -> "ClipOnnx | None":
    """The file of the model that is served at `where`; None where it is not the embedded one.

    Raises UserError where another file is given.
    """
    if onnx == EMBEDDED_MODEL and (sha256 not in RELEASES or not onnx.exists()):
        return None
    file = opened()
    if known_as(file.sha256) != known_as(sha256):
        raise UserError(
            f"{where} serves another model than {file.path} (SHA-256 {sha256[:12]}, not "
            f"{file.sha256[:12]}): give the file that is served, or serve this one",
            field="onnx",
        )
    return file
