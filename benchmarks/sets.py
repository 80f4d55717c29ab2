"""The photo sets that accuracy is measured on: folders `<set>/{train,test}/<class>`, each with its prompt template."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.dataset import Dataset, load_dataset
from edge_sharpzo.features import encode_photos
from edge_sharpzo.objective import DEFAULT_TEMPLATE

# The sets of the published figures; a folder of another name takes DEFAULT_TEMPLATE, or its own template.txt.
TEMPLATES = {
    "clothing": "a photo of a {}.",
    "trashnet": "a photo of {} waste.",
    "grocery": "a photo of {} in a grocery store.",
    "ucmerced": "a centered satellite photo of {}.",
    "dtd10": "{} texture.",
}
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """One few-shot draw of a set: features [N, D] and labels [N] by split."""

    names: list[str]
    template: str
    train: Pair
    val: Pair
    test: Pair


def template_of(folder: Path) -> str:
    """The set's prompt template."""
    own = folder / "template.txt"
    return own.read_text(encoding="utf8").strip() if own.exists() else TEMPLATES.get(folder.name, DEFAULT_TEMPLATE)


def load_problem(clip: ClipOnnx, folder: Path, shots: int, seed: int) -> Problem:
    """Draws and encodes (or reads from the cache) the photos of one set."""
    return encode_problem(clip, load_dataset(folder, shots, seed), template_of(folder))


def encode_problem(clip: ClipOnnx, dataset: Dataset, template: str) -> Problem:
    """The dataset's photos as features."""
    parts = (dataset.train, dataset.val, dataset.test)
    features, readable = encode_photos(clip, [path for part in parts for path in part.paths], dataset.root)
    pairs, start = [], 0
    for part in parts:
        rows = slice(start, start + len(part))
        pairs.append((features[rows][readable[rows]], part.labels[readable[rows]]))
        start += len(part)
    return Problem(dataset.names, template, *pairs)
