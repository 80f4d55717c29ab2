"""What classifies: closed-form heads, their mix with the prompt, calibration, the ONNX file."""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.classifier.heads import HEADS, LinearHead
    from edge_sharpzo.classifier.tuned import TunedPrompt

__all__ = ["HEADS", "LinearHead", "TunedPrompt"]
__getattr__ = exports(__name__, {"HEADS": "heads", "LinearHead": "heads", "TunedPrompt": "tuned"})
