"""A run on disk: settings, summary, history and the tuned prompt."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edge_sharpzo.calibration import Calibration
from edge_sharpzo.errors import UserError
from edge_sharpzo.heads import LinearHead
from edge_sharpzo.storage import parse_json, write_atomic, write_text

CONFIG, SUMMARY, HISTORY, PROMPT = "config.json", "summary.json", "history.jsonl", "prompt.safetensors"


@dataclass(frozen=True)
class TunedPrompt:
    """All that classification needs beside the image tower."""

    context: np.ndarray  # tuned context vectors [n_ctx, W], float32
    text_features: np.ndarray  # of the K classes [K, D], L2-normalised float32; with few shots the template has a share in them
    folders: list[str]
    names: list[str]
    template: str
    logit_scale: float
    model_sha256: str
    head: LinearHead | None = None  # its logits are added to the prompt's
    calibration: Calibration = field(default_factory=Calibration)

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight [K, D] and bias [K], float32: the prompt's and the head's logits are both linear in the features.

        They are calibrated: softmax of them gives probabilities that mean what they say.
        """
        weight, bias = np.float32(self.logit_scale) * self.text_features, np.zeros(len(self.text_features), np.float32)
        if self.head:
            weight, bias = weight + self.head.weight, bias + self.head.bias
        sharpness = np.float32(1 / self.calibration.temperature)
        return sharpness * weight, sharpness * bias

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits [N, K] of image features [N, D]."""
        weight, bias = self.linear()
        return features @ weight.T + bias


def create(folder: Path, config: dict[str, Any]) -> None:
    """Starts a run in `folder`. Raises UserError if it holds results already or cannot be written."""
    if any((folder / name).exists() for name in (PROMPT, HISTORY, SUMMARY)):
        raise UserError(f"{folder} already holds a run: choose another --out, or delete it")
    if (folder / CONFIG).exists() and "model_sha256" not in load_config(folder):
        raise UserError(f"{folder / CONFIG} is not a file of edge-sharpzo: choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): choose another --out") from error


def finish(folder: Path, summary: dict[str, Any], history: list[dict[str, Any]], prompt: TunedPrompt) -> None:
    """Writes the results; the summary last, so that its presence means a whole run. Raises UserError where it cannot."""
    labels = {"folders": prompt.folders, "names": prompt.names}
    metadata = {
        "labels": json.dumps(labels, ensure_ascii=False),
        "template": prompt.template,
        "logit_scale": repr(prompt.logit_scale),
        "model_sha256": prompt.model_sha256,
    }
    if prompt.head:
        metadata["head"] = prompt.head.name
    metadata["calibration"] = json.dumps(asdict(prompt.calibration))
    tensors = {"context": np.ascontiguousarray(prompt.context), "text_features": np.ascontiguousarray(prompt.text_features)}
    if prompt.head:
        tensors |= {"head_weight": np.ascontiguousarray(prompt.head.weight), "head_bias": np.ascontiguousarray(prompt.head.bias)}
    with writing_results(folder):
        write_atomic(folder / PROMPT, lambda part: save_file(tensors, part, metadata=metadata))
        write_text(folder / HISTORY, "".join(json.dumps(_without_nan(line)) + "\n" for line in history))
        write_text(folder / SUMMARY, json.dumps(_without_nan(summary), indent=1, ensure_ascii=False) + "\n")


@contextmanager
def writing_results(folder: Path) -> Iterator[None]:
    """Raises UserError where the results cannot be written."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the results to {folder} ({error}): make room there and go on with --resume {folder}") from error


def _without_nan(value: Any) -> Any:
    """`value` for JSON, which has no NaN and no infinity: null instead."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_prompt(folder: Path) -> TunedPrompt:
    """The tuned prompt of a run. Raises UserError if `folder` is no finished run or its prompt is damaged."""
    file = folder / PROMPT
    if not file.is_file():
        raise UserError(f"{folder} is not a finished run (no {PROMPT}): give the folder that `edge-sharpzo tune` printed")
    try:
        with safe_open(file, "np") as stored:
            metadata = stored.metadata() or {}
            context, text = stored.get_tensor("context"), stored.get_tensor("text_features")
            head = LinearHead(metadata["head"], stored.get_tensor("head_weight"), stored.get_tensor("head_bias")) if "head" in metadata else None
        labels = parse_json(metadata["labels"])
        folders, names, told = list(labels["folders"]), list(labels["names"]), parse_json(metadata["calibration"])
        prompt = TunedPrompt(
            context,
            text,
            folders,
            names,
            metadata["template"],
            float(metadata["logit_scale"]),
            metadata["model_sha256"],
            head,
            Calibration(float(told["temperature"]), None if told["threshold"] is None else float(told["threshold"])),
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}): tune again") from error
    whole = text.ndim == 2 and len(text) == len(prompt.folders) == len(prompt.names) and np.isfinite(text).all()
    whole = whole and math.isfinite(prompt.logit_scale) and prompt.calibration.temperature > 0
    whole = whole and (head is None or (head.weight.shape == text.shape and head.bias.shape == text.shape[:1]))
    if not whole:
        raise UserError(f"{file} is damaged (its features do not fit its {len(prompt.folders)} classes): tune again")
    return prompt


def load_config(folder: Path) -> dict[str, Any]:
    """The settings of a run. Raises UserError if they cannot be read."""
    try:
        config = parse_json((folder / CONFIG).read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {folder / CONFIG} ({error}): give a folder that `edge-sharpzo tune` made") from error
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG} is damaged: give a folder that `edge-sharpzo tune` made")
    return config
