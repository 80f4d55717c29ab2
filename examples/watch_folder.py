"""Classifies every photo that a camera drops into a folder: `python watch_folder.py
RUN/classifier.onnx FOLDER`

Needs onnxruntime, numpy and pillow alone. Prints a line of JSON for each new photo, once its size
stands still. With `--once` it stops when every photo that is there has its line.
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
    seen = {
        file: file.stat().st_size
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES
    }
    for file in [
        file for file, size in seen.items() if file not in done and sizes.get(file) == size
    ]:
        done.add(file)
        try:
            label, probability, sure = classify(str(file))
            print(
                json.dumps(
                    {
                        "file": file.name,
                        "class": label,
                        "probability": round(probability, 4),
                        "sure": sure,
                    }
                ),
                flush=True,
            )
        except OSError as error:  # not a photo, or damaged
            print(json.dumps({"file": file.name, "error": str(error)}), flush=True)
    sizes = seen
    if "--once" in sys.argv and done >= set(seen):
        break
    time.sleep(SECONDS)
