"""Fine-tunes CLIP's prompt on the device it runs on, with forward passes only.

    run = edge_sharpzo.tune("imgs", onnx="clip.onnx")
    edge_sharpzo.Classifier.load(run.folder).predict(["photo.jpg"])

The rooms, from the street down; each imports only from those behind it: `cli`; `api` and
`classify`, the doors for Python; `run` and `pipeline`; `runs`, `classifier`, `tuning`, `photos`,
`clip`, `system`.
"""

import os
from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

# Nothing leaves the device: onnxruntime's telemetry, which writes a device id and looks up its
# maker's host, is off from the moment that onnxruntime is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from edge_sharpzo.api import Run, tune
    from edge_sharpzo.classify import Classifier, Evaluation, Prediction
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from edge_sharpzo.system.errors import Cancelled, UserError
    from edge_sharpzo.tuning.methods.gauss_newton import GaussNewton
    from edge_sharpzo.tuning.methods.sharpzo import SharpZO
    from edge_sharpzo.tuning.objective import PromptObjective

__version__ = "0.1.0"
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
    "tune",
]

__getattr__ = exports(
    __name__,
    {
        "Cancelled": "system.errors",
        "Classifier": "classify",
        "ClipOnnx": "clip.clip_file",
        "Evaluation": "classify",
        "GaussNewton": "tuning.methods.gauss_newton",
        "Prediction": "classify",
        "PromptObjective": "tuning.objective",
        "Run": "api",
        "SharpZO": "tuning.methods.sharpzo",
        "UserError": "system.errors",
        "tune": "api",
    },
)
