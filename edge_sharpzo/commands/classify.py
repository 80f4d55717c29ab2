"""`edge-sharpzo predict` and `edge-sharpzo eval`: uses a finished run on photos."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_sharpzo import run_folder
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.dataset import SUFFIXES, Photos, labelled_photos, photos_under
from edge_sharpzo.display import Display
from edge_sharpzo.errors import UserError
from edge_sharpzo.features import encode_photos
from edge_sharpzo.loss import softmax
from edge_sharpzo.run_folder import TunedPrompt

STDIN = Path("-")


def _open_run(run: Path, onnx: Path | None, threads: int) -> tuple[ClipOnnx, TunedPrompt]:
    """The run's prompt and the model it was tuned for. Raises UserError when the model file is another one."""
    prompt = run_folder.load_prompt(run)
    if onnx is None:
        options = run_folder.load_config(run).get("options")
        stored = options.get("onnx") if isinstance(options, dict) else None
        if not isinstance(stored, str):
            raise UserError(f"{run / run_folder.CONFIG} does not say which model was tuned: add --onnx FILE")
        onnx = Path(stored)
        if not onnx.is_file():
            raise UserError(f"the model of this run, {onnx}, is gone: add --onnx with its new place")
    clip = ClipOnnx(onnx, threads)
    if clip.sha256 != prompt.model_sha256:
        raise UserError(f"{onnx} is not the model that {run} was tuned for: add --onnx with that model, or tune again")
    return clip, prompt


def listed_photos(images: list[Path]) -> list[Path]:
    """The files among `images`, the photos in its folders, and for `-` those that standard input names, one a line.

    Raises UserError for a folder without photos.
    """
    found: list[Path] = []
    for image in images:
        if image == STDIN:
            found += [Path(line) for line in sys.stdin.read().splitlines() if line.strip()]
        elif image.is_dir():
            photos = photos_under(image)
            if not photos:
                raise UserError(f"{image} holds no photos ({', '.join(sorted(SUFFIXES)[:4])} ...)")
            found += photos
        else:
            found.append(image)
    if not found:
        raise UserError("standard input names no photos: give one path on each line")
    return found


def run_predict(run: Path, images: list[Path], onnx: Path | None, threads: int, display: Display, top: int = 3) -> list[dict[str, Any]]:
    """For each photo `{file, class, probability, sure, top}`, or `{file, error}` where it cannot be read; `top` classes each.

    Raises UserError.
    """
    if top < 1:
        raise UserError(f"--top {top}: ask for at least one class")
    clip, prompt = _open_run(run, onnx, threads)
    images = listed_photos(images)
    errors: dict[Path, str] = {}
    features, readable, _ = encode_photos(clip, images, None, skipped=lambda path, reason: errors.update({path: reason}))
    if not readable.any():
        path, reason = next(iter(errors.items()))
        raise UserError(f"none of the {len(images)} files is a photo that can be read ({path}: {reason})")
    probabilities = softmax(prompt.logits(features))
    results: list[dict[str, Any]] = []
    for image, row, ok in zip(images, probabilities, readable, strict=True):
        if not ok:
            display.say(f"skipped {image}: {errors[image]}")
            results.append({"file": str(image), "error": errors[image]})
            continue
        order = np.argsort(-row, kind="stable")[:top]
        best = [{"class": prompt.folders[i], "probability": round(float(row[i]), 6)} for i in order]
        results.append({"file": str(image), **best[0], "sure": float(row[order[0]]) >= (prompt.calibration.threshold or 0.0), "top": best})
    return results


def run_eval(run: Path, data: Path, onnx: Path | None, threads: int, display: Display, class_names: Path | None = None) -> dict[str, Any]:
    """Accuracy of a run on labelled photos that it was not tuned on, whole and by class. Raises UserError."""
    clip, prompt = _open_run(run, onnx, threads)
    photos = labelled_photos(data, prompt.folders, prompt.names, class_names)
    listed = run_folder.load_config(run).get("tuned_on")
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        raise UserError(f"{run / run_folder.CONFIG} does not list the photos that were tuned on, which must not be counted: tune again")
    tuned_on = set(listed)
    fresh = [i for i, path in enumerate(photos.paths) if str(path.resolve()) not in tuned_on]
    if len(fresh) < len(photos.paths):
        display.say(f"note: {len(photos.paths) - len(fresh)} of {len(photos.paths)} photos were tuned on and are left out")
        photos = Photos([photos.paths[i] for i in fresh], photos.labels[fresh])
    if not fresh:
        raise UserError(f"all photos under {data} were tuned on: give --data other photos")
    skipped: list[Path] = []

    def skip(path: Path, reason: str) -> None:
        skipped.append(path)
        display.say(f"skipped {path}: {reason}")

    features, readable, _ = encode_photos(clip, photos.paths, data, display.photos, skip)
    if not readable.any():
        raise UserError(f"no photo under {data} can be read")
    labels = photos.labels[readable]
    right = prompt.logits(features[readable]).argmax(axis=1) == labels
    by_class = {name: float(right[labels == i].mean()) for i, name in enumerate(prompt.folders) if (labels == i).any()}
    return {"accuracy": float(right.mean()), "photos": len(labels), "skipped": len(skipped), "by_class": by_class}
