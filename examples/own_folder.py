"""Tunes a prompt on a folder of photos from Python: `python own_folder.py CLIP.onnx IMGS
[PROMPT.npy]`

IMGS/<class>/* are the photos. The class names below show how a folder gets a better name than its
own.
"""

import os
import sys

# Before NumPy: its threads would wait on onnxruntime's cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
from pathlib import Path

import numpy as np

from edge_sharpzo import ClipOnnx, PromptObjective, SharpZO

NAMES = {"red_things": "red paint"}  # folder: what to call it
QUERIES = int(os.environ.get("QUERIES", "3000"))

clip = ClipOnnx(sys.argv[1])
folders = sorted(path for path in Path(sys.argv[2]).iterdir() if path.is_dir())
photos = [
    (photo, label)
    for label, folder in enumerate(folders)
    for photo in sorted(folder.glob("[!.]*.*"))[:16]
]
names = [NAMES.get(folder.name, folder.name.replace("_", " ")) for folder in folders]
features, labels = (
    clip.encode_images([photo for photo, _ in photos]),
    np.array([label for _, label in photos]),
)

objective = PromptObjective(clip, names, features, labels, template="a photo of {}.", dim=256)
optimizer = SharpZO(256, seed=0)
while objective.queries.total() < QUERIES:
    optimizer.tell(objective.losses(optimizer.ask(), optimizer.kind))

text = objective.text_features(optimizer.solution[None], "result")[0]
print(((features @ text.T).argmax(axis=1) == labels).sum(), "of", len(labels), "right")
if len(sys.argv) > 3:
    np.save(sys.argv[3], objective.contexts(optimizer.solution[None])[0])
