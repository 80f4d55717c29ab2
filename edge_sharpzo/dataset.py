"""Finds labelled photos in a folder and splits them into train, validation and test."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_sharpzo.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SPLITS = ("train", "val", "test")
MAX_VALIDATION_SHOTS = 4  # CoOp: min(shots, 4) validation photos a class


@dataclass(frozen=True)
class Photos:
    """Photos with their class indices."""

    paths: list[Path]
    labels: np.ndarray  # [N], int64

    def __len__(self) -> int:
        return len(self.paths)


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


def read_class_names(file: Path) -> dict[str, str]:
    """Folder -> display name from lines `folder = name` (tab, comma or colon work too). Raises UserError."""
    try:
        lines = file.read_text(encoding="utf8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the class names in {file}: {error}") from error
    names = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        separator = next((s for s in ("\t", "=", ",", ":") if s in line), None)
        folder, name = (part.strip() for part in line.split(separator, 1)) if separator else (line, "")
        if not name:
            raise UserError(f"{file}, line {number}: expected 'folder = name', found '{line.strip()[:60]}'")
        names[folder] = name
    return names


def load_dataset(root: Path, shots: int, seed: int, class_names: Path | None = None) -> Dataset:
    """Scans `root` (`<class>/*` or `train/<class>/*`, optional `val/` and `test/`) and draws `shots` photos a class.

    Validation: `val/` where it exists, else min(shots, 4) other photos a class; a class too small for both gives
    its validation photos out of its shots. Test: `test/`, else all photos left over. The draw depends on `seed`,
    the class and its sorted file names alone.

    Raises UserError for a folder without classes, or a class with fewer photos than `shots`.
    """
    if shots < 1:
        raise UserError(f"--shots {shots}: ask for at least one photo a class")
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give --data a folder with one subfolder of photos for each class")
    source = root / "train" if _is_split(root / "train") else root
    by_class = {folder.name: _photos_in(folder) for folder in _subfolders(source) if source != root or not _is_split(folder)}
    by_class = {name: photos for name, photos in by_class.items() if photos}
    if len(by_class) < 2:
        found = f"only the class '{next(iter(by_class))}'" if by_class else "no class folders with photos"
        raise UserError(f"{source} holds {found}: make one subfolder for each class, with photos in it ({', '.join(sorted(SUFFIXES)[:4])} ...)")
    folders = sorted(by_class)
    if odd := [name for name in folders if not _is_text(name)]:
        raise UserError(f"the folder {odd[0]!a} in {source} has a name that is no UTF-8: rename it")
    smallest = min(folders, key=lambda name: len(by_class[name]))
    if len(by_class[smallest]) < shots:
        have = len(by_class[smallest])
        raise UserError(
            f"class '{smallest}' has {have} photos and --shots asks for {shots}: add photos to {source / smallest}, or use --shots {have}"
        )
    own_val, own_test = _split_folder(root, "val", folders), _split_folder(root, "test", folders)
    drawn: dict[str, list[tuple[Path, int]]] = {split: [] for split in SPLITS}
    borrowed: list[bool] = []
    for label, name in enumerate(folders):
        photos = by_class[name]
        order = np.random.default_rng([seed, *name.encode(errors="surrogateescape")]).permutation(len(photos))
        photos = [photos[i] for i in order]
        wanted_val = 0 if own_val is not None else min(shots, MAX_VALIDATION_SHOTS)
        n_val = min(wanted_val, max(0, len(photos) - 1))
        n_train = min(shots, len(photos) - n_val)
        drawn["train"] += [(p, label) for p in photos[:n_train]]
        drawn["val"] += [(p, label) for p in photos[n_train : n_train + n_val]]
        drawn["test"] += [(p, label) for p in photos[n_train + n_val :]]
        borrowed += [index < shots for index in range(n_train, n_train + n_val)]
    notes = []
    if any(borrowed):
        short = len({label for (_, label), mine in zip(drawn["val"], borrowed, strict=True) if mine})
        notes.append(f"{short} of {len(folders)} classes have no photos beyond their {shots} shots: validation takes some of these")
    return Dataset(
        root=root,
        folders=folders,
        names=_display_names(folders, class_names),
        train=_as_photos(drawn["train"]),
        val=own_val if own_val is not None else _as_photos(drawn["val"]),
        test=own_test if own_test is not None else _as_photos(drawn["test"]),
        borrowed=np.zeros(len(own_val), bool) if own_val is not None else np.array(borrowed, bool),
        notes=notes,
    )


def labelled_photos(root: Path, folders: list[str], names: list[str], mapping: Path | None = None) -> Photos:
    """All photos under `root/test/<class>`, or `root/<class>`, of the classes `folders`, called `names` in prompts.

    `mapping` is a file of lines `folder = class`, for photos of the same classes whose folders are called otherwise;
    a class is given by its folder or its name, and several folders may belong to one. Raises UserError if there are no photos.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give --data a folder with one subfolder of photos for each class")
    if mapping is not None:
        return _mapped_photos(root / "test" if _is_split(root / "test") else root, folders, names, mapping)
    photos = _split_folder(root, "test", folders) or _collect(root, folders)
    if not len(photos):
        raise UserError(f"{root} holds no photos of the run's classes ({', '.join(folders[:5])} ...)")
    return photos


def _mapped_photos(base: Path, folders: list[str], names: list[str], mapping: Path) -> Photos:
    label_of = {name: label for label, pair in enumerate(zip(folders, names, strict=True)) for name in pair}
    pairs: list[tuple[Path, int]] = []
    for folder, name in read_class_names(mapping).items():
        if name not in label_of:
            raise UserError(f"{mapping} maps '{folder}' to '{name}', which is no class of the run: it has {', '.join(folders[:8])}")
        if not (base / folder).is_dir():
            raise UserError(f"{mapping} names '{folder}', and {base} has no such folder")
        pairs += [(photo, label_of[name]) for photo in _photos_in(base / folder)]
    if not pairs:
        raise UserError(f"the folders that {mapping} names hold no photos")
    return _as_photos(pairs)


def _display_names(folders: list[str], class_names: Path | None) -> list[str]:
    given = read_class_names(class_names) if class_names else {}
    if unknown := sorted(set(given) - set(folders)):
        raise UserError(f"{class_names} names '{unknown[0]}', which is no class folder: the folders are {', '.join(folders[:8])}")
    names = [given.get(folder, folder.replace("_", " ")) for folder in folders]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"two classes are both called '{twice[0]}': rename a folder, or give them names with --class-names")
    return names


def _split_folder(root: Path, split: str, folders: list[str]) -> Photos | None:
    base = root / split
    if not _is_split(base):
        return None
    present = [f.name for f in _subfolders(base) if _photos_in(f)]
    if unknown := [name for name in present if name not in folders]:
        raise UserError(f"{base / unknown[0]} is no class of the training photos: rename it, or add training photos for it")
    return _collect(base, folders)


def _is_split(folder: Path) -> bool:
    """Whether `folder` is train/, val/ or test/ with class folders in it, and not a class of that name."""
    return folder.name in SPLITS and folder.is_dir() and any(_photos_in(f) for f in _subfolders(folder))


def _collect(base: Path, folders: list[str]) -> Photos:
    return _as_photos([(p, label) for label, name in enumerate(folders) if (base / name).is_dir() for p in _photos_in(base / name)])


def _as_photos(pairs: list[tuple[Path, int]]) -> Photos:
    return Photos([path for path, _ in pairs], np.array([label for _, label in pairs], np.int64))


def _subfolders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not _is_clutter(f.name))


def _photos_in(folder: Path) -> list[Path]:
    return sorted(_walk(folder))


def photos_under(folder: Path) -> list[Path]:
    """All photos in `folder` and below it, sorted; hidden files and clutter left out."""
    inner = (photo for sub in _subfolders(folder) if not sub.is_symlink() for photo in photos_under(sub))
    return sorted([*_walk(folder), *inner])


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if not _is_clutter(entry.name) and entry.suffix.lower() in SUFFIXES and entry.is_file():
            yield entry


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")
