"""`report.html`: what a run did, for a person; one file that needs no network."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge_sharpzo.classifier.calibration import reliability
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.photos.found import Photos
from edge_sharpzo.runs.advice import ClassScore, advice
from edge_sharpzo.runs.charts import Line, histogram, line_chart
from edge_sharpzo.runs.records import Summary
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.runs.thumbnails import pictured, thumbnail
from edge_sharpzo.system.storage import write_text
from edge_sharpzo.system.text import percent, shown
from edge_sharpzo.tuning.loss import softmax
from edge_sharpzo.tuning.records import START, Record

REPORT = "report.html"
MISREAD = 12  # photos shown
MATRIX_CLASSES = 30  # the confusion matrix shows those that are misread most, when there are more


@dataclass(frozen=True)
class Misread:
    """A photo that the classifier takes for another class."""

    name: str
    thumbnail: str  # JPEG, base64
    truth: str
    guess: str
    probability: float


class Seen(NamedTuple):
    """What a report shows of photos."""

    photos: Photos  # those held out, N; there may be none
    features: np.ndarray  # of them [N, D]
    known: Mapping[str, np.ndarray]  # scores of being known, by what photos they are of


def write_report(
    folder: Path,
    summary: Summary,
    config: RunConfig,
    records: Sequence[Record],
    prompt: TunedPrompt,
    seen: Seen,
) -> None:
    """Writes `report.html` to `folder`; it is about the photos `seen`."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["percent"] = percent
    photos, features, known = seen
    probabilities = softmax(prompt.logits(features))
    classes = len(prompt.folders)
    guesses = probabilities.argmax(axis=1).tolist()
    confusion = Counter(zip(photos.labels.tolist(), guesses, strict=True))
    held_out = Counter(photos.labels.tolist())
    by_class = [
        ClassScore(name, confusion[i, i] / n if (n := held_out[i]) else None, n)
        for i, name in enumerate(prompt.folders)
    ]
    misread_most = sorted(range(classes), key=lambda i: confusion[i, i] - held_out[i])
    shown = sorted(misread_most[:MATRIX_CLASSES])
    page = environment.get_template("report.html.jinja").render(
        run=folder.name,
        summary=summary,
        options=config.options.given(),
        settings=config.preset.settings,
        curves=_curves(records),
        by_class=by_class,
        matrix_names=[prompt.folders[i] for i in shown],
        matrix=[[confusion[truth, guess] for guess in shown] for truth in shown],
        left_out=classes - len(shown),
        misread=_misread(prompt.folders, photos, probabilities, config.options.max_memory),
        known=histogram(known, "how well known, in standard deviations", (0.0, "threshold")),
        suspects=pictured(summary.photo_check, config.options.max_memory),
        reliability=reliability(probabilities, photos.labels),
        advice=advice(summary, by_class, _confused(confusion, prompt.folders)),
    )
    write_text(folder / REPORT, page)


def _shown(value: Any) -> Any:
    """A value of the page: names of files and classes are anybody's, charts are our own."""
    is_ours = isinstance(value, int | float) or hasattr(value, "__html__")
    return value if is_ours else shown(str(value))


def _curves(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Titles and charts: the loss, and validation accuracy, by stage."""
    queries = [record.queries for record in records]
    marks, stage = [], START
    for record in records:
        if record.stage != stage:
            stage = record.stage
            marks.append((record.queries, stage))
    losses = [
        Line("training loss", queries, [r.loss for r in records]),
        Line("validation loss", queries, [r.val_loss for r in records]),
    ]
    accuracies = [Line("validation accuracy", queries, [r.val_accuracy for r in records])]
    return [
        ("Loss", line_chart(losses, "queries", marks)),
        ("Validation accuracy", line_chart(accuracies, "queries", marks, percent=True)),
    ]


def _misread(
    folders: list[str], photos: Photos, probabilities: np.ndarray, max_memory: int | None
) -> list[Misread]:
    """The wrong answers with the highest probability."""
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found: list[Misread] = []
    for index in sorted(np.flatnonzero(guesses != photos.labels), key=lambda i: -confidence[i]):
        picture = thumbnail(photos.paths[index], max_memory)
        if picture is None:  # it was there when it was encoded
            continue
        found.append(
            Misread(
                name=photos.paths[index].name,
                thumbnail=picture,
                truth=folders[photos.labels[index]],
                guess=folders[guesses[index]],
                probability=float(confidence[index]),
            )
        )
        if len(found) == MISREAD:
            break
    return found


def _confused(
    confusion: Counter[tuple[int, int]], folders: list[str]
) -> tuple[str, str, int] | None:
    """The class that is most often taken for another, that other one, and how often.

    `confusion` counts the photos of each truth and guess.
    """
    wrong = [(-n, truth, guess) for (truth, guess), n in confusion.items() if truth != guess and n]
    if not wrong:
        return None
    times, truth, guess = min(wrong)
    return folders[truth], folders[guess], -times
