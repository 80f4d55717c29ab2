"""Runs a finished classifier with onnxruntime, numpy and pillow alone: `python classify.py RUN/classifier.onnx PHOTO...`"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["edge_sharpzo_classifier"])
card = about["image"]
(height, width), mean, std = card["size"], np.array(card["mean"]), np.array(card["std"])
if card["resize_mode"] != "shortest" or height != width:
    sys.exit("this example knows square crops of the shortest side only")
for path in sys.argv[2:]:
    photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = (width / photo.width, width / photo.height)
    size = (width, int(width * photo.height / photo.width)) if scale[0] >= scale[1] else (int(width * photo.width / photo.height), width)
    photo = photo.resize(size, Image.Resampling[card["interpolation"].upper()])
    left, top = round((photo.width - width) / 2), round((photo.height - height) / 2)
    pixels = (np.asarray(photo.crop((left, top, left + width, top + height))) / 255 - mean) / std
    (probabilities,) = session.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    print(path, about["labels"][probabilities[0].argmax()], f"{probabilities[0].max():.3f}")
