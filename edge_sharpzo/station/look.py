"""What the classifier gets right and wrong of the photos that are there: the figures of a look."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from edge_sharpzo.album import Contents
from edge_sharpzo.classifier.suspects import Judgement, judged
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.classifier.wanting import wanting
from edge_sharpzo.photos.found import Photos
from edge_sharpzo.photos.labelled import joined
from edge_sharpzo.pipeline import Finished, Prepared
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.system.text import listed, shown
from edge_sharpzo.tuning.loss import softmax

LEAST_HELD_OUT = 3  # photos of each class from which held-out ones judge; else all judge each other
Z95 = 1.959964  # standard deviations to either side that hold 95 % of a Gaussian
FEW = 8  # photos of a class, below which more are asked for first of all


class MadeOf(NamedTuple):
    """What a classifier was made of: two that are equal have learnt the same."""

    photos: frozenset[tuple[str, str]]  # path and digest, of those learnt from and held out
    background: tuple[str, ...]  # digests, sorted
    folders: tuple[str, ...]
    names: tuple[str, ...]
    template: str

    def is_called_as(self, other: "MadeOf") -> bool:
        """Whether classes, their names and the template are the same."""
        return self[2:] == other[2:]

    @classmethod
    def run(cls, config: RunConfig) -> Self:
        """Of a run."""
        return cls(
            frozenset(config.photos()),
            tuple(sorted(config.background_sha256)),
            tuple(config.folders),
            tuple(config.names),
            config.options.template,
        )

    @classmethod
    def photos_of(cls, prepared: Prepared) -> Self:
        """Of what a run would learn now."""
        found, options = prepared.task.found, prepared.task.options
        every = _together(prepared.tuned_on, prepared.held_out)
        digests = (file.digest.hex() for file in every.files)
        behind = (file.digest.hex() for file in prepared.background.photos.files)
        return cls(
            frozenset(zip((str(path.resolve()) for path in every.paths), digests, strict=True)),
            tuple(sorted(behind)),
            tuple(found.folders),
            tuple(found.names),
            options.template,
        )


@dataclass(frozen=True)
class Share:
    """How many photos are right."""

    right: int
    photos: int

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.right / self.photos

    @property
    def plus_minus(self) -> float:
        """Half the width of Wilson's interval, which holds the share in 95 of 100 cases."""
        n, p = self.photos, self.share
        spread = math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
        return Z95 * spread / (1 + Z95**2 / n)


class Tuned(NamedTuple):
    """How many photos a run has right."""

    prompt: Share  # alone
    classifier: Share  # mixed with the head, as `predict` answers


@dataclass(frozen=True)
class Judged:
    """Photos whose class is known, and what is said of each by who has not learnt from it."""

    photos: Photos  # N of them
    features: np.ndarray  # [N, D]
    probabilities: np.ndarray  # [N, K], calibrated
    before: np.ndarray  # what the template alone says, class indices [N]
    known: np.ndarray | None  # scores of being known [N]; None: it cannot be told

    @property
    def said(self) -> np.ndarray:
        """Class indices [N]."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def confusion(self) -> np.ndarray:
        """Counts [K, K], int64: of photos of each class (row), how often each is said (column)."""
        classes = self.probabilities.shape[1]
        cells = self.photos.labels * classes + self.said
        counts = np.bincount(cells, minlength=classes * classes)
        return counts.reshape(classes, classes)


@dataclass(frozen=True)
class Look:
    """Everything that is known of the photos of one version of the album. Never changed."""

    version: str  # of the album
    teaches: str  # what of it was learnt, as `Contents.teaches`
    made_of: MadeOf
    held_out: bool  # else each photo was judged by the others
    folders: list[str]
    names: list[str]
    template: str
    shots: int  # a class, as in a run
    judged: Judged
    judgement: Judgement  # of all photos, by each other
    every: Photos  # those
    features: np.ndarray  # of those [N, D]
    learnt: int  # the first ones, which were learnt from
    text: np.ndarray  # the template's text features of their classes [K, D]
    prompt: TunedPrompt
    alike: list[list[Path]]  # groups of near-duplicates
    ids: Mapping[Path, str]  # of the album
    notes: list[str] = field(default_factory=list)  # what was left out
    left_out: list[tuple[str, str]] = field(default_factory=list)  # some of it: file and why

    @property
    def before(self) -> Share:
        """By the template's words alone."""
        return _share(self.judged.before, self.judged.photos.labels)

    @property
    def after(self) -> Share:
        """By the classifier as it has just learnt."""
        return _share(self.judged.said, self.judged.photos.labels)

    def tuned(self, prompt: TunedPrompt, seen: frozenset[str]) -> Tuned | str:
        """Of a run, which has learnt from photos with the digests `seen`.

        Or why not: too few photos may be left that it has not learnt from.
        """
        if prompt.folders != self.folders:
            return "it was tuned with other classes: learn again"
        if not self.held_out:
            return (
                "too few photos are kept apart to judge it by: that takes 15 of each class, "
                "or a test folder"
            )
        photos = self.judged.photos
        fresh = np.array([file.digest.hex() not in seen for file in photos.files], bool)
        labels = photos.labels[fresh]
        if not _enough(labels, np.unique(photos.labels)):
            few = [k for k in np.unique(photos.labels) if (labels == k).sum() < LEAST_HELD_OUT]
            named = listed([f"'{shown(self.names[k])}'" for k in few])
            return (
                f"it has learnt from too many of the photos of {named} that judge now: learn again"
            )
        features = self.judged.features[fresh]
        return Tuned(
            _share((features @ prompt.text_features.T).argmax(axis=1), labels),
            _share(prompt.logits(features).argmax(axis=1), labels),
        )

    def kept_apart(self) -> frozenset[Path]:
        """The photos of the classes that nothing was learnt from."""
        return frozenset(self.every.paths[self.learnt :])

    def by_words(self, text: np.ndarray) -> Share:
        """Of all photos, by other text features [K, D] alone: these have learnt from none."""
        return _share((self.features @ text.T).argmax(axis=1), self.every.labels)

    def misread(self) -> list[int]:
        """Of the judged photos, those of which another class is said; the surest first."""
        wrong = np.flatnonzero(self.judged.said != self.judged.photos.labels)
        top = self.judged.probabilities.max(axis=1)
        return [int(place) for place in wrong[np.argsort(-top[wrong], kind="stable")]]

    def refused(self) -> list[int]:
        """Of the judged photos, those that are taken for none of the classes."""
        known = self.judged.known
        return [] if known is None else [int(place) for place in np.flatnonzero(known < 0)]

    def unsure(self) -> list[int]:
        """Of the others, those whose answer is not sure; the least sure first."""
        threshold, top = self.prompt.calibration.threshold, self.judged.probabilities.max(axis=1)
        doubted = np.flatnonzero(top < (threshold or 0.0))
        refused = set(self.refused())
        return [
            int(i) for i in doubted[np.argsort(top[doubted], kind="stable")] if i not in refused
        ]

    def wanting(self) -> list[str]:
        """Classes that need photos, the neediest first."""
        photos = np.bincount(self.every.labels, minlength=len(self.folders))
        few = [int(i) for i in np.argsort(photos, kind="stable") if photos[i] < FEW]
        worst = wanting(self.judgement)
        more = [] if worst is None or worst in few else [worst]
        return [self.folders[i] for i in [*few, *more]]

    def nearest(self, features: np.ndarray, most: int) -> list[tuple[Path, int, float]]:
        """Path, label and cosine of the photos learnt from that are most like features [D]."""
        cosines = self.features[: self.learnt] @ features
        order = np.argsort(-cosines, kind="stable")[:most]
        paths, labels = self.every.paths, self.every.labels
        return [(paths[i], int(labels[i]), float(cosines[i])) for i in order]


def look_at(
    prepared: Prepared,
    finished: Finished,
    as_written: np.ndarray,
    contents: Contents,
    notes: list[str],
) -> Look:
    """The look of a classifier that has just learnt the album with these `contents`.

    `as_written` are the template's text features [K + M, D].
    """
    found, splits, options = prepared.task.found, prepared.splits, prepared.task.options
    learnt = joined(splits.train, splits.val)
    of_learnt = splits.test.labels < found.learnt
    whole, every = joined(learnt, splits.test), _together(prepared.tuned_on, prepared.held_out)
    judging = np.concatenate([np.ones(len(learnt.labels), bool), of_learnt])
    text = as_written[: found.learnt]
    # Classes without photos have no part in this: no photo can tell of them.
    places = np.flatnonzero(judging)
    judgement = judged(whole.features[places], whole.labels[places], text)
    held_out = _enough(splits.test.labels, np.arange(found.learnt))
    prompt = finished.prompt
    if held_out:
        photos, features = prepared.held_out, splits.test.features
        probabilities = softmax(prompt.logits(features))
        written = as_written
        known = prompt.known.score(features) if prompt.known else None
    else:
        photos, features = every.at(places), whole.features[places]
        probabilities = np.zeros((len(places), len(as_written)))
        probabilities[:, : found.learnt] = judgement.probabilities
        written, known = text, _known_of(prepared, finished, features)
    before = (features @ written.T).argmax(axis=1)
    return Look(
        version=contents.version,
        teaches=contents.teaches,
        made_of=MadeOf.photos_of(prepared),
        held_out=held_out,
        folders=found.folders,
        names=found.names,
        template=options.template,
        shots=options.shots,
        judged=Judged(photos, features, probabilities, before, known),
        judgement=judgement,
        every=every.at(places),
        features=whole.features[places],
        learnt=len(learnt.labels),
        text=text,
        prompt=prompt,
        alike=prepared.alike,
        ids={photo.path: photo.id for photo in contents.photos()},
        notes=notes,
    )


def _known_of(prepared: Prepared, finished: Finished, features: np.ndarray) -> np.ndarray | None:
    """How well known the photos learnt from are, each left out, then those that are held out."""
    score, told = finished.prompt.known, finished.known
    if score is None or told is None:
        return None
    known = score.score(features)
    learnt = len(prepared.splits.train.labels) + len(prepared.splits.val.labels)
    if len(told.scores) == learnt:  # else some validation photos were shots, and which is not told
        known[:learnt] = told.scores
    return known


def _together(first: Photos, second: Photos) -> Photos:
    labels = np.concatenate([first.labels, second.labels])
    return Photos([*first.paths, *second.paths], labels, [*first.files, *second.files])


def _enough(labels: np.ndarray, classes: np.ndarray) -> bool:
    """Whether there are photos enough of each of the classes to judge by."""
    return all((labels == label).sum() >= LEAST_HELD_OUT for label in classes)


def _share(said: np.ndarray, labels: np.ndarray) -> Share:
    return Share(int((said == labels).sum()), len(labels))
