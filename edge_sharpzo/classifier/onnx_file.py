"""The finished classifier as one ONNX file: photo in, class probabilities out.

It needs no text tower and no edge-sharpzo.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sharpzo.classifier.image_input import (
    IMAGE,
    OLDEST_OPSET,
    PIXELS,
    can_take_photos,
    take_photo,
)
from edge_sharpzo.classifier.known_graph import KNOWN, add_known
from edge_sharpzo.classifier.tuned import CLASSIFIER, LABELS, TunedPrompt
from edge_sharpzo.clip.card import CLASSIFIER_KEY
from edge_sharpzo.clip.onnx.graph_file import write_graph
from edge_sharpzo.clip.onnx.messages import GraphProto, node, tensor, value_info
from edge_sharpzo.clip.onnx.parts import set_names_apart
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.storage import write_atomic, write_text

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx

# What to feed, as the metadata says it.
_PHOTO = {"name": IMAGE, "dtype": "uint8", "layout": "HWC", "colours": "RGB"}
_PREPARED = {"name": PIXELS, "dtype": "float32", "layout": "NCHW", "colours": "RGB"}
_KNOWN_TOLD = {
    "name": KNOWN,
    "threshold": 0.0,
    "meaning": "below the threshold the photo is of none of the classes; the score is in standard "
    "deviations of photos of the classes, and the threshold is to keep the share `keep` of these",
}
_TOO_OLD = (
    f"{CLASSIFIER} takes prepared pixels, as with `plain_classifier`: the model's operators are "
    f"older than ONNX's version {OLDEST_OPSET}, the first that can resize photos. Export the model "
    "again with this version"
)


def write_classifier(
    folder: Path, clip: "ClipOnnx", prompt: TunedPrompt, plain: bool = False
) -> str | None:
    """Writes `classifier.onnx` and `labels.txt` (a class folder's name per line) to `folder`.

    The graph maps `image`, a decoded photo (uint8 RGB [H, W, 3], any size), to `probabilities`
    [1, K]: resizing, cropping and normalising, the image tower, then the prompt's and the head's
    weights as one matrix, for both are linear in the image features. With `plain` it maps
    `pixel_values` (float32 [N, 3, H, W]), photos already prepared, to [N, K]. Where the classifier
    can tell, `known` [N] is the score of being known less its threshold. The metadata hold,
    as JSON under `CLASSIFIER_KEY`, which of the two, the labels, and how a photo becomes pixel
    values. A model with 8-bit weights multiplies in integers there if this machine can.

    Returns what to tell where the file is plain though that was not asked for, else None.
    """
    model = clip.tower(Tower.IMAGE, integer=True)
    set_names_apart(model.graph, "tower.", keep=[PIXELS])
    takes_photos = not plain and can_take_photos(model)
    if takes_photos:
        take_photo(model.graph, clip.card.image)
    _classify(model.graph, prompt, takes_photos)
    told = {
        "input": _PHOTO if takes_photos else _PREPARED,
        "labels": prompt.folders,
        "names": prompt.names,
        "template": prompt.template,
        "image": asdict(clip.card.image),
        "threshold": prompt.calibration.threshold,
        "known": _KNOWN_TOLD | {"keep": prompt.known.keep} if prompt.known else None,
        "model_sha256": clip.sha256,
    }
    model.metadata_props.add(key=CLASSIFIER_KEY, value=json.dumps(told, ensure_ascii=False))
    write_atomic(folder / CLASSIFIER, lambda part: write_graph(model, clip.folder, part))
    write_text(folder / LABELS, "".join(f"{label}\n" for label in prompt.folders))
    return None if takes_photos or plain else _TOO_OLD


def _classify(graph: GraphProto, prompt: TunedPrompt, one_photo: bool) -> None:
    """Puts `probabilities`, and `known`, in the place of the image features, the one output."""
    (features,) = graph.output
    name = features.name
    weight, bias = prompt.linear()
    weights = [tensor(weight.T, "classifier.weight"), tensor(bias, "classifier.bias")]
    graph.initializer.extend(weights)
    inputs = [name, "classifier.weight", "classifier.bias"]
    graph.node.extend(
        [
            node("Gemm", inputs, ["classifier.logits"]),
            node("Softmax", ["classifier.logits"], ["probabilities"], axis=1),
        ]
    )
    batch = features.type.tensor_type.shape.dim[0].dim_param or "photos"
    photos = 1 if one_photo else batch
    graph.output[0].CopyFrom(value_info("probabilities", [photos, len(bias)]))
    if prompt.known:
        add_known(graph, name, prompt.known)
        graph.output.append(value_info(KNOWN, [photos]))
