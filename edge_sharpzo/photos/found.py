"""The labelled photos under a folder: to tune on, or to measure a finished run with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from edge_sharpzo.photos.background import (
    background_in,
    called_none,
    check_background,
    check_class_folder,
    is_background,
    misnamed,
    photos_of,
)
from edge_sharpzo.photos.class_names import display_names
from edge_sharpzo.photos.digests import Digests, PhotoFile, read_files
from edge_sharpzo.photos.left_out import HIDDEN, SET_ASIDE, LeftOut, grouped, told
from edge_sharpzo.photos.scan import (
    OTHER_KINDS,
    SPLITS,
    SUFFIXES,
    Scan,
    holds_classes,
    is_empty,
    split_folder,
    subfolders,
)
from edge_sharpzo.photos.without_photos import (
    check_still_without,
    classes_without_photos,
    without_runs,
)
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import folded, is_line, some

# Where a photo lies: among those to draw from, in val/, in test/; and of those of none of the
# classes, among the background that is learnt from, or in test/.
POOL, VAL, TEST, BACKGROUND, FOREIGN = range(5)
NO_LABEL = -1  # of those


class FewClassesError(UserError):
    """Fewer than two class folders have photos."""

    def __init__(self, found: str, left_out: str):
        """`left_out` is the end of `found`, for those who say the rest otherwise."""
        self.left_out = left_out
        super().__init__(
            f"{found}{left_out}: make one subfolder for each class, with photos in it "
            f"({', '.join(sorted(SUFFIXES)[:4])} ...)",
            field="data",
        )


@dataclass(frozen=True)
class Photos:
    """Photos with their class indices."""

    paths: list[Path]
    labels: np.ndarray  # [N], int64; NO_LABEL where they are of none of the classes
    files: list[PhotoFile] = field(default_factory=list)  # none until they are read

    def __len__(self) -> int:
        return len(self.paths)

    def read(
        self, skipped: Callable[[Path, str], object], known: Digests | None = None
    ) -> "Photos":
        """These photos with their files; `skipped` hears of those that cannot be read.

        Files whose contents are `known` are not read again.
        """
        return replace(self, files=read_files(self.paths, skipped, known))

    def among(self, chosen: np.ndarray, left_out: Sequence[LeftOut]) -> list[LeftOut]:
        """Those of the files that were left out that are `chosen` [N], bool, of the photos."""
        paths = {self.paths[i] for i in np.flatnonzero(chosen)}
        return [file for file in left_out if file.path in paths]

    def at(self, places: np.ndarray) -> "Photos":
        """Those of the photos at `places`, indices [n]."""
        files = [self.files[i] for i in places] if self.files else []
        return Photos([self.paths[i] for i in places], self.labels[places], files)


@dataclass(frozen=True)
class Found:
    """A folder's classes and its photos.

    Classes are in the sorted order of their folder names; those without a photo to learn from come
    last, likewise.
    """

    root: Path
    folders: list[str]
    names: list[str]  # how the prompt calls each class
    photos: Photos
    parts: np.ndarray  # POOL, VAL ... of each photo [N]; in this order
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Classes that have no photo to learn from, and the folder or the file that each comes from.
    bare: dict[str, Path] = field(default_factory=dict)

    @property
    def without_photos(self) -> int:
        """The number of those."""
        return len(self.bare)

    @property
    def learnt(self) -> int:
        """K, the number of classes with photos to learn from; the first ones."""
        return len(self.folders) - self.without_photos


def find_photos(
    root: Path,
    class_names: Path | None = None,
    more_classes: Path | None = None,
    runs: Sequence[Path] = (),
    started: Mapping[str, str] | None = None,
    background: Path | None = None,
) -> Found:
    """Looks through `root`: `<class>/*` or `train/<class>/*`, optional `val/` and `test/`.

    `_background` beside the class folders, and the folder `background`, are of none of the classes.
    Photos may lie one folder below their class's. `class_names` is a file with lines
    `folder = name`. Empty folders, and the names in the file `more_classes`, are classes without
    photos; but none that `runs` go to. A run that goes on `started` with classes without photos,
    folder -> name: it has those and no others.

    Raises UserError for a folder without classes, or a class all of whose files are of no use.
    """
    scan = Scan()
    splits = splits_of(root)
    source = splits["train"] or root
    if background:
        check_background(background, root)
    apart = [f for f in splits.values() if f]
    behind = background_in([root, source, splits["val"]], background)
    by_class, empty, notes = _classes(source, [*apart, *behind], scan)
    notes += misnamed(background, sorted(by_class))
    learnt = sorted(by_class)
    with_photos = [source / name for name in learnt]
    if started is None:
        empty, told_of = without_runs(empty, runs)
        bare = classes_without_photos(with_photos, empty, more_classes)
    else:
        check_still_without(with_photos, started)
        new = [folder for folder in empty if folder.name not in started]
        told_of = [f"{each} is empty and no class: the run started without it" for each in new]
        bare = {name: source / name for name in started}
    notes += told_of
    classes = [*learnt, *bare]
    notes += called_none(classes)
    pairs = [(path, label) for label, name in enumerate(learnt) for path in by_class[name]]
    parts = [POOL] * len(pairs)
    for part, base in ((VAL, splits["val"]), (TEST, splits["test"])):
        if base is not None:
            labels, told_of = labels_of_folders(base, classes if part == TEST else learnt, {})
            notes += told_of
            found = photos_of_classes(
                base, labels, scan, partial(_refuse, part, bare, started is None)
            )
            pairs += found
            parts += [part] * len(found)
    for part, folders in ((BACKGROUND, behind), (FOREIGN, background_in([splits["test"]]))):
        found = [(path, NO_LABEL) for path in photos_of(folders, scan)]
        pairs += found
        parts += [part] * len(found)
    leave_out_rest(root, source, apart, scan)
    names = display_names(classes, class_names, started or {})
    photos, lies = as_photos(pairs), np.array(parts)
    return Found(root, classes, names, photos, lies, scan.left_out, notes, bare)


def splits_of(root: Path) -> dict[str, Path | None]:
    """The folders `train`, `val` and `test` in `root`. Raises UserError where it is no folder."""
    if not root.is_dir():
        raise UserError(
            f"{root} is not a folder: give `data` a folder with one subfolder of photos for each "
            "class",
            field="data",
        )
    return {split: split_folder(root, split) for split in SPLITS}


def _classes(
    source: Path, splits: Sequence[Path], scan: Scan
) -> tuple[dict[str, list[Path]], list[Path], list[str]]:
    """The photos of each class folder in `source`, its empty folders, and what to tell of them.

    Raises UserError where fewer than two have photos, or one cannot be used.
    """
    by_class, empty, notes = dict[str, list[Path]](), list[Path](), list[str]()
    apart = {folder.resolve() for folder in splits}
    for folder in (f for f in subfolders(source) if f.resolve() not in apart):
        before = len(scan.left_out)
        check_class_folder(folder)
        if photos := scan.class_photos(folder):
            by_class[folder.name] = photos
            if _is_split(folder):
                notes.append(f"{folder} is taken for a class, for it holds no class folders")
        elif not _is_split(folder) and is_empty(folder):
            empty.append(folder)
        else:
            notes.append(_no_class(folder, scan.left_out[before:]))
    if len(by_class) < 2:
        only = next(iter(by_class), None)
        what = f"only the class '{only}'" if only else "no class folders with photos"
        if only and holds_classes(source / only):
            raise UserError(f"{source} holds {what}: use `data={source / only}`", field="data")
        raise FewClassesError(f"{source} holds {what}", because(scan.left_out))
    inner = [{sub.name for sub in subfolders(source / name)} for name in by_class]
    if common := sorted(set.intersection(*inner)):
        notes.append(
            f"all class folders have folders of the same names ({', '.join(common[:3])}): if those "
            f"are the classes, use `data={source / min(by_class)}`"
        )
    if odd := [name for name in sorted([*by_class, *(f.name for f in empty)]) if not is_line(name)]:
        raise UserError(
            f"the folder {odd[0]!a} in {source} has a name that is no single line of UTF-8: "
            "rename it",
            field="data",
        )
    return by_class, empty, notes


def _is_split(folder: Path) -> bool:
    return any(folder.name.lower() in known for known in SPLITS.values())


def _no_class(folder: Path, left_out: list[LeftOut]) -> str:
    """What to tell of a folder without photos. Raises UserError where it seems to have some."""
    seen = [f for f in left_out if f.reason not in (HIDDEN, SET_ASIDE)]
    if any(f.path.suffix.lower() not in OTHER_KINDS for f in seen):
        if any(holds_classes(sub) for sub in subfolders(folder)):
            raise UserError(f"the class folders lie deeper: use `data={folder}`", field="data")
        raise UserError(
            f"{folder} holds no photos that can be used{because(left_out)}: convert them to JPEG, "
            "put them right into that folder, or move the folder away",
            field="data",
        )
    inside = [str(f.path.relative_to(folder)) for f in left_out if folder in f.path.parents]
    holds = f": it holds {some(inside)}" if inside else ""
    return f"{folder} holds no photos and is no class{holds}"


def because(left_out: Iterable[LeftOut]) -> str:
    """What is left out, in brackets behind a space; empty where nothing is."""
    text = told(grouped(left_out))
    return f" ({text})" if text else ""


def labels_of_folders(
    base: Path, folders: list[str], given: dict[str, int]
) -> tuple[dict[Path, int], list[str]]:
    """The class of each folder in `base` that is one's, and what to tell of them."""
    exact = {name: label for label, name in enumerate(folders)} | given
    alike: dict[str, list[int]] = {}
    for label, name in enumerate(folders):
        alike.setdefault(folded(name), []).append(label)
    labels, notes = {}, []
    for folder in subfolders(base):
        same = alike.get(folded(folder.name), [])
        if folder.name in exact:
            labels[folder] = exact[folder.name]
        elif len(same) == 1:
            labels[folder] = same[0]
            notes.append(f"{folder} is taken for the class '{folders[same[0]]}'")
    return labels, notes


def photos_of_classes(
    base: Path, labels: dict[Path, int], scan: Scan, unknown: Callable[[Path], object]
) -> list[tuple[Path, int]]:
    """The photos of the class folders in `base`, class by class; `unknown` hears of the others."""
    for folder in subfolders(base):
        if folder not in labels and not is_background(folder.name):
            unknown(folder)
        check_class_folder(folder)
    by_class = sorted(labels, key=lambda folder: (labels[folder], folder))
    return [(photo, labels[folder]) for folder in by_class for photo in scan.class_photos(folder)]


def _refuse(part: int, bare: Iterable[str], is_new: bool, folder: Path) -> None:
    """Raises UserError where a folder of val/ or test/, of no known class, holds photos.

    `bare` are the classes without photos, of a run that `is_new` or goes on.
    """
    if not Scan().class_photos(folder):
        return
    if part == VAL and folded(folder.name) in map(folded, bare):
        raise UserError(
            f"{folder} holds photos of a class without photos to learn from, and such a class has "
            f"nothing to validate: move them into train/{folder.name} to learn from them, or into "
            f"test/{folder.name} to measure the class by them",
            field="data",
        )
    cure = "rename it, or add training photos for it" if is_new else "move it away to go on"
    named = ", or name the class in `more_classes`" if part == TEST and is_new else ""
    raise UserError(f"{folder} is no class of the training photos: {cure}{named}", field="data")


def leave_out_rest(root: Path, source: Path, splits: Sequence[Path], scan: Scan) -> None:
    """Notes what lies beside the class folders, and beside the splits that are used."""
    for base in (source, *(split for split in splits if split != source)):
        scan.leave_out_files(base)
    if source != root:
        scan.leave_out_files(root)
        for folder in subfolders(root):
            if folder not in splits and not is_background(folder.name):
                scan.leave_out(folder)


def as_photos(pairs: list[tuple[Path, int]]) -> Photos:
    """Photos with their labels."""
    labels = np.array([label for _, label in pairs], np.int64)
    return Photos([path for path, _ in pairs], labels)
