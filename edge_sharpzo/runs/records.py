"""`config.json` and `summary.json` as dataclasses: their only writers and readers."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_sharpzo.clip.embedded import known_as
from edge_sharpzo.clip.encoders import LOCAL
from edge_sharpzo.clip.sketch import SKETCH
from edge_sharpzo.photos.left_out import LeftOutGroup
from edge_sharpzo.runs.known import KnownRecord
from edge_sharpzo.runs.options import TuneOptions, as_path, recorded
from edge_sharpzo.runs.photo_check import PhotoCheck
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import as_type, parse_json, read_text, write_text
from edge_sharpzo.system.text import is_line
from edge_sharpzo.tuning.start import Start

MOST = 2.0**53  # of any number in a summary
SCHEMA_VERSION = 1  # of what is written; files without a version are of 0.1.0 and still read
# Options that older files lack, and what there was in their place.
SINCE_0_1_0 = {
    "engine": LOCAL,
    "start": Start.WORDS.value,
    "more_classes": None,
    "background": None,
    "keep_known": 0.95,
    "plain_classifier": False,
    "drop_duplicates": False,
}
# Whose text features the classifier has: the template's where the tuned prompt is no better.
TUNED, TEMPLATE = "tuned", "template"
CONFIG, SUMMARY = "config.json", "summary.json"
Read = TypeVar("Read", "RunConfig", "Summary")


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
        for name in ("more_classes", "background", "keep_known", "plain_classifier"):
            options.pop(name, None)
        if options.get("start") == Start.WORDS:  # as if there were no other, which once was so
            del options["start"]
        if not options.get("drop_duplicates"):  # likewise
            del options["drop_duplicates"]
        decides = [options, asdict(self.preset), self.model, self.folders, self.names]
        decides += [self.tuned_on_sha256 or self.tuned_on]
        text = json.dumps(_as_json(decides), sort_keys=True)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def write(self, folder: Path) -> None:
        """Writes `config.json` to a run folder."""
        text = json.dumps(_as_json(self), indent=1)
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
            config = _read(file, cls)
            config.check()
            return config
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read {file} ({error}): give a folder that `edge-sharpzo tune` made, "
                "or tune again"
            ) from error


@dataclass(frozen=True)
class ModelRecord:
    """The model that was tuned."""

    name: str
    weights: str
    sha256: str


@dataclass(frozen=True)
class DataRecord:
    """Photos by use."""

    classes: int
    train: int
    val: int
    test: int
    borrowed: int  # validation photos that were learnt from at last
    shots: int
    skipped: int  # that could not be read
    # All files among the photos that were not used, by reason; older versions counted none.
    left_out: list[LeftOutGroup] = field(default_factory=list)


@dataclass(frozen=True)
class Scores:
    """Accuracies of a prompt, 0 to 1; None where there are no such photos."""

    val: float | None  # before any validation photo was learnt from
    test: float | None


@dataclass(frozen=True)
class HeadScores:
    """Of the closed-form head alone."""

    name: str
    val: float | None
    test: float | None


@dataclass(frozen=True)
class ClassifierScores:
    """Of what `predict` uses."""

    head: str  # that is mixed in, or `none`
    val: float | None
    test: float | None
    prompt: str | None = None  # TUNED or TEMPLATE; older versions did not say


AnyScores = Scores | HeadScores | ClassifierScores


@dataclass(frozen=True)
class Accuracies:
    """Of the template as written, the tuned prompt, the closed-form head, and the mix.

    Among the classes with photos, but for the mix's on held-out photos: that is among all classes,
    as `predict` answers, and `Summary.without_photos` has what compares with the others.
    """

    zero_shot: Scores
    tuned: Scores
    head: HeadScores
    classifier: ClassifierScores


@dataclass(frozen=True)
class CalibrationRecord:
    """The calibration and its error on held-out photos, with it and without."""

    temperature: float
    threshold: float | None
    error: float | None
    error_before: float | None
    fitted_on: str | None = None  # which photos gave the temperature; older versions did not say


@dataclass(frozen=True)
class LossRecord:
    """Training loss where the search started and of the best validated prompt; None: not finite."""

    start: float | None
    end: float | None


@dataclass(frozen=True)
class QueryRecord:
    """Queries spent."""

    total: int
    by_kind: dict[str, int]


@dataclass(frozen=True)
class Seconds:
    """Time spent."""

    features: float
    tuning: float
    total: float


@dataclass(frozen=True)
class Summary:
    """What came out of a run."""

    method: str
    preset: str
    paper_task: str | None
    seed: int
    model: ModelRecord
    data: DataRecord
    accuracy: Accuracies
    calibration: CalibrationRecord
    loss: LossRecord
    queries: QueryRecord
    seconds: Seconds
    peak_rss_mb: float | None
    stopped_because: str
    provider: str
    threads: int
    versions: dict[str, str]
    start: str = Start.WORDS  # where the search started
    without_photos: WithoutPhotos | None = None  # older versions had no such classes
    known: KnownRecord | None = None  # older versions could not tell
    photo_check: PhotoCheck | None = None  # older versions did not look
    schema_version: int = SCHEMA_VERSION

    def check(self) -> None:
        """Raises ValueError for what no run writes."""
        for value in _values(self):
            if isinstance(value, str) and not is_line(value):
                raise ValueError(f"{value[:40]!r} is no line of text")
            if isinstance(value, int | float) and not 0 <= value < MOST:
                raise ValueError(f"{str(value)[:20]} is no number that a run has")
        every = (getattr(self.accuracy, each.name) for each in fields(self.accuracy))
        if any(share is not None and share > 1 for s in every for share in (s.val, s.test)):
            raise ValueError("an accuracy is above 100 %")

    @property
    def dropped(self) -> str:
        """Why the classifier has nothing of the tuned prompt, for a person; empty where it has."""
        if self.accuracy.classifier.prompt != TEMPLATE:
            return ""
        judges = "validation" if self.data.val else "training"
        return (
            f"the tuned prompt was dropped: its loss on {judges} photos is no lower than that of "
            "the template as written, whose text features are kept; figures of the tuned prompt "
            "are the template's"
        )

    @property
    def comparable(self) -> Accuracies:
        """All accuracies among the classes with photos, the mix's on held-out photos too."""
        if (bare := self.without_photos) is None:
            return self.accuracy
        mix = replace(self.accuracy.classifier, test=bare.others_alone)
        return replace(self.accuracy, classifier=mix)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        made: dict[str, Any] = _as_json(self)
        return made

    def write(self, folder: Path) -> None:
        """Writes `summary.json` to a run folder."""
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        write_text(folder / SUMMARY, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Summary":
        """Reads `summary.json`. Raises UserError."""
        file = folder / SUMMARY
        if not file.is_file():
            raise UserError(
                f"{folder} holds no finished run (no {SUMMARY}): give a run's folder, as "
                "`edge-sharpzo tune` printed it"
            )
        try:
            summary = _read(file, cls)
            summary.check()
            return summary
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file} is damaged, or made by another version ({error}): tune again"
            ) from error


def _as_json(value: Any) -> Any:
    """`value` for JSON: the version first; no NaN and no infinity, which JSON lacks, but null."""
    if is_dataclass(value):
        made = {each.name: _as_json(getattr(value, each.name)) for each in fields(value)}
        version = {"schema_version": SCHEMA_VERSION} if "schema_version" in made else {}
        return version | {name: item for name, item in made.items() if name != "schema_version"}
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return recorded(value)


def json_line(record: Any) -> str:
    """A flat dataclass as one line of JSON."""
    return json.dumps(_as_json(record))


def settings_record(settings: Any) -> dict[str, Any]:
    """A method's settings, a dataclass or a dictionary, for the record."""
    return asdict(settings) if is_dataclass(settings) else dict(settings)  # type: ignore[arg-type]


def _read(file: Path, kind: type[Read]) -> Read:
    """The record in `file`. Raises OSError, or ValueError with what does not fit."""
    found = parse_json(read_text(file))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    version = found.setdefault("schema_version", 0)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ValueError(f"a newer version of edge-sharpzo wrote it (schema {version})")
    if kind is RunConfig and isinstance(written := found.get("options"), dict):
        found["options"] = SINCE_0_1_0 | written
        # All are written, so that none has to be guessed.
        if missing := {each.name for each in fields(TuneOptions)} - set(found["options"]):
            raise ValueError(f"options lacks '{min(missing)}'")
    return as_type(found, kind, as_path)


def _values(record: Any) -> Iterator[Any]:
    """What a record holds, and what its parts hold: no lists, dictionaries or dataclasses."""
    if is_dataclass(record):
        record = [getattr(record, each.name) for each in fields(record)]
    if isinstance(record, dict):
        record = [*record, *record.values()]
    if isinstance(record, list):
        for each in record:
            yield from _values(each)
    else:
        yield record


def _is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 in hexadecimal."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None
