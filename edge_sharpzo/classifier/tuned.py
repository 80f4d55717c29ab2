"""All that classification needs beside the image tower: prompt, head and calibration."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_sharpzo.classifier.by_name import ByName
from edge_sharpzo.classifier.calibration import Calibration
from edge_sharpzo.classifier.heads import DEFAULT_HEAD, LinearHead
from edge_sharpzo.classifier.known import Known
from edge_sharpzo.clip.card import MOST_SCALE, ModelCard
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import as_type, parse_json
from edge_sharpzo.system.tensors import load_tensors, save_tensors
from edge_sharpzo.system.text import first_line, is_line

PROMPT = "prompt.safetensors"
CLASSIFIER, LABELS = "classifier.onnx", "labels.txt"  # beside it, for other engines


@dataclass(frozen=True)
class TunedPrompt:
    """A tuned prompt made ready to classify image features."""

    context: np.ndarray  # tuned context vectors [n_ctx, W], float32
    # Of the K classes [K, D], L2-normalised float32. With few shots the template has a share in
    # them, so that they are not exactly what the tower makes of `context`.
    text_features: np.ndarray
    folders: list[str]
    names: list[str]
    template: str
    logit_scale: float
    model_sha256: str
    head: LinearHead | None = None  # its logits are added to the prompt's
    calibration: Calibration = field(default_factory=Calibration)
    # The last of the classes, which had no photo to learn from: their folders.
    without_photos: list[str] = field(default_factory=list)
    by_name: ByName | None = None  # what more such classes need; heads but text-gda have none
    known: Known | None = None  # tells "none of these"; None: too few photos, or an older version

    def with_names(self, folders: list[str], names: list[str], text: np.ndarray) -> "TunedPrompt":
        """The same with more classes, without photos: the template's text features are [M, D].

        It has a `by_name`.
        """
        if not folders:
            return self
        assert self.by_name
        classes, dim = self.text_features.shape
        nothing = np.zeros((classes, dim), np.float32)
        head = self.head or LinearHead(DEFAULT_HEAD, nothing, nothing[:, 0])
        more = self.by_name.rows(text)
        weight, bias = map(np.concatenate, zip((head.weight, head.bias), more, strict=True))
        return replace(
            self,
            text_features=np.concatenate([self.text_features, text]),
            folders=[*self.folders, *folders],
            names=[*self.names, *names],
            head=LinearHead(head.name, weight, bias),
            without_photos=[*self.without_photos, *folders],
            known=self.known and self.known.with_classes(self.by_name.means(text), text),
        )

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight [K, D] and bias [K], float32, whose softmax gives calibrated probabilities.

        The prompt's and the head's logits are both linear in the features.
        """
        weight = np.float32(self.logit_scale) * self.text_features
        bias = np.zeros(len(self.text_features), np.float32)
        if self.head:
            weight, bias = weight + self.head.weight, bias + self.head.bias
        inverse = np.float32(1 / self.calibration.temperature)
        return inverse * weight, inverse * bias

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Calibrated logits [N, K] of image features [N, D]."""
        weight, bias = self.linear()
        return features @ weight.T + bias

    def save(self, folder: Path) -> None:
        """Writes `prompt.safetensors`."""
        labels = {"folders": self.folders, "names": self.names}
        if self.without_photos:
            labels["without_photos"] = self.without_photos
        metadata = {
            "labels": json.dumps(labels, ensure_ascii=False),
            "template": self.template,
            "logit_scale": repr(self.logit_scale),
            "model_sha256": self.model_sha256,
        }
        tensors = {"context": self.context, "text_features": self.text_features}
        if self.head:
            metadata["head"] = self.head.name
            tensors |= {"head_weight": self.head.weight, "head_bias": self.head.bias}
        if known := self.by_name:
            metadata["by_name"] = json.dumps([known.lean, known.readiness])
            tensors |= {"by_name_precision": known.precision, "by_name_offset": known.offset}
        if self.known:
            metadata |= {"known": self.known.numbers()}
            tensors |= {f"known_{name}": part for name, part in self.known.tensors().items()}
        metadata["calibration"] = json.dumps(asdict(self.calibration))
        save_tensors(folder / PROMPT, tensors, metadata)

    @classmethod
    def load(cls, folder: Path) -> "TunedPrompt":
        """Reads `prompt.safetensors`. Raises UserError if it is missing or damaged."""
        file = folder / PROMPT
        if not file.is_file():
            raise UserError(
                f"{folder} is not a finished run (no {PROMPT}): give the folder that tuning wrote"
            )
        try:
            prompt = _read(file)
        except (OSError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise UserError(f"{file} is damaged ({first_line(error, 200)}): tune again") from error
        if not _is_whole(prompt):
            raise UserError(
                f"{file} is damaged (its features do not fit its {len(prompt.folders)} classes, or "
                "a number is none): tune again"
            )
        return prompt

    def fits(self, card: ModelCard) -> bool:
        """Whether the sizes of its vectors are those of the model."""
        sizes = (self.text_features.shape[1], self.context.shape[1])
        return sizes == (card.feature_dim, card.text.width)


def _read(file: Path) -> TunedPrompt:
    tensors, metadata = load_tensors(file)
    head = None
    if "head" in metadata:
        head = LinearHead(metadata["head"], tensors["head_weight"], tensors["head_bias"])
    by_name = None
    if "by_name" in metadata:
        lean, readiness = as_type(parse_json(metadata["by_name"]), tuple[float, float])
        place = tensors["by_name_precision"], tensors["by_name_offset"]
        by_name = ByName(*place, lean, readiness)
    known = None
    if "known" in metadata:
        own = {name.removeprefix("known_"): tensors[name] for name in tensors}
        known = Known.restored(metadata["known"], own)
    labels = as_type(parse_json(metadata["labels"]), dict[str, list[str]])
    return TunedPrompt(
        context=tensors["context"],
        text_features=tensors["text_features"],
        folders=labels["folders"],
        names=labels["names"],
        template=metadata["template"],
        logit_scale=float(metadata["logit_scale"]),
        model_sha256=metadata["model_sha256"],
        head=head,
        calibration=as_type(parse_json(metadata["calibration"]), Calibration),
        without_photos=labels.get("without_photos", []),
        by_name=by_name,
        known=known,
    )


def _is_whole(prompt: TunedPrompt) -> bool:
    """Whether shapes fit each other and all numbers make sense."""
    text, head, calibration = prompt.text_features, prompt.head, prompt.calibration
    threshold = calibration.threshold
    by_name, without = prompt.by_name, prompt.without_photos
    parts = [prompt.context, text, *((head.weight, head.bias) if head else ())]
    parts += [by_name.precision, by_name.offset] if by_name else []
    return bool(
        all(part.dtype == np.float32 and np.isfinite(part).all() for part in parts)
        and (text.ndim, prompt.context.ndim) == (2, 2)
        and len(text) == len(prompt.folders) == len(prompt.names) > 0
        and len(set(prompt.folders)) == len(prompt.folders)
        and all(is_line(name) for name in (*prompt.folders, *prompt.names))
        and 0 < prompt.logit_scale <= MOST_SCALE
        and 0 < calibration.temperature < math.inf
        and (threshold is None or 0 <= threshold <= 1)
        and (head is None or head.fits(*text.shape))
        and (by_name is None or by_name.fits(text.shape[1]))
        and (prompt.known is None or prompt.known.fits(*text.shape))
        and without == prompt.folders[len(text) - len(without) :]
        and all(np.isfinite(part).all() for part in prompt.linear())
    )
