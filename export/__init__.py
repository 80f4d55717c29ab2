"""The workstation step: CLIP in PyTorch -> `clip.onnx`; the only place that imports torch."""

import edge_sharpzo as edge_sharpzo  # first: it switches onnxruntime's telemetry off
