"""The eleven few-shot sets in the layout that CoOp publishes (Zhou et al., IJCV 2022, DATASETS.md),
with its prompt templates.

Nine of them come with a `split_zhou_*.json` of `[path, label, class name]` triples; FGVC-Aircraft
has text lists of its own and ImageNet is plain folders, with `classnames.txt` beside them.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_sharpzo.photos.draw import MAX_VALIDATION_SHOTS
from edge_sharpzo.photos.found import POOL, TEST, VAL, Found, Photos
from edge_sharpzo.system.errors import UserError

Row = tuple[Path, int, str]  # photo, label, class name


@dataclass(frozen=True)
class CoopSet:
    """Where a set lies under the data folder and how it is prompted."""

    folder: str
    images: str
    split: str | None
    template: str
    sharpzo: float  # per cent, ViT-B/16, 16 shots (SharpZO, Table 1)
    zero_shot: float


PHOTO = "a photo of a {}."
SETS = {
    "imagenet": CoopSet("imagenet", "images", None, PHOTO, 71.60, 66.73),
    "pets": CoopSet(
        "oxford_pets",
        "images",
        "split_zhou_OxfordPets.json",
        "a photo of a {}, a type of pet.",
        94.06,
        89.21,
    ),
    "flowers": CoopSet(
        "oxford_flowers",
        "jpg",
        "split_zhou_OxfordFlowers.json",
        "a photo of a {}, a type of flower.",
        88.02,
        71.34,
    ),
    "fgvc": CoopSet(
        "fgvc_aircraft", "images", None, "a photo of a {}, a type of aircraft.", 32.34, 24.72
    ),
    "dtd": CoopSet(
        "dtd", "images", "split_zhou_DescribableTextures.json", "{} texture.", 63.95, 44.39
    ),
    "eurosat": CoopSet(
        "eurosat",
        "2750",
        "split_zhou_EuroSAT.json",
        "a centered satellite photo of {}.",
        79.42,
        47.60,
    ),
    "cars": CoopSet("stanford_cars", "", "split_zhou_StanfordCars.json", PHOTO, 72.50, 65.32),
    "food": CoopSet(
        "food-101",
        "images",
        "split_zhou_Food101.json",
        "a photo of {}, a type of food.",
        87.13,
        86.06,
    ),
    "sun": CoopSet("sun397", "SUN397", "split_zhou_SUN397.json", PHOTO, 70.86, 62.50),
    "caltech": CoopSet(
        "caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json", PHOTO, 95.09, 92.94
    ),
    "ucf": CoopSet(
        "ucf101",
        "UCF-101-midframes",
        "split_zhou_UCF101.json",
        "a photo of a person doing {}.",
        77.08,
        66.75,
    ),
}


def load_coop_set(name: str, root: Path, shots: int, seed: int) -> Found:
    """`shots` training photos per class, min(shots, 4) validation photos from the set's own
    validation part, all its test photos.

    Raises UserError when the set is not under `root` in the published layout.
    """
    place = SETS[name]
    folder = root / place.folder
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not there: put {name} under --data in the layout of CoOp's DATASETS.md"
        )
    read = {"imagenet": _imagenet, "fgvc": _aircraft}.get(name, _zhou)
    parts = read(folder, place)
    labels = sorted({(label, text) for _, label, text in parts["train"]})
    if [label for label, _ in labels] != list(range(len(labels))):
        raise UserError(
            f"{folder}: the labels of its training photos are not 0 to K - 1 with one name each"
        )
    rng = np.random.default_rng([seed, *name.encode()])
    train = _draw(parts["train"], shots, rng)
    # ImageNet has no validation part of its own in CoOp: the photos then come out of training's
    # rest.
    spare = parts["val"] or [row for row in parts["train"] if row not in set(train)]
    val = _draw(spare, min(shots, MAX_VALIDATION_SHOTS), rng)
    names = [_readable(text) for _, text in labels]
    rows = (train, val, parts["test"])
    lies = np.repeat([POOL, VAL, TEST], [len(part) for part in rows])
    return Found(folder, names, names, _photos(row for part in rows for row in part), lies)


def _readable(name: str) -> str:
    """A class name as CoOp puts it into the prompt: underscores become spaces (UCF's CamelCase was
    split by its JSON already).
    """
    return name.replace("_", " ")


def _photos(rows: Iterable[Row]) -> Photos:
    rows = list(rows)
    return Photos(
        [path for path, _, _ in rows], np.array([label for _, label, _ in rows], np.int64)
    )


def _draw(rows: list[Row], shots: int, rng: np.random.Generator) -> list[Row]:
    """`shots` rows of every label, all where there are fewer."""
    by_label: dict[int, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row[1], []).append(row)
    return [
        members[i]
        for _, members in sorted(by_label.items())
        for i in sorted(rng.permutation(len(members))[:shots])
    ]


def _zhou(folder: Path, place: CoopSet) -> dict[str, list[Row]]:
    file = folder / str(place.split)
    try:
        parts = json.loads(file.read_text(encoding="utf8"))
        return {
            part: [
                (folder / place.images / path, int(label), str(name))
                for path, label, name in parts[part]
            ]
            for part in ("train", "val", "test")
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"cannot read {file} ({error}): download it as CoOp's DATASETS.md says"
        ) from error


def _aircraft(folder: Path, place: CoopSet) -> dict[str, list[Row]]:
    names = _lines(folder / "variants.txt")
    parts = {}
    for part in ("train", "val", "test"):
        rows = [line.split(" ", 1) for line in _lines(folder / f"images_variant_{part}.txt")]
        parts[part] = [
            (folder / place.images / f"{photo}.jpg", names.index(name), name)
            for photo, name in rows
        ]
    return parts


def _imagenet(folder: Path, place: CoopSet) -> dict[str, list[Row]]:
    classes = [re.split(r"\s+", line, maxsplit=1) for line in _lines(folder / "classnames.txt")]
    images = folder / place.images

    def rows(part: str) -> list[Row]:
        return [
            (photo, label, name)
            for label, (wnid, name) in enumerate(classes)
            for photo in sorted((images / part / wnid).glob("*.*"))
        ]

    return {"train": rows("train"), "val": [], "test": rows("val")}


def _lines(file: Path) -> list[str]:
    try:
        return [
            line.strip() for line in file.read_text(encoding="utf8").splitlines() if line.strip()
        ]
    except OSError as error:
        raise UserError(f"cannot read {file}: download it as CoOp's DATASETS.md says") from error
