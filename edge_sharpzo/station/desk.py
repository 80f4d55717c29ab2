"""What stands behind the page: the album, the learner, the tuner, and who answers for a photo."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Self

import numpy as np
from anyio import CapacityLimiter

from edge_sharpzo.album import Album, AlbumPhoto, Contents, NotThereError
from edge_sharpzo.album.errors import NO_PHOTO
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.classify import Classifier, Prediction
from edge_sharpzo.clip.embedded import known_as, model_file
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.photos.scan import OWN_FOLDER
from edge_sharpzo.photos.shots import ALL_SHOTS
from edge_sharpzo.pipeline.prepare import open_model
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.run_config import CONFIG, RunConfig
from edge_sharpzo.station.aside import Aside
from edge_sharpzo.station.camera import Camera
from edge_sharpzo.station.learner import Learner
from edge_sharpzo.station.look import Look
from edge_sharpzo.station.run_state import holds_something
from edge_sharpzo.station.tuner import Tuner
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import check_device

RUN, HEADS = "run", "heads"  # who answers
FRESH, SEEN = 0.5, 5.0  # seconds for which a walk through the folder counts
PICTURES = 2  # photos that are decoded at once


@dataclass(frozen=True)
class Answerer:
    """A classifier, and which one it is."""

    classifier: Classifier
    by: str
    displays: Mapping[str, str]  # folder -> name of its classes
    threshold: float | None  # an answer that is likelier is sure
    up_to_date: bool  # it is of the photos, names and template as they are


class Desk:
    """Everything behind the API. A context manager; its threads end with it."""

    def __init__(
        self,
        album: Album,
        options: TuneOptions,
        clip: Clip,
        log: Callable[[str], object],
        run: Path,
    ):
        """Use `opened`."""
        self.album, self.clip, self.log, self.run = album, clip, log, run
        self._base = options
        self.learner = Learner(album, clip, self.options)
        self.tuner = Tuner(album, self.learner, self.options, run, self.look_now, log)
        self.closing = Flag()
        # Threads that decode photos: those that are shown do not wait for those that come in.
        self.pictures, self.coming_in = CapacityLimiter(PICTURES), CapacityLimiter(1)
        self.camera = Camera()
        self.aside = Aside(self)
        self._lock = Lock()
        self._words = Lock()  # a tokenizer takes memory: one at a time
        self._contents: tuple[float, Contents] | None = None
        self._photos: tuple[str, dict[str, AlbumPhoto]] = ("", {})
        self._answering: tuple[object, Classifier] | None = None

    @classmethod
    def opened(
        cls, data: Path, run: Path, given: Mapping[str, Any], log: Callable[[str], object]
    ) -> Self:
        """Opens the folders and the model; `given` are fields of `TuneOptions`.

        Those not given are as in the run that is there; without one, all photos are learnt from but
        those kept apart.

        Raises UserError for whatever is wrong with them.
        """
        check_device()
        data, run = data.resolve(), run.resolve()
        _check_apart(data, run)
        options = replace(_with_those_of(given, data, run), data=data, out=run).checked()
        album = Album.open(data)
        try:
            clip = open_model(options, lambda event: None)
            _check_model(run, clip)
            desk = cls(album, options, clip, log, run)
        except BaseException:
            album.close()
            raise
        for text in album.told:
            log(text)
        return desk

    def __enter__(self) -> Self:
        self.learner.start()
        self.tuner.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.tuner.close()
        self.learner.close()
        self.album.close()

    @property
    def template(self) -> str:
        """The template of prompts."""
        return self.album.template or self._base.template

    def options(self) -> TuneOptions:
        """Those of a run on the album as it is now."""
        return replace(
            self._base,
            template=self.template,
            class_names=self.album.names_file() or self._base.class_names,
        )

    def written(self, names: Sequence[str], template: str) -> list[list[int]]:
        """Token ids of the prompts with these names, by class. Raises PromptTooLongError."""
        with self._words:
            try:
                return self.clip.prompts.as_written(names, template)
            finally:
                self.clip.close_tokenizer()

    @property
    def data(self) -> Path:
        """The photos' folder."""
        return self._base.data

    @property
    def own(self) -> Path:
        """The station's own folder in it."""
        return self.data / OWN_FOLDER

    def contents(self, fresh: float = FRESH) -> Contents:
        """What lies in the folder; at most so many seconds old, but for steps made here."""
        with self._lock:
            if self._contents and time.monotonic() - self._contents[0] < fresh:
                return self._contents[1]
            contents = self.album.contents()
            self._contents = time.monotonic(), contents
            return contents

    def look_now(self) -> Look | None:
        """The newest look, where it is of the photos, names and template as they are."""
        look = self.learner.look
        try:
            return look if look and look.teaches == self.contents().teaches else None
        except UserError:  # the folder cannot be read
            return None

    def photo(self, photo_id: str) -> AlbumPhoto:
        """The photo of that id. Raises NotThereError.

        A page asks for hundreds at once: one walk through the folder does for all.
        """
        for fresh in (SEEN, 0.0):
            contents = self.contents(fresh)
            if self._photos[0] != contents.version:
                self._photos = contents.version, {each.id: each for each in contents.photos()}
            if (found := self._photos[1].get(photo_id)) and found.is_there():
                return found
        raise NotThereError(NO_PHOTO)

    def changed(self) -> None:
        """A step was made."""
        with self._lock:
            self._contents = None
        self.learner.nudge()

    def answerer(self) -> Answerer:
        """The newest classifier: the run's, if it is of what was learnt last, or that of the look.

        Where nothing is learnt, as of one class alone, it is the run's, whatever that is of.

        Raises UserError where there is none.
        """
        run, look, newest = self.tuner.folder.state(), self.learner.look, self.look_now()
        fits = run.prompt and (look is None or run.is_of(look))
        prompt = run.prompt if fits else look.prompt if look else None
        if prompt is None:
            why = self.learner.state.why
            raise UserError(why or "nothing is learnt yet: wait a moment")
        with self._lock:
            if self._answering is None or self._answering[0] is not prompt:
                self._answering = prompt, self._made(prompt)
            classifier = self._answering[1]
        displays = dict(zip(prompt.folders, prompt.names, strict=True))
        threshold, by = prompt.calibration.threshold, RUN if fits else HEADS
        return Answerer(classifier, by, displays, threshold, look is not None and newest is look)

    def _made(self, prompt: TunedPrompt) -> Classifier:
        if not prompt.fits(self.clip.card):
            raise UserError(f"{self.run} was tuned with another model: tune again")
        return Classifier(self.clip, prompt, self.run)

    def answer(self, photo: Path) -> tuple[Answerer, Prediction, np.ndarray, Look | None]:
        """What is said of a photo, its features [D], and the look to find others like it in.

        Raises UserError where it cannot be read, or nothing is learnt.
        """
        answerer = self.answerer()
        features = self.learner.eyes.encode_all([photo])
        (said,) = answerer.classifier.answers(features)
        return answerer, said, features[0], self.learner.look


def _check_apart(data: Path, run: Path) -> None:
    """Raises UserError where one folder lies in the other: runs are renamed, photos shown."""
    if not data.is_dir():
        raise UserError(f"{data} is no folder: make it, and photos come in by the page", "data")
    if run.is_relative_to(data) or data.is_relative_to(run):
        raise UserError(
            f"`run={run}` and `data={data}` lie in each other: put the run elsewhere", field="run"
        )


def _with_those_of(given: Mapping[str, Any], data: Path, run: Path) -> TuneOptions:
    """The options that are given; for the others, those of the run that is there.

    Raises UserError for a run on other photos, or a folder that holds something else.
    """
    if not (run / CONFIG).exists():
        if holds_something(run):
            raise UserError(
                f"`run={run}` is no run of edge-sharpzo and not empty: choose another", field="run"
            )
        return TuneOptions(**{"shots": ALL_SHOTS, **given})
    config = RunConfig.read(run)
    if config.options.data.resolve() != data:
        raise UserError(
            f"{run} is a run on the photos in {config.options.data}: choose another `run`", "run"
        )
    default = TuneOptions()
    here = {
        "onnx": model_file(config.options.onnx, config.model_sha256),
        "threads": default.threads,
        "max_memory": default.max_memory,
    }
    return replace(config.options, **{**here, **given})


def _check_model(run: Path, clip: Clip) -> None:
    """Raises UserError where the run was tuned with another model."""
    if (run / CONFIG).exists() and known_as(RunConfig.read(run).model_sha256) != known_as(
        clip.sha256
    ):
        raise UserError(
            f"{run} was tuned with another model than {clip.where}: give that one with `onnx`, or "
            "choose another `run`",
            field="onnx",
        )
