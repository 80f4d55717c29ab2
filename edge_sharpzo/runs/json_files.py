"""How records are kept: as JSON that is read strictly, and that names its version."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge_sharpzo.runs.options import as_path, recorded
from edge_sharpzo.system.storage import as_type, parse_json, read_text

SCHEMA_VERSION = 1  # of what is written; files without a version are of 0.1.0 and still read
Read = TypeVar("Read")


def as_json(value: Any) -> Any:
    """`value` for JSON: the version first; no NaN and no infinity, which JSON lacks, but null."""
    if is_dataclass(value):
        made = {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
        version = {"schema_version": SCHEMA_VERSION} if "schema_version" in made else {}
        return version | {name: item for name, item in made.items() if name != "schema_version"}
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return recorded(value)


def json_line(record: Any) -> str:
    """A flat dataclass as one line of JSON."""
    return json.dumps(as_json(record))


def settings_record(settings: Any) -> dict[str, Any]:
    """A method's settings, a dataclass or a dictionary, for the record."""
    return asdict(settings) if is_dataclass(settings) else dict(settings)  # type: ignore[arg-type]


def read_record(
    file: Path, kind: type[Read], amend: Callable[[dict[str, Any]], None] = lambda found: None
) -> Read:
    """The record in `file`. Raises OSError, or ValueError with what does not fit.

    `amend` changes in place what older versions wrote otherwise.
    """
    found = parse_json(read_text(file))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    version = found.setdefault("schema_version", 0)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ValueError(f"a newer version of edge-sharpzo wrote it (schema {version})")
    amend(found)
    return as_type(found, kind, as_path)
