"""Runs a finished classifier with onnxruntime, numpy and pillow alone: `python classify.py
RUN/classifier.onnx PHOTO...`
"""

import json
import sys
from collections.abc import Callable

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def open_classifier(file: str) -> Callable[[str], tuple[str, float, bool]]:
    """A function from a photo's path to its class, the probability, and whether that is enough to
    be sure.
    """
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["edge_sharpzo_classifier"])
    card = about["image"]
    (height, width), mean, std = card["size"], np.array(card["mean"]), np.array(card["std"])
    if card["resize_mode"] != "shortest" or height != width:
        sys.exit("this example knows square crops of the shortest side only")

    def classify(path: str) -> tuple[str, float, bool]:
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        short = min(photo.size)
        size = (int(width * photo.width / short), int(width * photo.height / short))
        photo = photo.resize(size, Image.Resampling[card["interpolation"].upper()])
        left, top = round((photo.width - width) / 2), round((photo.height - height) / 2)
        pixels = (
            np.asarray(photo.crop((left, top, left + width, top + height))) / 255 - mean
        ) / std
        ((row,),) = session.run(
            None, {"pixel_values": pixels.transpose(2, 0, 1)[None].astype(np.float32)}
        )
        return (
            about["labels"][row.argmax()],
            float(row.max()),
            bool(row.max() >= (about["threshold"] or 0)),
        )

    return classify


if __name__ == "__main__":
    classify = open_classifier(sys.argv[1])
    for path in sys.argv[2:]:
        label, probability, sure = classify(path)
        print(path, label, f"{probability:.3f}", "" if sure else "(not sure)")
