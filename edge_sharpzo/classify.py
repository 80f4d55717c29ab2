"""A finished run at work: `Classifier` answers for photos and measures itself on labelled ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np

from edge_sharpzo.classifier.heads import DEFAULT_HEAD
from edge_sharpzo.classifier.tuned import PROMPT, TunedPrompt
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL, known_as, model_file
from edge_sharpzo.clip.images import Photo
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.prompts import same_rows
from edge_sharpzo.clip.providers import CPU
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.engines.address import addresses
from edge_sharpzo.engines.opening import open_clip
from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.engines.strings_clip import StringsClip
from edge_sharpzo.evaluation import Evaluation, labelled, measured
from edge_sharpzo.photos.background import is_background
from edge_sharpzo.photos.class_names import spelt_again
from edge_sharpzo.runs.options import usable_threads
from edge_sharpzo.runs.run_config import CONFIG, RunConfig
from edge_sharpzo.system.errors import PromptTooLongError, UserError, os_errors_told
from edge_sharpzo.system.machine import check_device
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.system.text import as_spoken, folded, is_line
from edge_sharpzo.tuning.loss import softmax


@dataclass(frozen=True)
class Prediction:
    """A classifier's answer for one photo."""

    label: str  # the class folder's name
    probability: float  # of that class, calibrated
    probabilities: dict[str, float]  # of every class, the likeliest first
    # Whether the photo is known, and the probability reaches the threshold that photos gave.
    sure: bool
    # Whether it is a photo of the classes at all; None where the run cannot tell.
    known: bool | None


class Classifier:
    """A run's classifier. The model stays open between calls; threads may share one.

    Example:
        >>> classifier = Classifier.load("runs/2026-11-25_21-13-17")
        >>> (answer,) = classifier.predict(["photo.jpg"])
        >>> answer.label, answer.sure
        ('hat', True)
        >>> classifier.score(features)  # [N, D] cached features -> probabilities [N, K]
    """

    def __init__(self, clip: Clip, prompt: TunedPrompt, folder: Path, also: Sequence[str] = ()):
        """Use `load`."""
        self.folder = folder
        self._clip, self._prompt, self._also = clip, prompt, list(also)
        self._tower = clip.image_tower()
        self._lock = Lock()

    @classmethod
    def load(
        cls,
        run: str | PathLike[str],
        onnx: str | PathLike[str] | None = None,
        threads: int = 0,
        also: Sequence[str] | None = None,
        *,
        engine: str | None = None,
        send_photos: bool = False,
        tell: Tell = lambda text, warning: None,
    ) -> Self:
        """The classifier of a run folder; `onnx` where the model it was tuned for lies elsewhere.

        `threads` 0 are all cores, -1 all but one. `also` names more classes, which the run has seen
        no photo of; they answer by their names. `engine` is where the model runs; photos are sent
        there with `send_photos`, or where the run was tuned with it, which needs no `engine` then.
        `tell` hears what happens to that engine, and whether it is a warning. Raises UserError
        where the run is not whole, the model is another one, or the run cannot take such classes.
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
            place = Path(onnx) if onnx is not None else None
            clip = open_clip(
                *_where(folder, place, engine, send_photos),
                threads=usable_threads(threads),
                provider=CPU,
                memory=MemoryLimit(),
                tell=tell,
            )
            return cls(clip, _ready(clip, prompt, folder, more), folder, more)

    def renewed(self) -> Self:
        """The classifier that the run's folder holds by now, with the model that is open here.

        Both may be used beside each other; the model is in memory once. Raises UserError where the
        run is not whole, or of another model.
        """
        with os_errors_told():
            prompt = TunedPrompt.load(self.folder)
            prompt = _ready(self._clip, prompt, self.folder, self._also)
        made = type(self)(self._clip, prompt, self.folder, self._also)
        made._tower, made._lock = self._tower, self._lock
        return made

    def __repr__(self) -> str:
        return f"Classifier({str(self.folder)!r}, {len(self.labels)} classes)"

    @property
    def labels(self) -> list[str]:
        """The K classes, by their folders' names, in the order of `score`'s columns."""
        return list(self._prompt.folders)

    @property
    def can_refuse(self) -> bool:
        """Whether it can tell photos of none of its classes."""
        return self._prompt.known is not None

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
        return softmax(self._prompt.logits(self._checked(features)))

    def _checked(self, features: np.ndarray) -> np.ndarray:
        """Features [N, D] as float32. Raises UserError for another shape."""
        dim = self._prompt.text_features.shape[1]
        if np.ndim(features) != 2 or np.shape(features)[1] != dim:
            raise UserError(f"features: expected [N, {dim}], got {list(np.shape(features))}")
        return np.asarray(features, np.float32)

    def known(self, features: np.ndarray) -> np.ndarray | None:
        """How well known photos with features [N, D] are, [N], float32; None: it cannot be told.

        0 and above is a photo of the classes, below is none of these.
        """
        score = self._prompt.known
        return score.score(self._checked(features)) if score else None

    def answers(self, features: np.ndarray) -> list[Prediction]:
        """What `predict` says of photos with these image features [N, D]."""
        threshold = self._prompt.calibration.threshold or 0.0
        scores = self.known(features)
        known = [None] * len(features) if scores is None else (scores >= 0).tolist()
        answers = []
        for row, is_known in zip(self.score(features), known, strict=True):
            order = np.argsort(-row, kind="stable")
            likely = {self._prompt.folders[i]: float(row[i]) for i in order}
            label, probability = next(iter(likely.items()))
            sure = probability >= threshold and is_known is not False
            answers.append(Prediction(label, probability, likely, sure, is_known))
        return answers

    def evaluate(
        self,
        data: str | PathLike[str] | None = None,
        class_names: str | PathLike[str] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        skipped: Callable[[Path, str], None] = lambda path, reason: None,
        *,
        foreign: str | PathLike[str] | None = None,
    ) -> Evaluation:
        """Accuracy on the labelled photos under `data` that the run was not tuned on.

        `foreign` is a folder of photos of none of the classes, of which the share that is refused
        is measured; so it is of those in `_background/` beside the class folders. `class_names` is
        a file that says which folder holds which class, where they are called otherwise. `progress`
        hears of photos done and their number, `skipped` of unreadable ones.

        Raises UserError where no photo is left to count.
        """
        root, strangers, mapping = (
            Path(place) if place is not None else None for place in (data, foreign, class_names)
        )
        with os_errors_told():
            photos = labelled(self._prompt, root, strangers, mapping)
            given = {"data": root, "foreign": strangers}
            asked = [name for name, place in given.items() if place]
            return measured(
                self._clip, self._prompt, self.folder, photos, (progress, skipped), asked
            )


def _ready(clip: Clip, prompt: TunedPrompt, folder: Path, also: list[str]) -> TunedPrompt:
    """A run's prompt with the classes `also`. Raises UserError unless the model is its own."""
    if known_as(clip.sha256) != known_as(prompt.model_sha256):
        raise UserError(
            f"{clip.where} is not the model that {folder} was tuned for: add `onnx` with that "
            "model, or `engine` where it is served, or tune again",
            field="onnx",
        )
    if not prompt.fits(clip.card):
        raise UserError(f"{folder / PROMPT} is damaged (not of its model's size): tune again")
    if isinstance(clip, StringsClip):  # its SHA-256 is not of its weights
        (row,) = clip.prompts.as_written(prompt.names[:1], prompt.template)
        clip.check_made(bytes(row), prompt.text_features[0])
    return _with_names(clip, prompt, folder, also) if also else prompt


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
        if is_background(name):
            raise UserError(
                f"`also` has '{name}', the folder of photos of no class: leave it out", "also"
            )
    if twice := spelt_again([], names):
        name, other = twice
        spelt = f", as '{other[:60]}'" if other != name else ""
        raise UserError(f"`also`: '{name[:60]}' is there twice{spelt}: name it once", "also")
    return names


def _with_names(clip: Clip, prompt: TunedPrompt, folder: Path, names: list[str]) -> TunedPrompt:
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
    clip.close_tokenizer()
    text = clip.written_features(rows[len(prompt.names) :])
    made = prompt.with_names(names, spoken, text)
    if not all(np.isfinite(part).all() for part in made.linear()):
        raise UserError(f"{folder / PROMPT} is damaged (its numbers are too large): tune again")
    return made


def _where(
    folder: Path, onnx: Path | None, engine: str | None, send_photos: bool
) -> tuple[Path, str, bool]:
    """The model file of a run, where it runs, and whether photos go there. Raises UserError."""
    with suppress(UserError):  # `_model_of` says what is wrong
        options = RunConfig.read(folder).options
        if options.send_photos and engine is None and onnx is None:
            has_file = addresses(options.engine)[0].scheme.is_dask  # workers got theirs from here
            engine = LOCAL if has_file else options.engine
        send_photos |= options.send_photos and engine not in (None, LOCAL)
    if send_photos and engine not in (None, LOCAL):
        return onnx or EMBEDDED_MODEL, engine, True
    return onnx or _model_of(folder, engine), engine or LOCAL, send_photos


def _model_of(folder: Path, engine: str | None) -> Path:
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
        served = "`send_photos`, so that the service encodes photos too"
        if engine in (None, LOCAL):
            served = "`engine` where it is served, and `send_photos`"
        raise UserError(
            f"the model of this run, {model}, is gone: add `onnx` with its new place, or {served}",
            field="onnx",
        )
    return model
