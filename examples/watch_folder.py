"""Classifies every photo that a camera drops into a folder.

`python watch_folder.py RUN/classifier.onnx FOLDER` needs onnxruntime, numpy and pillow alone. It
prints one line of JSON for each new photo, once its size stands still. With `--once` it stops when
every photo that is there has its line.
"""

import json
import sys
import time
from pathlib import Path

from classify import open_classifier

SECONDS = 1.0  # between two looks
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}

classify, folder = open_classifier(sys.argv[1]), Path(sys.argv[2])
done: set[Path] = set()
sizes: dict[Path, int] = {}
while True:
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]
    seen = {file: file.stat().st_size for file in files}
    for file in (f for f, size in seen.items() if f not in done and sizes.get(f) == size):
        done.add(file)
        told: dict[str, object] = {"file": file.name}
        try:
            label, probability, sure = classify(str(file))
            told |= {"class": label, "probability": round(probability, 4), "sure": sure}
        except OSError as error:  # not a photo, or damaged
            told["error"] = str(error)
        print(json.dumps(told), flush=True)
    sizes = seen
    if "--once" in sys.argv and done >= set(seen):
        break
    time.sleep(SECONDS)
