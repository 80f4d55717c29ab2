"""What to try next after a run, most promising first: the report's advice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_sharpzo.runs.records import DataRecord, Summary
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.system.text import listed, percent

PASS = 0.1  # of photos of none of the classes may
ENOUGH = 16  # photos per class, from which on more help little


@dataclass(frozen=True)
class ClassScore:
    """Held-out photos of one class."""

    name: str
    right: float | None  # share of them
    photos: int


Confused = tuple[str, str, int]  # a class, the other that it is taken for most often, how often


def advice(
    summary: Summary, by_class: Sequence[ClassScore], confused: Confused | None
) -> list[str]:
    """Sentences for a person, about the held-out photos by class and the worst confusion."""
    accuracy, bare = summary.accuracy, summary.without_photos
    if accuracy.classifier.test is None:
        return [
            "No photos were held out: give each class more photos than its shots, or a test/ "
            "folder, to know how good this is.",
            *_more_photos(summary.data, bare),
        ]
    tips = [
        *_where_the_template_wins(summary),
        *_photos_of_names(bare),
        *_labels(summary),
        *_background(summary),
    ]
    if accuracy.classifier.test >= 0.95:
        other = "else " if tips else ""
        right = "At least 19 of 20 held-out photos are right"
        return [*tips, f"{right}: nothing {other}needs to be done."]
    tips += _more_photos(summary.data, bare)
    if (checked := summary.photo_check) and checked.wants_photos:
        tips.append(f"More photos of '{checked.wants_photos}' would help most.")
    if confused and confused[2] > 1:
        tips.append(_apart(confused, bare))
    tips += _of_the_model(summary)
    if few := [entry.name for entry in by_class if 0 < entry.photos < 5]:
        tips.append(f"Few photos are held out of {listed(few)}: their figures mean little.")
    return tips


def _where_the_template_wins(summary: Summary) -> Iterator[str]:
    tuned, zero = summary.accuracy.tuned.test, summary.accuracy.zero_shot.test
    if tuned is not None and zero is not None and tuned < zero:
        yield (
            "The template as written does better than the tuned prompt: add photos, or keep the "
            "template."
        )


def _photos_of_names(bare: WithoutPhotos | None) -> Iterator[str]:
    """Where classes that are known by name alone are read worse than the others."""
    if bare and bare.right is not None and bare.right < (bare.others_right or 0.0):
        yield (
            f"Take photos of {listed(bare.classes)}: known by name alone, fewer of their photos "
            "are right than of the others."
        )


def _labels(summary: Summary) -> Iterator[str]:
    """Where photos look like another class."""
    if (checked := summary.photo_check) and (many := len(checked.suspects)):
        are = "photo that looks" if many == 1 else "photos that look"
        yield f"See to the labels of {many} {are} like another class, shown below."


def _background(summary: Summary) -> Iterator[str]:
    """Where photos of none of the classes pass."""
    if (known := summary.known) and known.passes > PASS:
        yield (
            f"{percent(known.passes)} of the photos of none of the classes pass: put photos of "
            "such things, and of whatever else the camera sees, into _background."
        )


def _more_photos(data: DataRecord, bare: WithoutPhotos | None) -> Iterator[str]:
    """What limits learning: the shots that were asked for, or the photos that there are."""
    each = (data.train + data.borrowed) / (data.classes - len(bare.classes if bare else []))
    asked = data.shots or ENOUGH  # 0: all that there are
    if each < min(asked, ENOUGH):
        yield (
            f"More photos: about {each:.0f} per class are learnt from now; {ENOUGH} or more help "
            "most."
        )
    elif asked < ENOUGH:
        yield (
            f"More shots: {data.shots} photos per class are learnt from now; {ENOUGH} or more help "
            "most."
        )


def _apart(confused: Confused, bare: WithoutPhotos | None) -> str:
    """What tells two classes apart that are confused."""
    truth, guess, times = confused
    cure = "look at those photos, give both clearer class names, or merge the two"
    if unseen := [f"'{name}'" for name in (truth, guess) if bare and name in bare.classes]:
        cure = f"take photos of {' and '.join(unseen)}, known by name alone"
    return f"'{truth}' is taken for '{guess}' {times} times: {cure}."


def _of_the_model(summary: Summary) -> Iterator[str]:
    """What its text, the prompt and the model itself leave to be desired."""
    accuracy = summary.accuracy
    zero, tuned, head = accuracy.zero_shot.test, accuracy.tuned.test, accuracy.head.test
    if zero is not None and zero < 0.5:
        yield (
            "The model knows little of these names: say what the photos are in the template, and "
            "give the classes common names."
        )
    beaten = head is not None and tuned is not None and head > tuned + 0.02
    if beaten and summary.is_searched and not summary.dropped:
        yield (
            "The closed-form head beats the prompt here; more queries (a larger budget) bring the "
            "prompt nearer."
        )
    if "lite-clip" in summary.model.name:
        yield (
            "This is the small embedded model: export a larger CLIP (make export MODEL=ViT-B-16 "
            "PRETRAINED=openai) for better features."
        )
