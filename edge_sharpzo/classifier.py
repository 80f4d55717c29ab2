"""The finished classifier as one ONNX file: photo in, class probabilities out, no text tower and no edge-sharpzo needed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.graph_file import write_graph
from edge_sharpzo.onnx_format import ModelProto, node, tensor, value_info
from edge_sharpzo.run_folder import TunedPrompt
from edge_sharpzo.storage import write_atomic, write_text

CLASSIFIER, LABELS = "classifier.onnx", "labels.txt"
METADATA_KEY = "edge_sharpzo_classifier"


def write_classifier(folder: Path, clip: ClipOnnx, prompt: TunedPrompt) -> None:
    """Writes `classifier.onnx` and `labels.txt` (a class folder's name on each line) to `folder`.

    The graph maps `pixel_values` [N, 3, H, W] to `probabilities` [N, K]: the image tower, then the prompt's and the
    head's weights as one matrix, for both are linear in the image features. Its metadata holds, as JSON under
    `METADATA_KEY`, the labels and how a photo becomes pixel values.
    """
    write_atomic(folder / CLASSIFIER, lambda part: write_graph(_graph(clip, prompt), clip.folder, part))
    write_text(folder / LABELS, "".join(f"{label}\n" for label in prompt.folders))


def _graph(clip: ClipOnnx, prompt: TunedPrompt) -> ModelProto:
    model = clip.tower("image", integer=True)
    graph = model.graph
    (features,) = graph.output
    weight, bias = prompt.linear()
    graph.initializer.extend([tensor(weight.T, "classifier.weight"), tensor(bias, "classifier.bias")])
    graph.node.extend(
        [
            node("Gemm", [features.name, "classifier.weight", "classifier.bias"], ["classifier.logits"]),
            node("Softmax", ["classifier.logits"], ["probabilities"], axis=1),
        ]
    )
    batch = features.type.tensor_type.shape.dim[0].dim_param or "photos"
    graph.output[0].CopyFrom(value_info("probabilities", [batch, len(bias)]))
    told: dict[str, Any] = {"labels": prompt.folders, "names": prompt.names, "template": prompt.template, "image": asdict(clip.card.image)}
    entry = model.metadata_props.add()
    told |= {"threshold": prompt.calibration.threshold, "model_sha256": clip.sha256}
    entry.key, entry.value = METADATA_KEY, json.dumps(told, ensure_ascii=False)
    return model
