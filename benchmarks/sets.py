"""The photo sets that accuracy is measured on: folders `<set>/{train,test}/<class>`, each with its prompt template."""

from dataclasses import dataclass
from pathlib import Path

from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.dataset import load_dataset
from edge_sharpzo.features import Splits, encode_splits
from edge_sharpzo.objective import DEFAULT_TEMPLATE

# The sets of the published figures; a folder of another name takes DEFAULT_TEMPLATE, or its own template.txt.
TEMPLATES = {
    "clothing": "a photo of a {}.",
    "trashnet": "a photo of {} waste.",
    "grocery": "a photo of {} in a grocery store.",
    "ucmerced": "a centered satellite photo of {}.",
    "dtd10": "{} texture.",
}


@dataclass(frozen=True)
class Problem:
    """One few-shot draw of a set: its photos' features by split."""

    names: list[str]
    template: str
    splits: Splits


def template_of(folder: Path) -> str:
    """The set's prompt template."""
    own = folder / "template.txt"
    return own.read_text(encoding="utf8").strip() if own.exists() else TEMPLATES.get(folder.name, DEFAULT_TEMPLATE)


def load_problem(clip: ClipOnnx, folder: Path, shots: int, seed: int) -> Problem:
    """Draws and encodes (or reads from the cache) the photos of one set."""
    dataset = load_dataset(folder, shots, seed)
    return Problem(dataset.names, template_of(folder), encode_splits(clip, dataset))
