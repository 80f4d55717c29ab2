"""Where the small model lies that comes with the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_IN_REPOSITORY = _PACKAGE.parent / "models" / "lite-clip" / "clip.onnx"
# The wheel carries it.
EMBEDDED_MODEL = _IN_REPOSITORY if _IN_REPOSITORY.exists() else _PACKAGE / "lite-clip.onnx"
