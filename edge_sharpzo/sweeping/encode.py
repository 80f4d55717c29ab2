"""Photos are encoded before the runs begin, or each of them would encode the same ones.

`python -m edge_sharpzo.sweeping.encode OPTIONS`, the options of a run as JSON, does so on a
worker's machine and prints what was seen, as JSON.
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.events import Listener, Note, PhotosEncoded, PhotoSkipped
from edge_sharpzo.photos.copies import leave_out_copies
from edge_sharpzo.photos.features import look_at
from edge_sharpzo.pipeline import open_task
from edge_sharpzo.pipeline.prepare import check_left
from edge_sharpzo.runs.options import TuneOptions, as_path
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.system.stopping import Stop, StopWhen
from edge_sharpzo.system.storage import as_type


@dataclass(frozen=True)
class Seen:
    """What makes runs comparable: the model, and the photos."""

    model_sha256: str
    photos_sha256: str  # over the classes, and paths in the folder and contents of all photos


def model_sha256(options: TuneOptions) -> str:
    """Of the model that the options name. Raises UserError."""
    return ClipOnnx(options.onnx, 1, options.provider, MemoryLimit(options.max_memory)).sha256


def encode(options: TuneOptions, listen: Listener, stop: Stop) -> Seen:
    """Encodes all photos of a run's folder that are not in the cache.

    Raises UserError for whatever a run would refuse of them; Cancelled where `stop` asks for it.
    """
    opened = open_task(options.checked(), listen)

    def encoded(done: int, total: int) -> None:
        listen(PhotosEncoded(done, total))
        with stop.interruptible():
            pass

    looked = look_at(
        opened.clip, opened.found, encoded, lambda path, why: listen(PhotoSkipped(path, why))
    )
    photos, seen, found = looked.photos, looked.encoded, opened.found
    usable, copies = leave_out_copies(photos, found.parts, seen.sketches, seen.readable)
    check_left(found, usable, [*found.left_out, *looked.left_out, *copies])
    for note in looked.notes:
        listen(Note(note, warning=True))
    return Seen(opened.clip.sha256, looked.sha256)


def main() -> None:
    """Encodes and prints."""
    options = as_type(json.loads(sys.argv[1]), TuneOptions, as_path)
    # Elsewhere, as runs on a worker are; it decides which empty folders are classes.
    options = replace(options, out=Path(tempfile.gettempdir()))
    try:
        print(json.dumps(asdict(encode(options, lambda event: None, StopWhen()))))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
