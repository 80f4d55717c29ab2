"""The API of taking it elsewhere: the classifier's file, its labels, the run folder as a zip."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from starlette.responses import StreamingResponse

from edge_sharpzo.classifier.tuned import CLASSIFIER, LABELS
from edge_sharpzo.runs.folder import FILES
from edge_sharpzo.station.answers import TakeAnswer, TakeFile
from edge_sharpzo.station.calls import Asked
from edge_sharpzo.station.desk import Desk
from edge_sharpzo.station.errors import AskedError
from edge_sharpzo.station.sending import file_response, opened, portions

FOLDER, ZIP = "run", "run.zip"  # a zip's one folder, whatever the run is called here
COMMAND = f"edge-sharpzo predict {FOLDER} photo.jpg"


def _files(run: Path) -> list[Path]:
    """What a run has written, no links."""
    files = (run / name for name in FILES)
    return [file for file in files if file.is_file() and not file.is_symlink()]


def _why_not(desk: Desk) -> str | None:
    """Why there is nothing to take; None where there is."""
    now, folder = desk.tuner.state(), desk.tuner.folder
    if now.state in ("encoding", "tuning", "elsewhere") and folder.begun == folder.folder:
        return "it is being tuned: wait for the end, or stop it"
    if not folder.state().has_results:
        return now.why or "no prompt is tuned yet: learn first"
    return None


def take(desk: Desk, asked: Asked) -> TakeAnswer:  # noqa: ARG001
    """What there is to take."""
    why = _why_not(desk)
    files = [] if why else [TakeFile(f.name, f.stat().st_size) for f in _files(desk.run)]
    run = desk.tuner.folder.state()
    tells_none = run.prompt is not None and run.prompt.known is not None
    is_new = run.is_of(desk.look_now())
    return TakeAnswer(why is None, why, is_new, run.finished, tells_none, files, COMMAND)


def _sent(desk: Desk, name: str, media_type: str) -> StreamingResponse:
    if why := _why_not(desk):
        raise AskedError(409, why)
    try:
        file = opened(desk.run / name)
    except OSError as error:
        raise AskedError(404, f"this run has no {name}") from error
    return file_response(file, media_type, _as_file(name))


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


def classifier(desk: Desk, asked: Asked) -> StreamingResponse:  # noqa: ARG001
    """The classifier, for any engine."""
    return _sent(desk, CLASSIFIER, "application/octet-stream")


def labels(desk: Desk, asked: Asked) -> StreamingResponse:  # noqa: ARG001
    """Its classes, one a line."""
    return _sent(desk, LABELS, "text/plain")


def run_zip(desk: Desk, asked: Asked) -> StreamingResponse:  # noqa: ARG001
    """The run folder."""
    if why := _why_not(desk):
        raise AskedError(409, why)
    return StreamingResponse(
        zipped(_files(desk.run), FOLDER), media_type="application/zip", headers=_as_file(ZIP)
    )


class _Sink(io.RawIOBase):
    """Takes what a zip file's writer gives, until it is fetched."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(memoryview(data))  # type: ignore[arg-type]
        self._parts.append(part)
        return len(part)

    def fetched(self) -> bytes:
        """All since the last time."""
        made = b"".join(self._parts)
        self._parts.clear()
        return made


def zipped(files: list[Path], folder: str) -> Iterator[bytes]:
    """A zip file of these files under `folder`, in portions, as it is made."""
    sink = _Sink()
    with ExitStack() as stack, zipfile.ZipFile(sink, "w") as archive:  # weights hardly shrink
        # All are opened first: another run may take the place of this one meanwhile.
        sources = [stack.enter_context(opened(file)) for file in files]
        # A device without a clock dates files before 1980, where a zip's years begin.
        infos = [
            zipfile.ZipInfo.from_file(file, f"{folder}/{file.name}", strict_timestamps=False)
            for file in files
        ]
        for source, info in zip(sources, infos, strict=True):
            with archive.open(info, "w") as target:
                for chunk in portions(source, info.file_size):
                    target.write(chunk)
                    yield sink.fetched()
    yield sink.fetched()
