"""Where the small model lies that comes with the package."""

from contextlib import suppress
from pathlib import Path

from edge_sharpzo.system.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
_IN_REPOSITORY = _PACKAGE.parent / "models" / "lite-clip" / "clip.onnx"
# The wheel carries it.
EMBEDDED_MODEL = _IN_REPOSITORY if _IN_REPOSITORY.exists() else _PACKAGE / "lite-clip.onnx"
# What has been this file, by `ClipOnnx.sha256`, the oldest first. All have the same towers, so runs
# of one are runs of the others; a model with other towers begins a new list.
RELEASES = (
    "f05fb9f953638b6875e7e408f77beca477a7d512ac096ade87355a81663a4d11",
    "23e190af1be53259e4aa7d35ad52adea776ca2b63bedd6b194e0f86db2e68996",  # has a learned start
)


def known_as(sha256: str) -> str:
    """What a model is known by: its SHA-256, for every release of the embedded one the oldest's."""
    return RELEASES[0] if sha256 in RELEASES else sha256


def model_file(recorded: Path, sha256: str) -> Path:
    """Where the model of a run is: where it was, or here where it is the embedded one.

    An environment takes its embedded model along when it goes; `sha256` tells that this one is the
    same. A model that is nowhere keeps its `recorded` place.
    """
    from edge_sharpzo.clip.clip_file import ClipOnnx

    if not recorded.exists():
        with suppress(UserError):
            if known_as(ClipOnnx(EMBEDDED_MODEL).sha256) == known_as(sha256):
                return EMBEDDED_MODEL
    return recorded
