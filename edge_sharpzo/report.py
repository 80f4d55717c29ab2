"""`report.html`: what a run did, for a person; one file that needs no network."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_sharpzo.calibration import reliability
from edge_sharpzo.charts import Line, line_chart
from edge_sharpzo.dataset import Photos
from edge_sharpzo.images import UnreadableImageError, load_image
from edge_sharpzo.loss import softmax
from edge_sharpzo.run_folder import TunedPrompt
from edge_sharpzo.storage import write_text
from edge_sharpzo.tuner import Record

REPORT = "report.html"
MISREAD, THUMBNAIL = 12, 160  # photos shown, and the longest side of one in pixels
MATRIX_CLASSES = 30  # the confusion matrix shows those that are misread most, when there are more


@dataclass(frozen=True)
class Misread:
    """A photo that the classifier takes for another class."""

    name: str
    thumbnail: str  # JPEG, base64
    truth: str
    guess: str
    probability: float


def write_report(
    folder: Path,
    summary: dict[str, Any],
    config: dict[str, Any],
    records: Sequence[Record],
    prompt: TunedPrompt,
    photos: Photos,
    features: np.ndarray,
) -> None:
    """Writes `report.html` to `folder`, about the held-out `photos` with image features [N, D]; N may be 0."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    probabilities = softmax(prompt.logits(features))
    guesses = probabilities.argmax(axis=1)
    classes = len(prompt.folders)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (photos.labels, guesses), 1)
    by_class = [
        {"name": name, "right": confusion[i, i] / confusion[i].sum() if confusion[i].any() else None, "photos": int(confusion[i].sum())}
        for i, name in enumerate(prompt.folders)
    ]
    shown = np.sort(np.argsort(-(confusion.sum(axis=1) - confusion.diagonal()), kind="stable")[:MATRIX_CLASSES])
    page = environment.get_template("report.html.jinja").render(
        run=folder.name,
        summary=summary,
        options={name: value for name, value in config["options"].items() if value is not None},
        settings=config["preset"]["settings"],
        curves=_curves(records),
        by_class=by_class,
        matrix_names=[prompt.folders[i] for i in shown],
        matrix=confusion[np.ix_(shown, shown)].tolist(),
        left_out=classes - len(shown),
        misread=_misread(prompt.folders, photos, probabilities),
        reliability=reliability(probabilities, photos.labels),
        advice=advice(summary, by_class, _confused(confusion, prompt.folders)),
    )
    write_text(folder / REPORT, page.encode(errors="replace").decode())  # file names may be no text


def _curves(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Titles and charts: the loss, and validation accuracy, by stage."""
    queries = [record.queries for record in records]
    marks, stage = [], "start"
    for record in records:
        if record.stage != stage:
            stage = record.stage
            marks.append((record.queries, stage))
    refit = [record.stage == "refit" for record in records]  # nothing is validated there
    losses = [Line("training loss", queries, [r.loss for r in records]), Line("validation loss", queries, [r.val_loss for r in records])]
    accuracies = [Line("validation accuracy", queries, [None if last else r.val_accuracy for r, last in zip(records, refit, strict=True)])]
    return [("Loss", line_chart(losses, "queries", marks)), ("Validation accuracy", line_chart(accuracies, "queries", marks, percent=True))]


def _misread(folders: list[str], photos: Photos, probabilities: np.ndarray) -> list[Misread]:
    """The wrong answers with the highest probability."""
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found: list[Misread] = []
    for index in sorted(np.flatnonzero(guesses != photos.labels), key=lambda i: -confidence[i]):
        try:
            picture = load_image(photos.paths[index])
        except UnreadableImageError:  # it was there when it was encoded
            continue
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=80)
        encoded = base64.b64encode(jpeg.getvalue()).decode()
        found.append(Misread(photos.paths[index].name, encoded, folders[photos.labels[index]], folders[guesses[index]], float(confidence[index])))
        if len(found) == MISREAD:
            break
    return found


def _confused(confusion: np.ndarray, folders: list[str]) -> tuple[str, str, int] | None:
    """The class that is most often taken for another, that other one, and how often."""
    wrong = confusion - np.diag(confusion.diagonal())
    if not wrong.any():
        return None
    truth, guess = np.unravel_index(wrong.argmax(), wrong.shape)
    return folders[truth], folders[guess], int(wrong[truth, guess])


def advice(summary: dict[str, Any], by_class: list[dict[str, Any]], confused: tuple[str, str, int] | None) -> list[str]:
    """What to try next, most promising first."""
    tips: list[str] = []
    accuracy, data = summary["accuracy"], summary["data"]
    if not data["test"]:
        return ["No photos were held out: give each class more photos than its shots, or a test/ folder, to know how good this is."]
    tuned, zero, head, classifier = (accuracy[name]["test"] for name in ("tuned", "zero_shot", "head", "classifier"))
    if tuned < zero:
        tips.append("The template as written does better than the tuned prompt: add photos, or keep the template.")
    if classifier >= 0.95:
        return [*tips, "More than 19 of 20 held-out photos are right: nothing needs to be done."]
    if data["shots"] < 16:
        tips.append(f"More shots: {data['shots']} photos a class are learnt from now; 16 or more help most.")
    if confused and confused[2] > 1:
        truth, guess, times = confused
        tips.append(
            f"'{truth}' is taken for '{guess}' {times} times: look at those photos, give both clearer names (--class-names), or merge the two."
        )
    if zero < 0.5:
        tips.append("The model knows little of these names: say what the photos are in --template, and give common words as --class-names.")
    if head > tuned + 0.02:
        tips.append("The closed-form head beats the prompt here; more queries (--budget) bring the prompt nearer.")
    if "lite-clip" in summary["model"]["name"]:
        tips.append("This is the small embedded model: export a larger CLIP (make export MODEL=ViT-B-16 PRETRAINED=openai) for better features.")
    few = [entry["name"] for entry in by_class if 0 < entry["photos"] < 5]
    if few:
        tips.append(f"Few photos are held out of {', '.join(few[:5])}: their figures mean little.")
    return tips
