"""Measurements. Every speed is a ratio within one run on the same cores."""

import edge_sharpzo as edge_sharpzo  # first: it switches onnxruntime's telemetry off
