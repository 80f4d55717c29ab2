"""Runs a finished classifier with onnxruntime, numpy and pillow alone.

`python classify.py RUN/classifier.onnx PHOTO...`

Copy it together with the folder `images` beside it, by which edge-sharpzo itself reads photos.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported
import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent))  # where `images` lies, whoever runs this file
from images import UnreadableImageError, load_image, preprocess, resized

# Class, probability, whether that is enough to be sure, and whether it is of the classes at all,
# None where the classifier cannot tell.
Answer = tuple[str, float, bool, bool | None]


def open_classifier(file: str) -> Callable[[str], Answer]:
    """A function from a photo's path to the answer.

    The function raises UnreadableImageError, with the reason, for a photo that cannot be used.
    """
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["edge_sharpzo_classifier"])
    card, threshold = SimpleNamespace(**about["image"]), about["threshold"] or 0
    (wanted,) = session.get_inputs()
    outputs = ["probabilities"] + (["known"] if about.get("known") else [])

    def feed(path: str) -> np.ndarray:
        """`image`: the photo as it is; or `pixel_values`: resized, cropped and normalised."""
        photo = load_image(path)
        if wanted.name == "pixel_values":
            return preprocess(photo, card)[None]
        resized(photo.size, card)  # refuses what would take too much memory
        return np.asarray(photo)

    def classify(path: str) -> Answer:
        ((row,), *score) = session.run(outputs, {wanted.name: feed(path)})
        if not np.isfinite(row).all():
            raise UnreadableImageError("the image tower makes no finite numbers of it")
        known = bool(score[0][0] >= 0) if score else None
        sure = bool(row.max() >= threshold) and known is not False
        return about["labels"][row.argmax()], float(row.max()), sure, known

    return classify


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python classify.py RUN/classifier.onnx PHOTO...")
    if not Path(sys.argv[1]).is_file():
        sys.exit(f"{sys.argv[1]} is no file: give a run's classifier.onnx")
    classify = open_classifier(sys.argv[1])
    for path in sys.argv[2:]:
        try:
            label, probability, sure, known = classify(path)
        except UnreadableImageError as error:
            print(f"skipped {path}: {error}", file=sys.stderr)
            continue
        doubt = "none of these; nearest: " if known is False else "" if sure else "not sure: "
        print(f"{path}: {doubt}{label} {probability:.3f}")
