"""ONNX graphs without the onnx package: its messages, reading and writing, cutting, integers."""
