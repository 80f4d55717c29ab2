"""The finished classifier as one ONNX file: photo in, class probabilities out.

It needs no text tower and no edge-sharpzo.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.clip.card import CLASSIFIER_KEY
from edge_sharpzo.clip.onnx.graph_file import write_graph
from edge_sharpzo.clip.onnx.messages import ModelProto, node, tensor, value_info
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.storage import write_atomic, write_text

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx

CLASSIFIER, LABELS = "classifier.onnx", "labels.txt"


def write_classifier(folder: Path, clip: "ClipOnnx", prompt: TunedPrompt) -> None:
    """Writes `classifier.onnx` and `labels.txt` (a class folder's name per line) to `folder`.

    The graph maps `pixel_values` [N, 3, H, W] to `probabilities` [N, K]: the image tower, then the
    prompt's and the head's weights as one matrix, for both are linear in the image features. Its
    metadata holds, as JSON under `CLASSIFIER_KEY`, the labels and how a photo becomes pixel values.
    A model with 8-bit weights multiplies in integers there if this machine can.
    """
    graph = _graph(clip, prompt)
    write_atomic(folder / CLASSIFIER, lambda part: write_graph(graph, clip.folder, part))
    write_text(folder / LABELS, "".join(f"{label}\n" for label in prompt.folders))


def _graph(clip: "ClipOnnx", prompt: TunedPrompt) -> ModelProto:
    model = clip.tower(Tower.IMAGE, integer=True)
    graph = model.graph
    (features,) = graph.output
    weight, bias = prompt.linear()
    weights = [tensor(weight.T, "classifier.weight"), tensor(bias, "classifier.bias")]
    graph.initializer.extend(weights)
    inputs = [features.name, "classifier.weight", "classifier.bias"]
    graph.node.extend(
        [
            node("Gemm", inputs, ["classifier.logits"]),
            node("Softmax", ["classifier.logits"], ["probabilities"], axis=1),
        ]
    )
    batch = features.type.tensor_type.shape.dim[0].dim_param or "photos"
    graph.output[0].CopyFrom(value_info("probabilities", [batch, len(bias)]))
    told = {
        "labels": prompt.folders,
        "names": prompt.names,
        "template": prompt.template,
        "image": asdict(clip.card.image),
        "threshold": prompt.calibration.threshold,
        "model_sha256": clip.sha256,
    }
    model.metadata_props.add(key=CLASSIFIER_KEY, value=json.dumps(told, ensure_ascii=False))
    return model
