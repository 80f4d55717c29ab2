"""Runs a finished classifier with onnxruntime, numpy and pillow alone.

`python classify.py RUN/classifier.onnx PHOTO...`
"""

import json
import os
import sys
from collections.abc import Callable

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

Answer = tuple[str, float, bool]  # class, probability, whether that is enough to be sure


def open_classifier(file: str) -> Callable[[str], Answer]:
    """A function from a photo's path to the answer."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["edge_sharpzo_classifier"])
    card, threshold = about["image"], about["threshold"] or 0
    (height, width), mean, std = card["size"], np.array(card["mean"]), np.array(card["std"])
    resampling = Image.Resampling[card["interpolation"].upper()]
    if card["resize_mode"] != "shortest" or height != width:
        sys.exit("this example knows square crops of the shortest side only")

    def classify(path: str) -> Answer:
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        short = min(photo.size)
        size = (int(width * photo.width / short), int(width * photo.height / short))
        left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
        crop = photo.resize(size, resampling).crop((left, top, left + width, top + height))
        pixels = ((np.asarray(crop) / 255 - mean) / std).astype(np.float32)
        ((row,),) = session.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None]})
        return about["labels"][row.argmax()], float(row.max()), bool(row.max() >= threshold)

    return classify


if __name__ == "__main__":
    classify = open_classifier(sys.argv[1])
    for path in sys.argv[2:]:
        label, probability, sure = classify(path)
        print(path, label, f"{probability:.3f}", "" if sure else "(not sure)")
