"""Finds labelled photos in a folder and splits them into train, validation and test."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_sharpzo.photos.class_names import display_names, read_class_names
from edge_sharpzo.photos.digests import digest_photos
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import is_line

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SPLITS = ("train", "val", "test")
MAX_VALIDATION_SHOTS = 4  # CoOp: min(shots, 4) validation photos per class


@dataclass(frozen=True)
class Photos:
    """Photos with their class indices."""

    paths: list[Path]
    labels: np.ndarray  # [N], int64
    digests: list[bytes] = field(default_factory=list)  # see `with_digests`

    def __len__(self) -> int:
        return len(self.paths)

    def with_digests(self, skipped: Callable[[Path, str], object]) -> "Photos":
        """These photos, their files read; `skipped` hears of those that cannot be."""
        return replace(self, digests=digest_photos(self.paths, skipped))

    def files(self) -> list[tuple[Path, bytes]]:
        """Each photo's path and digest."""
        return list(zip(self.paths, self.digests, strict=True))

    def where(self, chosen: Sequence[bool]) -> "Photos":
        """Those of the photos that are `chosen`."""
        keep = np.array(chosen, bool)
        pick = np.flatnonzero(keep)
        digests = [self.digests[i] for i in pick] if self.digests else []
        return Photos([self.paths[i] for i in pick], self.labels[keep], digests)


@dataclass
class Dataset:
    """A folder's classes, in the sorted order of their folder names, and its photos by split."""

    root: Path
    folders: list[str]
    names: list[str]  # how the prompt calls each class
    train: Photos
    val: Photos
    test: Photos
    borrowed: np.ndarray  # which validation photos are some of a class's shots [len(val)], bool
    notes: list[str] = field(default_factory=list)

    def with_digests(self, skipped: Callable[[Path, str], object]) -> "Dataset":
        """The same photos, their files read; `skipped` hears of those that cannot be."""
        parts = (part.with_digests(skipped) for part in (self.train, self.val, self.test))
        train, val, test = parts
        return replace(self, train=train, val=val, test=test)


@dataclass
class _Draw:
    """The photos of each split, while classes are drawn one after the other."""

    train: list[tuple[Path, int]] = field(default_factory=list)
    val: list[tuple[Path, int]] = field(default_factory=list)
    test: list[tuple[Path, int]] = field(default_factory=list)
    borrowed: list[bool] = field(default_factory=list)  # of each validation photo


def load_dataset(root: Path, shots: int, seed: int, class_names: Path | None = None) -> Dataset:
    """Scans `root` (`<class>/*` or `train/<class>/*`, optional `val/`, `test/`) and draws `shots`.

    Validation: `val/` where it exists, else min(shots, 4) other photos per class; a class too
    small for both gives its validation photos out of its shots. Test: `test/`, else all photos
    left over. The draw depends on `seed`, the class and its sorted file names alone.

    Raises UserError for a folder without classes, or a class with fewer photos than `shots`.
    """
    if shots < 1:
        raise UserError(f"`shots={shots}`: ask for at least one photo per class", field="shots")
    by_class = _classes(root)
    folders = sorted(by_class)
    smallest = min(folders, key=lambda name: len(by_class[name]))
    if (have := len(by_class[smallest])) < shots:
        raise UserError(
            f"class '{smallest}' has {have} photos and `shots` asks for {shots}: "
            f"add photos to {by_class[smallest][0].parent}, or use `shots={have}`",
            field="shots",
        )
    own_val, own_test = (_split_folder(root, split, folders) for split in ("val", "test"))
    draw = _Draw()
    wanted_val = 0 if own_val is not None else min(shots, MAX_VALIDATION_SHOTS)
    for label, name in enumerate(folders):
        photos = by_class[name]
        key = [seed, *name.encode(errors="surrogateescape")]
        order = np.random.default_rng(key).permutation(len(photos))
        n_val = min(wanted_val, max(0, len(photos) - 1))
        n_train = min(shots, len(photos) - n_val)
        drawn = [(photos[i], label) for i in order]
        draw.train += drawn[:n_train]
        draw.val += drawn[n_train : n_train + n_val]
        draw.test += drawn[n_train + n_val :]
        draw.borrowed += [index < shots for index in range(n_train, n_train + n_val)]
    borrowed = np.array(draw.borrowed, bool)
    return Dataset(
        root=root,
        folders=folders,
        names=display_names(folders, class_names),
        train=_as_photos(draw.train),
        val=own_val if own_val is not None else _as_photos(draw.val),
        test=own_test if own_test is not None else _as_photos(draw.test),
        borrowed=borrowed if own_val is None else np.zeros(len(own_val), bool),
        notes=_notes(draw, len(folders), shots),
    )


def _classes(root: Path) -> dict[str, list[Path]]:
    """The photos of each class folder. Raises UserError where there are fewer than two."""
    if not root.is_dir():
        raise _no_folder(root)
    source = root / "train" if _is_split(root / "train") else root
    found = {
        folder.name: _photos_in(folder)
        for folder in _subfolders(source)
        if source != root or not _is_split(folder)
    }
    by_class = {name: photos for name, photos in found.items() if photos}
    if len(by_class) < 2:
        only = next(iter(by_class), None)
        what = f"only the class '{only}'" if only else "no class folders with photos"
        raise UserError(
            f"{source} holds {what}: make one subfolder for each class, with photos in it "
            f"({', '.join(sorted(SUFFIXES)[:4])} ...)",
            field="data",
        )
    if odd := [name for name in sorted(by_class) if not is_line(name)]:
        raise UserError(
            f"the folder {odd[0]!a} in {source} has a name that is no single line of UTF-8: "
            "rename it",
            field="data",
        )
    return by_class


def _no_folder(root: Path) -> UserError:
    return UserError(
        f"{root} is not a folder: give `data` a folder with one subfolder of photos for each class",
        field="data",
    )


def _notes(draw: _Draw, classes: int, shots: int) -> list[str]:
    """What the user should know of the draw."""
    pairs = zip(draw.val, draw.borrowed, strict=True)
    short = len({label for (_, label), borrowed in pairs if borrowed})
    if not short:
        return []
    return [
        f"{short} of {classes} classes have no photos beyond their {shots} shots: "
        "validation takes some of these"
    ]


def labelled_photos(
    root: Path, folders: list[str], names: list[str], mapping: Path | None = None
) -> Photos:
    """All photos under `root/test/<class>`, or `root/<class>`, of the classes `folders`.

    `names` are what prompts call the classes. `mapping` is a file of lines `folder = class`, for
    photos of the same classes whose folders are called otherwise; a class is given by its folder
    or its name, and several folders may belong to one.

    Raises UserError if there are no photos.
    """
    if not root.is_dir():
        raise _no_folder(root)
    if mapping is not None:
        base = root / "test" if _is_split(root / "test") else root
        return _mapped_photos(base, folders, names, mapping)
    photos = _split_folder(root, "test", folders) or _collect(root, folders)
    if not len(photos):
        raise UserError(
            f"{root} holds no photos of the run's classes ({', '.join(folders[:5])} ...)",
            field="data",
        )
    return photos


def _mapped_photos(base: Path, folders: list[str], names: list[str], mapping: Path) -> Photos:
    both = zip(folders, names, strict=True)
    label_of = {name: label for label, pair in enumerate(both) for name in pair}
    pairs: list[tuple[Path, int]] = []
    for folder, name in read_class_names(mapping).items():
        if name not in label_of:
            raise UserError(
                f"{mapping} maps '{folder}' to '{name}', which is no class of the run: "
                f"it has {', '.join(folders[:8])}",
                field="class_names",
            )
        if not (base / folder).is_dir():
            raise UserError(
                f"{mapping} names '{folder}', and {base} has no such folder", field="class_names"
            )
        pairs += [(photo, label_of[name]) for photo in _photos_in(base / folder)]
    if not pairs:
        raise UserError(f"the folders that {mapping} names hold no photos", field="class_names")
    return _as_photos(pairs)


def _split_folder(root: Path, split: str, folders: list[str]) -> Photos | None:
    base = root / split
    if not _is_split(base):
        return None
    present = [f.name for f in _subfolders(base) if _photos_in(f)]
    if unknown := [name for name in present if name not in folders]:
        raise UserError(
            f"{base / unknown[0]} is no class of the training photos: rename it, "
            "or add training photos for it",
            field="data",
        )
    return _collect(base, folders)


def _is_split(folder: Path) -> bool:
    """Whether `folder` is train/, val/ or test/ with class folders in it, no class of that name."""
    inside = folder.name in SPLITS and folder.is_dir()
    return inside and any(_photos_in(sub) for sub in _subfolders(folder))


def _collect(base: Path, folders: list[str]) -> Photos:
    present = [(label, base / name) for label, name in enumerate(folders)]
    return _as_photos(
        [(p, label) for label, folder in present if folder.is_dir() for p in _photos_in(folder)]
    )


def _as_photos(pairs: list[tuple[Path, int]]) -> Photos:
    labels = np.array([label for _, label in pairs], np.int64)
    return Photos([path for path, _ in pairs], labels)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not _is_clutter(f.name))


def _photos_in(folder: Path) -> list[Path]:
    return sorted(_photo_files(folder))


def photos_under(folder: Path) -> list[Path]:
    """All photos in `folder` and below it, sorted; hidden files and clutter left out."""
    below = (sub for sub in _subfolders(folder) if not sub.is_symlink())
    inner = (photo for sub in below for photo in photos_under(sub))
    return sorted([*_photo_files(folder), *inner])


def _photo_files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        wanted = not _is_clutter(entry.name) and entry.suffix.lower() in SUFFIXES
        if wanted and entry.is_file():
            yield entry


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")
