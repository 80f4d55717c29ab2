"""`config.json` as a dataclass: its only writer and reader."""

import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edge_sharpzo.clip.embedded import known_as
from edge_sharpzo.clip.sketch import SKETCH
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.engines.address import is_address
from edge_sharpzo.runs.json_files import SCHEMA_VERSION, as_json, read_record
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import write_text
from edge_sharpzo.system.text import is_line
from edge_sharpzo.tuning.start import Start

CONFIG = "config.json"
# Options that older files lack, and what there was in their place.
SINCE_0_1_0 = {
    "engine": LOCAL,
    "start": Start.WORDS.value,
    "more_classes": None,
    "background": None,
    "keep_known": 0.95,
    "plain_classifier": False,
    "drop_duplicates": False,
    "send_photos": False,
}


@dataclass(frozen=True)
class PlanRecord:
    """The method as it ran."""

    name: str  # of the preset
    method: str
    dim: int | None
    context_tokens: int | None
    projection_std: float | None
    budget: int | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class RunConfig:
    """All that a run is decided by."""

    options: TuneOptions
    preset: PlanRecord
    model_sha256: str
    folders: list[str]
    names: list[str]  # those of classes without photos are the last
    # Absolute paths of training and validation photos; none until they are drawn.
    tuned_on: list[str]
    # Contents of those, and of the held-out photos, as hexadecimal SHA-256; 0.1.0 kept none.
    tuned_on_sha256: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    held_out_sha256: list[str] = field(default_factory=list)
    tuned_on_sketches: list[str] = field(default_factory=list)  # in base64, see `clip.sketch`
    without_photos: list[str] = field(default_factory=list)  # folders of such classes
    # Background photos: contents and sketches, as of the photos tuned on.
    background_sha256: list[str] = field(default_factory=list)
    background_sketches: list[str] = field(default_factory=list)
    # Over the classes, and paths in the folder and contents of all photos, drawn or not; older
    # versions kept none.
    photos_sha256: str = ""
    # Towers that take products in integers, see `Clip.in_integers`; older versions did not say.
    in_integers: list[str] | None = None
    schema_version: int = SCHEMA_VERSION

    def photos(self) -> list[tuple[str, str]]:
        """Path and digest of the photos, those tuned on first; 0.1.0 knew their paths alone."""
        digests = self.tuned_on_sha256 or [""] * len(self.tuned_on)
        held_out = zip(self.held_out, self.held_out_sha256, strict=True)
        return [*zip(self.tuned_on, digests, strict=True), *held_out]

    def bare_names(self) -> dict[str, str]:
        """Folder -> name of the classes without photos."""
        names = dict(zip(self.folders, self.names, strict=True))
        return {folder: names[folder] for folder in self.without_photos}

    def learnt_from(self) -> set[str]:
        """Digests of the photos tuned on and of those of the background."""
        return {*self.tuned_on_sha256, *self.background_sha256} - {""}

    def sketches(self) -> np.ndarray:
        """Those of the same photos [M, S], uint8; older versions kept none.

        Raises ValueError where they are none.
        """
        every = self.tuned_on_sketches + self.background_sketches
        rows = b"".join(base64.b64decode(text, validate=True) for text in every)
        return np.frombuffer(rows, np.uint8).reshape(-1, SKETCH)

    def check(self) -> None:
        """Raises ValueError for what no run writes."""
        self.photos()  # as many paths as digests
        digests = self.learnt_from() | (set(self.held_out_sha256) - {""})
        if not all(_is_digest(each) for each in (*digests, self.model_sha256)):
            raise ValueError("a checksum of it is none")
        if len(self.folders) != len(self.names) or len(set(self.folders)) < len(self.folders):
            raise ValueError("its classes are not told apart")
        if not all(is_line(each) for each in (*self.folders, *self.names)):
            raise ValueError("a class of it is no line of text")
        if self.without_photos != self.folders[len(self.folders) - len(self.without_photos) :]:
            raise ValueError("its classes without photos are not the last")
        self.sketches()

    @property
    def model(self) -> str:
        """What the model is known by to the search: the file itself where that starts from it."""
        learned = self.options.start == Start.LEARNED
        return self.model_sha256 if learned else known_as(self.model_sha256)

    @cached_property
    def fingerprint(self) -> str:
        """What a checkpoint has to belong to: all that decides the run, not where its files lie."""
        options = {**self.options.given(), "data": "", "out": "", "onnx": "", "class_names": ""}
        # The names are among the classes; the others decide what is made of what was found.
        for name in ("more_classes", "background", "keep_known", "plain_classifier", "send_photos"):
            options.pop(name, None)
        if is_address(self.options.engine):  # the towers are the same ones, wherever they run
            options["engine"] = LOCAL
        if options.get("start") == Start.WORDS:  # as if there were no other, which once was so
            del options["start"]
        if not options.get("drop_duplicates"):  # likewise
            del options["drop_duplicates"]
        decides = [options, asdict(self.preset), self.model, self.folders, self.names]
        decides += [self.tuned_on_sha256 or self.tuned_on]
        text = json.dumps(as_json(decides), sort_keys=True)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def write(self, folder: Path) -> None:
        """Writes `config.json` to a run folder."""
        text = json.dumps(as_json(self), indent=1)
        write_text(folder / CONFIG, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> "RunConfig":
        """Reads `config.json`. Raises UserError."""
        file = folder / CONFIG
        if not file.exists():
            raise UserError(
                f"{folder} holds no run (no {CONFIG}): give a folder that `edge-sharpzo tune` made"
            )
        try:
            config = read_record(file, cls, _with_all_options)
            config.check()
            return config
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read {file} ({error}): give a folder that `edge-sharpzo tune` made, "
                "or tune again"
            ) from error


def _with_all_options(found: dict[str, Any]) -> None:
    """Gives what was written the options that there are since.

    Raises ValueError for one that is missing: all are written, so that none has to be guessed.
    """
    if isinstance(written := found.get("options"), dict):
        found["options"] = SINCE_0_1_0 | written
        if missing := {each.name for each in fields(TuneOptions)} - set(found["options"]):
            raise ValueError(f"options lacks '{min(missing)}'")


def _is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 in hexadecimal."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None
