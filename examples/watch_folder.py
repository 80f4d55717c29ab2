"""Classifies every photo that a camera drops into a folder.

`python watch_folder.py RUN/classifier.onnx FOLDER` needs onnxruntime, numpy and pillow alone. It
prints one line of JSON for each photo, once its file stands still, and again whenever it was
written anew. With `--once` it stops when every photo that is there has its line.
"""

import json
import stat
import sys
import time
from pathlib import Path

from classify import open_classifier

SECONDS = 1.0  # between two looks
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
Stamp = tuple[int, int, int, int]  # what changes when a file is written or replaced


def stamp(file: Path) -> Stamp | None:
    """The stamp of a photo's file; None where there is none, or none any more."""
    if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def look(folder: Path) -> dict[Path, Stamp]:
    """The photos in the folder. A folder that is away, as a camera's card may be, holds none."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        print(f"cannot look into {folder}: {error}", file=sys.stderr, flush=True)
        return {}
    stamps = ((file, stamp(file)) for file in files)
    return {file: found for file, found in stamps if found is not None}


if __name__ == "__main__":
    classify, folder = open_classifier(sys.argv[1]), Path(sys.argv[2])
    if not folder.is_dir():
        sys.exit(f"{folder} is not a folder: give the one that photos come into")
    before: dict[Path, Stamp] = {}  # at the last look
    done: dict[Path, Stamp] = {}  # that have their line
    while True:
        seen = look(folder)
        done = {file: was for file, was in done.items() if file in seen}
        for file, now in seen.items():
            if done.get(file) == now or before.get(file) != now:
                continue  # told already, or still being written
            told: dict[str, object] = {"file": file.name}
            try:
                label, probability, sure, known = classify(str(file))
                told |= {"class": label, "probability": round(probability, 4)}
                told |= {"sure": sure, "known": known}
            except Exception as error:  # whatever is wrong with one file, the next ones come
                told["error"] = str(error)
            if stamp(file) == now:  # else it was written meanwhile, or is gone: the next look tells
                done[file] = now
                print(json.dumps(told), flush=True)
        before = seen
        if "--once" in sys.argv and done == seen:
            break
        time.sleep(SECONDS)
