"""Fine-tunes CLIP's prompt on the device it runs on, with forward passes only.

    run = edge_sharpzo.tune("imgs", onnx="clip.onnx")
    edge_sharpzo.Classifier.load(run.folder).predict(["photo.jpg"])

Its parts, each of which imports only from those after it: `cli`, the command line; `station`, the
page, and `watching`, a run at a camera; `api`, for scripts; `run` and `classify`, a run being made
and at work; `pipeline`; `runs`; `classifier`; `tuning`; `album`; `photos`; `clip`; `system`.
"""

import os
from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

# Nothing leaves the device: onnxruntime's telemetry, which writes a device id and looks up its
# maker's host, is off from the moment that onnxruntime is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from edge_sharpzo.api import Run, check, sweep, tune
    from edge_sharpzo.classify import Classifier, Prediction
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from edge_sharpzo.system.errors import Cancelled, UserError
    from edge_sharpzo.tuning.methods.gauss_newton import GaussNewton
    from edge_sharpzo.tuning.methods.sharpzo import SharpZO
    from edge_sharpzo.tuning.objective import PromptObjective

__version__ = "0.2.0.dev0"
__all__ = [
    "Cancelled",
    "Classifier",
    "ClipOnnx",
    "Evaluation",
    "GaussNewton",
    "Prediction",
    "PromptObjective",
    "Run",
    "SharpZO",
    "UserError",
    "__version__",
    "check",
    "sweep",
    "tune",
]


def __dir__() -> list[str]:
    return sorted(__all__)


__getattr__ = exports(
    __name__,
    {
        "Cancelled": "system.errors",
        "Classifier": "classify",
        "ClipOnnx": "clip.clip_file",
        "Evaluation": "evaluation",
        "GaussNewton": "tuning.methods.gauss_newton",
        "Prediction": "classify",
        "PromptObjective": "tuning.objective",
        "Run": "api",
        "SharpZO": "tuning.methods.sharpzo",
        "UserError": "system.errors",
        "check": "api",
        "sweep": "api",
        "tune": "api",
    },
)
