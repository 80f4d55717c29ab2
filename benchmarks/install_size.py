"""What packages take on the disk, with all that they require, as installed here."""

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

PACKAGES = {
    "onnxruntime and NumPy": ("onnxruntime", "numpy"),
    "edge-sharpzo": ("edge-sharpzo",),
    "PyTorch": ("torch",),
    "PyTorch and open_clip": ("torch", "open_clip_torch"),
}


def install_mb() -> dict[str, float]:
    """MB (10^6 bytes) of each of `PACKAGES`; and of PyTorch's library for processors, which every
    build of it has.
    """
    sizes = {title: _size(_files(with_requirements(*names))) for title, names in PACKAGES.items()}
    library = {file for file in _files({"torch"}) if file.stem == "libtorch_cpu"}
    return {**sizes, "of it libtorch_cpu": _size(library)}


def with_requirements(*names: str) -> set[str]:
    """The packages and all that they require on this machine."""
    waiting, seen = [Requirement(name) for name in names], set[tuple[str, frozenset[str]]]()
    while waiting:
        wanted = waiting.pop()
        key = (wanted.name, frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        for needed in map(Requirement, distribution(wanted.name).requires or []):
            extras = wanted.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return {name for name, _ in seen}


def _files(names: set[str]) -> set[Path]:
    listed = (file for name in names for file in distribution(name).files or [])
    return {Path(str(file.locate())) for file in listed}


def _size(files: set[Path]) -> float:
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1)
