"""Background photos, of none of the classes: a folder beside theirs, or one that is given."""

from collections.abc import Sequence
from pathlib import Path

from edge_sharpzo.photos.left_out import grouped, told
from edge_sharpzo.photos.scan import Scan, subfolders
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import folded, some

FOLDER = "_background"
NONE_OF_THESE = "none of these"  # what answers call them
LEAST = 2  # background photos that something can be learnt from


def is_background(name: str) -> bool:
    """Whether a folder of that name holds photos of none of the classes."""
    return name.lower() == FOLDER


def background_in(places: Sequence[Path | None], given: Path | None = None) -> list[Path]:
    """The background folders in `places`, and the one that is `given`, each once.

    Raises UserError where one is no folder.
    """
    for entry in (entry for place in places if place for entry in place.iterdir()):
        if is_background(entry.name) and not entry.is_dir():
            raise UserError(
                f"{entry} is no folder: put photos of none of the classes into a folder of that "
                "name, or call it otherwise",
                field="background",
            )
    inside = [sub for place in places if place for sub in subfolders(place)]
    found = [sub for sub in inside if is_background(sub.name)] + ([given] if given else [])
    return list({folder.resolve(): folder for folder in reversed(found)}.values())[::-1]


def check_background(given: Path, root: Path) -> None:
    """Raises UserError where the folder `given` for the background cannot be one."""
    if not given.is_dir():
        raise UserError(
            f"{given} is not a folder: give `background` a folder with photos of none of the "
            "classes",
            field="background",
        )
    if root.resolve().is_relative_to(given.resolve()):
        raise UserError(
            f"the photos of the classes in {root} lie in {given}: give `background` a folder that "
            "holds photos of none of the classes, and nothing else",
            field="background",
        )


def check_class_folder(folder: Path) -> None:
    """Raises UserError where a class's folder has a background in it, which would be learnt."""
    if inside := background_in([folder]):
        raise UserError(
            f"{inside[0]} lies in the folder of a class: move it beside the class folders",
            field="data",
        )


def called_as_classes(folder: Path, classes: Sequence[str], field: str) -> list[str]:
    """What to tell where folders right in `folder`, given as `field`, seem to be of the classes."""
    known = {folded(name) for name in classes}
    same = [f"'{sub.name}'" for sub in subfolders(folder) if folded(sub.name) in known]
    if not same:
        return []
    return [
        f"{folder}, given as `{field}`, holds folders that are called as classes ({some(same)}): "
        "their photos are taken for photos of none of the classes"
    ]


def misnamed(given: Path | None, classes: Sequence[str]) -> list[str]:
    """What to tell where the background seems to be `classes`, or a class to be background."""
    notes = called_as_classes(given, classes, "background") if given else []
    return notes + [
        f"'{name}' is taken for a class; if its photos are of none of the classes, call it {FOLDER}"
        for name in classes
        if folded(name) == folded(FOLDER)
    ]


def called_none(classes: Sequence[str]) -> list[str]:
    """What to tell of classes that are called as answers call photos of none of them."""
    return [
        f"the class '{name}' is called as photos of none of the classes are in answers: nobody can "
        "tell the two apart. Give its folder another name, and tune again"
        for name in classes
        if folded(name) == NONE_OF_THESE
    ]


def photos_of(folders: Sequence[Path], scan: Scan) -> list[Path]:
    """All photos in background `folders`, however deep.

    Raises UserError for a folder without any.
    """
    photos: list[Path] = []
    for folder in folders:
        if scan.has_entered(folder):  # its photos are among those of another
            continue
        before = len(scan.left_out)
        found = scan.photos_under(folder)
        if not found:
            why = told(grouped(scan.left_out[before:]))
            raise UserError(
                f"{folder} holds no photos{f' ({why})' if why else ''}: put photos of none of the "
                "classes there, or do without it",
                field="background",
            )
        photos += found
    return photos


def check_enough(usable: int, why: str, given: bool) -> list[str]:
    """What to tell where too few background photos are `usable`; `why` others are not.

    Raises UserError where they were `given` by an option: a folder beside the classes fills slowly.
    """
    if usable >= LEAST:
        return []
    told = (
        f"{usable} of the background photos can be used{f' ({why})' if why else ''}, and it "
        f"takes {LEAST}"
    )
    if given:
        raise UserError(f"{told}: add more; 20 do much", field="background")
    return [f"{told}: nothing is learnt from them. Add more; 20 do much"]
