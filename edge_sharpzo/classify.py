"""A finished run at work: `Classifier` answers for photos and measures itself on labelled ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np

from edge_sharpzo.classifier.heads import DEFAULT_HEAD
from edge_sharpzo.classifier.tuned import PROMPT, TunedPrompt
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import known_as, model_file
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.images import Photo
from edge_sharpzo.clip.prompts import same_rows
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.photos.class_names import as_spoken, folded, spelt_again
from edge_sharpzo.photos.copies import leave_out_copies, shows_same
from edge_sharpzo.photos.draw import missing_note
from edge_sharpzo.photos.features import look_at
from edge_sharpzo.photos.found import Photos, find_labelled
from edge_sharpzo.photos.left_out import (
    NO_CLASS,
    TUNED_ON,
    UNREADABLE,
    LeftOut,
    LeftOutGroup,
    grouped,
    told,
)
from edge_sharpzo.photos.scan import split_folder
from edge_sharpzo.runs.options import usable_threads
from edge_sharpzo.runs.records import CONFIG, RunConfig
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.system.errors import PromptTooLongError, UserError, os_errors_told
from edge_sharpzo.system.machine import check_device
from edge_sharpzo.system.text import is_line, some
from edge_sharpzo.tuning.loss import softmax


@dataclass(frozen=True)
class Prediction:
    """A classifier's answer for one photo."""

    label: str  # the class folder's name
    probability: float  # of that class, calibrated
    probabilities: dict[str, float]  # of every class, the likeliest first
    # Whether the probability reaches the threshold that validation photos gave; True without any.
    sure: bool


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on labelled photos."""

    accuracy: float
    photos: int  # that were counted
    tuned_on: int  # that were left out because the run was tuned on them
    skipped: int  # that could not be read
    by_class: dict[str, float]  # accuracy of each class that has photos
    # What the classes known by name alone have to do with it; None where there are none.
    without_photos: WithoutPhotos | None
    left_out: list[LeftOutGroup]  # all files that were not counted, by reason
    notes: list[str]  # what else to know of them


class Classifier:
    """A run's classifier. The model stays open between calls; threads may share one.

    Example:
        >>> classifier = Classifier.load("runs/2026-11-25_21-13-17")
        >>> (answer,) = classifier.predict(["photo.jpg"])
        >>> answer.label, answer.sure
        ('hat', True)
        >>> classifier.score(features)  # [N, D] cached features -> probabilities [N, K]
    """

    def __init__(self, clip: ClipOnnx, prompt: TunedPrompt, folder: Path):
        """Use `load`."""
        self.folder = folder
        self._clip, self._prompt = clip, prompt
        self._tower = clip.image_tower()
        self._lock = Lock()

    @classmethod
    def load(
        cls,
        run: str | PathLike[str],
        onnx: str | PathLike[str] | None = None,
        threads: int = 0,
        also: Sequence[str] | None = None,
    ) -> Self:
        """The classifier of a run folder; `onnx` where the model it was tuned for lies elsewhere.

        `threads` 0 are all cores, -1 all but one. `also` names more classes, which the run has seen
        no photo of; they answer by their names. Raises UserError where the run is not whole, the
        model is another one, or the run cannot take such classes.
        """
        if not isinstance(run, str | PathLike):
            raise UserError(
                f"load() takes a run's folder, got {type(run).__name__}: give `run.folder`"
            )
        more = _names(also)
        folder = Path(run).absolute()
        check_device()
        with os_errors_told():
            prompt = TunedPrompt.load(folder)
            model = Path(onnx) if onnx is not None else _model_of(folder)
            clip = ClipOnnx(model, usable_threads(threads))
            known = clip.sha256
        if known_as(known) != known_as(prompt.model_sha256):
            raise UserError(
                f"{model} is not the model that {folder} was tuned for: add `onnx` with that "
                "model, or tune again",
                field="onnx",
            )
        if not prompt.fits(clip.card):
            raise UserError(f"{folder / PROMPT} is damaged (not of its model's size): tune again")
        if more:
            prompt = _with_names(clip, prompt, folder, more)
        return cls(clip, prompt, folder)

    def __repr__(self) -> str:
        return f"Classifier({str(self.folder)!r}, {len(self.labels)} classes)"

    @property
    def labels(self) -> list[str]:
        """The K classes, by their folders' names, in the order of `score`'s columns."""
        return list(self._prompt.folders)

    def predict(self, photos: Sequence[Photo]) -> list[Prediction]:
        """An answer for each photo: a path, a pillow image or a uint8 RGB array [H, W, 3].

        Raises UserError for a photo that cannot be read.
        """
        if isinstance(photos, str | bytes | PathLike) or not isinstance(photos, Sequence):
            raise UserError(
                f"predict() takes a list of photos, got {type(photos).__name__}: "
                "put photos into a list, a single one too"
            )

        with self._lock:
            features = self._tower.encode_all(list(photos))
        return self.answers(features)

    def stream(
        self, photos: Sequence[Photo], progress: Callable[[int], object] = lambda done: None
    ) -> Iterator[Prediction | str]:
        """For each photo in turn an answer, or why it cannot be read, as soon as it is known.

        `progress` hears how many photos are done.
        """
        unreadable: dict[int, str] = {}
        following = 0
        with self._clip.image_tower() as tower:
            for seen in tower.each(photos, unreadable.__setitem__, progress):
                yield from (unreadable[index] for index in range(following, seen.place))
                yield self.answers(seen.features[None])[0]
                following = seen.place + 1
        yield from (unreadable[index] for index in range(following, len(photos)))

    def encode(
        self, photos: Sequence[Photo], skipped: Callable[[int, str], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image features [N, D], float32, and which photos could be read [N], bool.

        A photo that cannot be has a row of zeros; `skipped` hears its index, and why.
        """
        with self._lock:
            return self._tower.encode(list(photos), skipped)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probabilities [N, K], float32, of image features [N, D], as `encode` gives.

        Costs one small matrix product: cached photos are scored again at once. Raises UserError for
        another shape.
        """
        dim = self._prompt.text_features.shape[1]
        if np.ndim(features) != 2 or np.shape(features)[1] != dim:
            raise UserError(f"features: expected [N, {dim}], got {list(np.shape(features))}")
        return softmax(self._prompt.logits(np.asarray(features, np.float32)))

    def answers(self, features: np.ndarray) -> list[Prediction]:
        """What `predict` says of photos with these image features [N, D]."""
        threshold = self._prompt.calibration.threshold or 0.0
        answers = []
        for row in self.score(features):
            order = np.argsort(-row, kind="stable")
            likely = {self._prompt.folders[i]: float(row[i]) for i in order}
            label, probability = next(iter(likely.items()))
            answers.append(Prediction(label, probability, likely, probability >= threshold))
        return answers

    def evaluate(
        self,
        data: str | PathLike[str],
        class_names: str | PathLike[str] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        skipped: Callable[[Path, str], None] = lambda path, reason: None,
    ) -> Evaluation:
        """Accuracy on the labelled photos under `data` that the run was not tuned on.

        `class_names` is a file that says which folder holds which class, where they are called
        otherwise. `progress` hears of photos done and their number, `skipped` of unreadable ones.

        Raises UserError where no photo is left to count.
        """
        root, mapping = Path(data), Path(class_names) if class_names is not None else None
        prompt = self._prompt
        with os_errors_told():
            found = find_labelled(root, prompt.folders, prompt.names, mapping)
            photos, seen, left_out, notes = look_at(self._clip, found, progress, skipped)
        if not seen.readable.any():
            raise UserError(f"no photo under {root} can be read", field="data")
        known = self._tuned_on(photos, seen.sketches) & seen.readable
        left_out += [LeftOut(photos.paths[i], TUNED_ON) for i in np.flatnonzero(known)]
        fresh, copies = leave_out_copies(photos, found.parts, seen.sketches, seen.readable & ~known)
        if not fresh.any():
            why = told(grouped(left_out + copies))
            raise UserError(
                f"no photo under {root} is left to count ({why}): give `data` other photos",
                field="data",
            )
        labels = photos.labels[fresh]
        absent = [name for k, name in enumerate(prompt.folders) if k not in labels]
        scores = self.score(seen.features[fresh])
        right = scores.argmax(axis=1) == labels
        return Evaluation(
            accuracy=float(right.mean()),
            photos=len(labels),
            tuned_on=int(known.sum()),
            skipped=sum(file.reason == UNREADABLE for file in left_out),
            by_class={
                name: float(right[labels == i].mean())
                for i, name in enumerate(prompt.folders)
                if (labels == i).any()
            },
            without_photos=WithoutPhotos.measured(prompt.without_photos, scores, labels),
            left_out=grouped([*found.left_out, *left_out, *copies]),
            notes=notes
            + _strangers(root, found.left_out)
            + missing_note("photos", absent, len(prompt.folders)),
        )

    def _tuned_on(self, photos: Photos, sketches: np.ndarray) -> np.ndarray:
        """Which photos [N], bool, the run was tuned on: by content or picture, not by place."""
        config = RunConfig.read(self.folder)
        digests = set(config.tuned_on_sha256) - {""}
        paths = set() if digests else set(config.tuned_on)  # version 0.1.0 kept no digests
        known = np.array(
            [
                file.digest.hex() in digests or str(file.path.resolve()) in paths
                for file in photos.files
            ]
        )
        return known | shows_same(sketches, config.sketches()).any(axis=1)


def _strangers(root: Path, left_out: list[LeftOut]) -> list[str]:
    """Which folders under `root` are no class of the run, and what to do about them."""
    base = split_folder(root, "test") or root
    files = (file.path for file in left_out if file.reason == NO_CLASS)
    folders = sorted({path.relative_to(base).parts[0] for path in files})
    if not folders:
        return []
    named = some([f"'{folder}'" for folder in folders])
    return [
        f"no class of the run: {named}. Name such classes in `also`, or say with "
        "`class_names` which class a folder is"
    ]


def _names(also: object) -> list[str]:
    """The names of `also`, a sequence or None. Raises UserError for anything else."""
    if also is None:
        return []
    given = list(also) if isinstance(also, Sequence) and not isinstance(also, str) else [None]
    names = [name.strip() for name in given if isinstance(name, str)]
    if len(names) < len(given):
        raise UserError(
            f"`also` takes a list of names, got {type(also).__name__}: put them into a list",
            field="also",
        )
    for name in names:
        if not name:
            raise UserError(
                "`also` has an empty name: take it out, or write what is missing there", "also"
            )
        if not folded(name) or not is_line(name):
            raise UserError(f"`also` has the name {name[:60]!a}: give words of one line", "also")
    if twice := spelt_again([], names):
        name, other = twice
        spelt = f", as '{other[:60]}'" if other != name else ""
        raise UserError(f"`also`: '{name[:60]}' is there twice{spelt}: name it once", "also")
    return names


def _with_names(clip: ClipOnnx, prompt: TunedPrompt, folder: Path, names: list[str]) -> TunedPrompt:
    """The prompt with the classes `names`. Raises UserError where it cannot have them."""
    if prompt.by_name is None:
        raise UserError(
            f"{folder} cannot answer for classes without photos: it was tuned with another head "
            f"than {DEFAULT_HEAD}, or by an older version. Tune again, with `head={DEFAULT_HEAD}`",
            field="also",
        )
    spoken = [as_spoken(name) for name in names]
    try:
        rows = clip.prompts.as_written([*prompt.names, *spoken], prompt.template)
    except PromptTooLongError as error:  # those of the run fit
        raise UserError(f"{error.fault}: shorten that name in `also`", field="also") from error
    same, every = same_rows(rows), [*prompt.folders, *names]
    if twice := (every[same[1]], every[same[0]]) if same else spelt_again(prompt.folders, names):
        raise UserError(
            f"`also` names '{twice[0]}', which the model cannot tell from the class '{twice[1]}': "
            "leave it out",
            field="also",
        )
    tower = TextTower(clip, rows[len(prompt.names) :], 0)
    clip.close_tokenizer()
    made = prompt.with_names(names, spoken, template_features(tower, clip.card.text.width))
    if not all(np.isfinite(part).all() for part in made.linear()):
        raise UserError(f"{folder / PROMPT} is damaged (its numbers are too large): tune again")
    return made


def _model_of(folder: Path) -> Path:
    """The model file that a run was tuned with. Raises UserError where it is gone."""
    try:
        config = RunConfig.read(folder)
        model = model_file(config.options.onnx, config.model_sha256)
    except UserError as error:
        raise UserError(
            f"{folder / CONFIG} does not say which model was tuned ({error}). Or give the model "
            "with `onnx`",
            field="onnx",
        ) from error
    if not model.is_file():
        raise UserError(
            f"the model of this run, {model}, is gone: add `onnx` with its new place", field="onnx"
        )
    return model
