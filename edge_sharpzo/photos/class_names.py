"""What classes are called: by their folders, or in files that the user writes."""

from collections import Counter
from pathlib import Path

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import is_line


def read_class_names(file: Path) -> dict[str, str]:
    """Folder -> display name from lines `folder = name`; tab, comma or colon work too.

    Raises UserError.
    """
    names: dict[str, str] = {}
    for number, line in _lines(file, "class_names"):
        separator = next((s for s in ("\t", "=", ",", ":") if s in line), None)
        parts = line.split(separator, 1) if separator else (line, "")
        folder, name = (part.strip() for part in parts)
        if not name:
            raise UserError(
                f"{file}, line {number}: expected 'folder = name', found '{line[:60]}'",
                field="class_names",
            )
        if names.setdefault(folder, name) != name:
            raise UserError(
                f"{file} names '{folder}' twice: '{names[folder]}' and '{name}'",
                field="class_names",
            )
    return names


def read_more_classes(file: Path) -> list[str]:
    """Names of classes that have no photos, one per line, sorted. Raises UserError."""
    names: set[str] = set()
    for number, name in _lines(file, "more_classes"):
        fault = None
        if any(mark in name for mark in "\t=,;:/") or not is_line(name):
            fault = f"expected one class name on the line, found {name[:60]!a}"
        elif name in names:
            fault = f"'{name}' is there twice"
        if fault:
            raise UserError(f"{file}, line {number}: {fault}: mend it", field="more_classes")
        names.add(name)
    if not names:
        raise UserError(
            f"{file} names no class: write one name on each line, or leave `more_classes` out",
            field="more_classes",
        )
    return sorted(names)


def _lines(file: Path, field: str) -> list[tuple[int, str]]:
    """Numbers and contents of the lines that are neither empty nor comments. Raises UserError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # editors may add a mark
    except UnicodeDecodeError as error:
        raise UserError(
            f"cannot read the class names in {file}: it is no UTF-8 text. Save it as UTF-8",
            field=field,
        ) from error
    except OSError as error:
        raise UserError(f"cannot read the class names in {file}: {error}", field=field) from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def display_names(folders: list[str], class_names: Path | None) -> list[str]:
    """How prompts call the classes `folders`: as `class_names` says, or as the folders do.

    Raises UserError for a folder that is not there, or two classes of one name.
    """
    given = read_class_names(class_names) if class_names else {}
    if unknown := sorted(set(given) - set(folders)):
        raise UserError(
            f"{class_names} names '{unknown[0]}', which is no class folder: "
            f"the folders are {', '.join(folders[:8])}",
            field="class_names",
        )
    names = [given.get(folder, folder.replace("_", " ")) for folder in folders]
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        first, second, *_ = (f for f, each in zip(folders, names, strict=True) if each == name)
        raise UserError(
            f"two classes are both called '{name}' ('{first}' and '{second}'): rename one, or give "
            "them names apart with `class_names`",
            field="class_names",
        )
    return names
