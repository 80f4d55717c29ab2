"""What classes are called: by their folders, or in files that the user writes."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge_sharpzo.photos.background import is_background
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import read_text
from edge_sharpzo.system.text import as_spoken, folded, is_line

SPACES = " \t\u00a0\u3000"  # around a name; what breaks a line is none
WANTED = {
    "class_names": "a text file with lines 'folder = name'",
    "more_classes": "a text file with one class name on each line",
}


def spelt_again(known: Iterable[str], names: Iterable[str]) -> tuple[str, str] | None:
    """The first of `names` that is called like one of `known` or one before it, and that one."""
    seen = {folded(name): name for name in known}
    for name in names:
        if (other := seen.get(folded(name))) is not None:
            return name, other
        seen[folded(name)] = name
    return None


def read_class_names(file: Path) -> dict[str, str]:
    """Folder -> display name from lines `folder = name`; tab, comma or colon work too.

    Raises UserError.
    """
    names: dict[str, str] = {}
    for number, line in _lines(file, "class_names"):
        separator = next((s for s in ("\t", "=", ",", ":") if s in line), None)
        parts = line.split(separator, 1) if separator else (line, "")
        folder, name = (part.strip(SPACES) for part in parts)
        if not name or not is_line(name):
            raise UserError(
                f"{file}, line {number}: expected 'folder = name', found {line[:60]!a}",
                field="class_names",
            )
        if names.setdefault(folder, name) != name:
            raise UserError(
                f"{file} names '{folder}' twice: '{names[folder]}' and '{name}'",
                field="class_names",
            )
    return names


def read_more_classes(file: Path) -> list[str]:
    """Names of classes that have no photos, one per line. Raises UserError."""
    names: dict[str, str] = {}  # by what their spellings share
    for number, name in _lines(file, "more_classes"):
        fault = None
        if any(mark in name for mark in "\t=,;:/") or not is_line(name) or not folded(name):
            fault = f"expected one class name on the line, found {name[:60]!a}"
        elif other := names.get(folded(name)):
            fault = f"'{name}' is there twice" + (f", as '{other}'" if other != name else "")
        if fault:
            raise UserError(f"{file}, line {number}: {fault}: mend it", field="more_classes")
        names[folded(name)] = name
    if not names:
        raise UserError(
            f"{file} names no class: write one name on each line, or leave `more_classes` out",
            field="more_classes",
        )
    return list(names.values())


def _lines(file: Path, field: str) -> list[tuple[int, str]]:
    """Numbers and contents of the lines that are neither empty nor comments.

    A comment is `#` with a space, or nothing, behind it. Raises UserError.
    """
    try:
        text = read_text(file).removeprefix("\ufeff")  # editors may add this mark
    except UnicodeDecodeError as error:
        raise UserError(
            f"cannot read the class names in {file}: it is no UTF-8 text. Save it as UTF-8",
            field=field,
        ) from error
    except (OSError, ValueError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise UserError(
            f"cannot read the class names in '{file}' ({why}): give `{field}` {WANTED[field]}",
            field=field,
        ) from error
    numbered = [(n, line.strip(SPACES)) for n, line in enumerate(re.split(r"\r?\n", text), 1)]
    return [(n, line) for n, line in numbered if line and not re.match(r"#(\s|$)", line)]


def display_names(
    folders: list[str], class_names: Path | None, started: Mapping[str, str]
) -> list[str]:
    """How prompts call the classes `folders`: as `class_names` says, or as the folders do.

    Some go by the names that a run was `started` with.

    Raises UserError for a folder that is not there, or two classes of one name.
    """
    given = read_class_names(class_names) if class_names else {}
    if unknown := sorted(set(given) - set(folders)):
        if is_background(unknown[0]):
            raise UserError(
                f"{class_names} names '{unknown[0]}', which holds photos of none of the classes: "
                "take it out, or rename the folder if it is a class",
                field="class_names",
            )
        raise UserError(
            f"{class_names} names '{unknown[0]}', which is no class folder: "
            f"the folders are {', '.join(folders[:8])}",
            field="class_names",
        )
    known = {**given, **started}
    names = [known.get(folder, as_spoken(folder)) for folder in folders]
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        first, second, *_ = (f for f, each in zip(folders, names, strict=True) if each == name)
        raise UserError(
            f"two classes are both called '{name}' ('{first}' and '{second}'): rename one, or give "
            "them names apart with `class_names`",
            field="class_names",
        )
    return names
