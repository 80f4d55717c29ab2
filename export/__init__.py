"""The workstation step: CLIP in PyTorch -> `clip.onnx`. The only package that imports torch and
open_clip.
"""
