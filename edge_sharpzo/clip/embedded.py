"""Where the small model lies that comes with the package."""

from contextlib import suppress
from pathlib import Path

from edge_sharpzo.system.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
_IN_REPOSITORY = _PACKAGE.parent / "models" / "lite-clip" / "clip.onnx"
# The wheel carries it.
EMBEDDED_MODEL = _IN_REPOSITORY if _IN_REPOSITORY.exists() else _PACKAGE / "lite-clip.onnx"


def model_file(recorded: Path, sha256: str) -> Path:
    """Where the model of a run is: where it was, or here where it is the embedded one.

    An environment takes its embedded model along when it goes; `sha256` tells that this one is the
    same. A model that is nowhere keeps its `recorded` place.
    """
    from edge_sharpzo.clip.clip_file import ClipOnnx

    if not recorded.exists():
        with suppress(UserError):
            if ClipOnnx(EMBEDDED_MODEL).sha256 == sha256:
                return EMBEDDED_MODEL
    return recorded
