"""What a data folder holds beside photos: display names of classes and the template."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from edge_sharpzo.photos.class_names import SPACES, read_class_names
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import clear_half_written, parse_json, read_text, write_text
from edge_sharpzo.system.text import is_line, shown

CLASS_NAMES, SETTINGS = "class-names.txt", "settings.json"
NAMES_OF_RUN = "class-names-of-run.txt"  # where some are of classes that are not there


class Settings:
    """Two small files, which hands may change too; each is read whenever it is asked for."""

    def __init__(self, folder: Path):
        """`folder` is the station's own in a data folder."""
        self._names, self._settings = folder / CLASS_NAMES, folder / SETTINGS
        self._of_run = folder / NAMES_OF_RUN
        for file in (self._names, self._of_run, self._settings):
            clear_half_written(file)

    def names(self) -> dict[str, str]:
        """Display names by class. Raises UserError where the file is not as it should be."""
        return read_class_names(self._names) if self._names.exists() else {}

    def name(self, class_name: str, display: str | None) -> None:
        """Has a class called `display`. Raises UserError, OSError."""
        before = self.names()
        after = {folder: name for folder, name in before.items() if folder != class_name}
        if display is not None:
            after[class_name] = display
        if after != before:
            write_text(self._names, _as_lines(after))

    def names_file(self, classes: Collection[str]) -> Path | None:
        """A file with names of no class but `classes`; None where none of them is named.

        A class that is not there may come back, with its photos or by an undo: its name is kept.

        Raises UserError, OSError.
        """
        names = self.names()
        there = {name: display for name, display in names.items() if name in classes}
        if there in ({}, names):
            return self._names if there else None
        lines = _as_lines(there)
        if not self._of_run.exists() or read_text(self._of_run) != lines:
            write_text(self._of_run, lines)
        return self._of_run

    def template(self) -> str | None:
        """The template that was chosen; None where none was. Raises UserError."""
        if not self._settings.exists():
            return None
        try:
            value = parse_json(read_text(self._settings))
            template = value.get("template") if isinstance(value, dict) else 0
            if template is not None and not (isinstance(template, str) and is_line(template)):
                raise ValueError("it holds no template")
            if template is not None and template.count("{}") != 1:
                name = shown(template[:80])
                raise ValueError(f"its template '{name}' needs the class name's place, {{}}, once")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self._settings} cannot be read ({error}): mend it, or move it away"
            ) from error
        return template

    def set_template(self, template: str | None) -> None:
        """Chooses it. Raises UserError, OSError."""
        if template != self.template():
            write_text(self._settings, json.dumps({"template": template}) + "\n")


def check_nameable(class_name: str) -> None:
    """Raises UserError where a class's folder cannot be written into the file of names."""
    whole = class_name.strip(SPACES + "\ufeff") == class_name
    if not (whole and is_line(class_name)) or re.match(r"#(\s|$)", class_name):
        raise UserError(
            f"the class '{class_name}' can be called otherwise only once its folder is renamed",
            field="name",
        )


def _as_lines(names: Mapping[str, str]) -> str:
    """In the form that `read_class_names` reads; a tab parts what holds the other sign."""
    return "".join(
        f"{folder}{chr(9) if '=' in folder else ' = '}{name}\n"
        for folder, name in sorted(names.items())
    )
