"""Classes without photos: empty folders, names in a file, or those that a run was started with."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge_sharpzo.photos.background import is_background
from edge_sharpzo.photos.class_names import read_more_classes, spelt_again
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import folded

MOST_NAMES = 10_000  # classes without photos: each costs a text feature, and a column of answers


def without_runs(empty: Sequence[Path], runs: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The `empty` folders that are classes, and what to tell of all."""
    places = [run.resolve() for run in runs]
    classes, notes = list[Path](), list[str]()
    for folder in empty:
        if any(place.is_relative_to(folder.resolve()) for place in places):
            notes.append(f"{folder} is empty and no class: it is for runs")
        else:
            classes.append(folder)
            notes.append(
                f"{folder} is empty: '{folder.name}' is taken for a class without photos, which "
                "answers by its name alone. Put photos in, or delete the folder if it is no class"
            )
    return classes, notes


def classes_without_photos(
    learnt: Iterable[Path], empty: Sequence[Path], more_classes: Path | None
) -> dict[str, Path]:
    """Such classes, sorted, with the `empty` folder or the file that each comes from.

    `learnt` are the folders of the classes with photos. Raises UserError for two classes of one
    name, or for too many.
    """
    with_photos = {folded(folder.name): folder for folder in learnt}
    for folder in empty:
        if other := with_photos.get(folded(folder.name)):
            raise UserError(
                f"{folder} is empty, and {other} holds photos of a class of that name: delete the "
                "empty folder",
                field="data",
            )
    if twice := spelt_again([], [folder.name for folder in empty]):
        raise UserError(
            f"the empty folders '{twice[1]}' and '{twice[0]}' in {empty[0].parent} are one class: "
            "delete one",
            field="data",
        )
    found = {folder.name: folder for folder in empty}
    there = {folded(folder.name) for folder in empty}
    for name in read_more_classes(more_classes) if more_classes else ():
        if is_background(name):
            raise UserError(
                f"{more_classes} names '{name}', which is for photos of no class: take it out",
                field="more_classes",
            )
        if other := with_photos.get(folded(name)):
            raise UserError(
                f"{more_classes} names '{name}', and the folder '{other.name}' has photos of it: "
                "take the name out",
                field="more_classes",
            )
        if more_classes and folded(name) not in there:  # one that has a folder too goes by that
            found[name] = more_classes
    if len(found) > MOST_NAMES:
        raise UserError(
            f"there are {len(found):,} classes without photos, and at most {MOST_NAMES:,} can "
            "answer by their names: leave some out",
            field="more_classes" if more_classes else "data",
        )
    return dict(sorted(found.items()))


def check_still_without(learnt: Iterable[Path], started: Mapping[str, str]) -> None:
    """Raises UserError where a class that a run was started with has photos by now."""
    with_photos = {folded(folder.name): folder for folder in learnt}
    for name in started:
        if folder := with_photos.get(folded(name)):
            raise UserError(
                f"'{name}' was a class without photos when the run was started, and {folder} holds "
                "photos of it now: move them away to go on, or tune again",
                field="resume",
            )
