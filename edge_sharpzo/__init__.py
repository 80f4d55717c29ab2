"""Fine-tunes CLIP's prompt on the device it runs on, with forward passes only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sharpzo.clip_file import ClipOnnx
    from edge_sharpzo.methods.gauss_newton import GaussNewton
    from edge_sharpzo.methods.sharpzo import SharpZO
    from edge_sharpzo.objective import PromptObjective

__version__ = "0.1.0"
__all__ = ["ClipOnnx", "GaussNewton", "PromptObjective", "SharpZO", "__version__"]

_HOMES = {
    "ClipOnnx": "edge_sharpzo.clip_file",
    "GaussNewton": "edge_sharpzo.methods.gauss_newton",
    "PromptObjective": "edge_sharpzo.objective",
    "SharpZO": "edge_sharpzo.methods.sharpzo",
}


def __getattr__(name: str) -> Any:
    """Imports a public class when it is first asked for, so that `edge-sharpzo --help` need not wait for onnxruntime."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edge_sharpzo' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
