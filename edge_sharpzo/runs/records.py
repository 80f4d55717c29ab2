"""`summary.json` as dataclasses: its only writer and reader."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.photos.left_out import LeftOutGroup
from edge_sharpzo.runs.json_files import SCHEMA_VERSION, as_json, read_record
from edge_sharpzo.runs.known import KnownRecord
from edge_sharpzo.runs.photo_check import PhotoCheck
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import write_text
from edge_sharpzo.system.text import is_line
from edge_sharpzo.tuning.methods.no_method import NO_METHOD
from edge_sharpzo.tuning.start import Start

MOST = 2.0**53  # of any number in a summary
# Whose text features the classifier has: the template's where the tuned prompt is no better.
TUNED, TEMPLATE = "tuned", "template"
SUMMARY = "summary.json"


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

    method: str  # `NO_METHOD` where no prompt could be tuned
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
    engine: str = LOCAL  # where the towers ran; elsewhere, provider and threads are not theirs
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
        known = self.known and [
            each for each in vars(self.known).values() if isinstance(each, float)
        ]
        if known and max(known) > 1:
            raise ValueError("a share of known photos is above 100 %")

    @property
    def is_searched(self) -> bool:
        """Whether a prompt was tuned; else figures of the tuned prompt are the template's."""
        return self.method != NO_METHOD

    @property
    def dropped(self) -> str:
        """Why the classifier has nothing of the tuned prompt, for a person; empty where it has."""
        if not self.is_searched or self.accuracy.classifier.prompt != TEMPLATE:
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
        made: dict[str, Any] = as_json(self)
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
            summary = read_record(file, cls)
            summary.check()
            return summary
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file} is damaged, or made by another version ({error}): tune again"
            ) from error


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
