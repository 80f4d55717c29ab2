"""The last steps: the classifier is made of what was found, and measured."""

from dataclasses import dataclass

import numpy as np

from edge_sharpzo.classifier.by_name import known_by_name
from edge_sharpzo.classifier.calibration import calibration_error
from edge_sharpzo.classifier.fusion import Fusion, Settled, fuse, settled
from edge_sharpzo.classifier.heads import DEFAULT_HEAD, NO_HEAD, head_named
from edge_sharpzo.classifier.known import KnownPhotos, known_photos
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.pipeline.prepare import Prepared
from edge_sharpzo.pipeline.search import Found, word_features
from edge_sharpzo.runs.known import KnownRecord
from edge_sharpzo.runs.records import (
    TEMPLATE,
    TUNED,
    Accuracies,
    CalibrationRecord,
    ClassifierScores,
    HeadScores,
    Scores,
)
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.tuning.loss import accuracy, share_right, softmax


@dataclass(frozen=True)
class Finished:
    """The classifier, and what it was made of."""

    prompt: TunedPrompt
    fusion: Fusion
    validated_text: np.ndarray  # as in `Found`, with the template's share [K, D]
    is_template: bool  # the tuned prompt was no better, and the template's features were kept
    known: KnownPhotos | None  # None where too few photos tell


@dataclass(frozen=True)
class Assessed:
    """How good it is."""

    accuracy: Accuracies
    calibration: CalibrationRecord
    without_photos: WithoutPhotos | None  # None where there are no such classes
    known: KnownRecord
    # Scores of being known, by what photos they are of; none where it cannot be told.
    known_scores: dict[str, np.ndarray]


def finish(prepared: Prepared, found: Found, words: np.ndarray | None = None) -> Finished:
    """Makes the classifier of what was found: the template's share, a head, the calibration.

    `words` are the text features [M, D] of the task's other words, where they are there already.
    """
    task, splits = prepared.task, prepared.splits
    scale = task.clip.card.logit_scale
    written, bare = np.split(found.as_written, [len(found.text)])
    if task.clip.takes_contexts:
        kept = settled(found.validated_text, found.text, written, splits, scale)
    else:
        kept = Settled(written, written, is_template=True)
    validated, text, is_template = kept
    head = head_named(task.options.head)
    name, folders, names = head or DEFAULT_HEAD, task.found.folders, task.found.names
    known = known_photos(
        splits,
        written,
        word_features(task) if words is None else words,
        prepared.background.features,
        scale,
        task.options.keep_known,
    )
    fusion = fuse(name, scale, validated, text, written, splits, mix=head is not None)
    prompt = TunedPrompt(
        context=found.context,
        text_features=text,
        folders=folders[: len(text)],
        names=names[: len(text)],
        template=task.options.template,
        logit_scale=scale,
        model_sha256=task.clip.sha256,
        head=fusion.added,
        calibration=fusion.calibration,
        by_name=known_by_name(fusion.weight, scale, validated, text, written, splits)
        if head == DEFAULT_HEAD
        else None,
        known=known.known if known else None,
    )
    prompt = prompt.with_names(folders[len(text) :], names[len(text) :], bare)
    return Finished(prompt, fusion, validated, is_template, known)


def assess(prepared: Prepared, found: Found, finished: Finished) -> Assessed:
    """Accuracies and calibration.

    Accuracies on validation photos were measured before anything was learnt from these photos; the
    mix's own weight was chosen by them. Held-out photos are looked at here for the first time, when
    nothing is left to choose. Classes without photos count with the classifier alone.
    """
    val, test = prepared.splits.val, prepared.splits.test
    fusion, prompt, classes = finished.fusion, finished.prompt, len(found.text)
    logits = prompt.logits(test.features)
    is_learnt = test.labels < classes
    learnt = Split(test.features[is_learnt], test.labels[is_learnt])
    written, tuned = found.as_written[:classes], prompt.text_features[:classes]
    scores = Accuracies(
        zero_shot=Scores(accuracy(written, *val), accuracy(written, *learnt)),
        tuned=Scores(accuracy(finished.validated_text, *val), accuracy(tuned, *learnt)),
        head=HeadScores(
            name=fusion.alone.name,
            val=fusion.alone_val,
            test=share_right(fusion.alone.logits(learnt.features), learnt.labels),
        ),
        classifier=ClassifierScores(
            head=fusion.added.name if fusion.added else NO_HEAD,
            val=fusion.mixed_val,
            test=share_right(logits, test.labels),
            prompt=TEMPLATE if finished.is_template else TUNED,
        ),
    )
    calibration = prompt.calibration
    uncalibrated = softmax(calibration.temperature * logits)
    return Assessed(
        scores,
        CalibrationRecord(
            calibration.temperature,
            calibration.threshold,
            error=calibration_error(softmax(logits), test.labels),
            error_before=calibration_error(uncalibrated, test.labels),
            fitted_on=fusion.calibrated_on,
        ),
        WithoutPhotos.measured(prompt.without_photos, logits, test.labels),
        *_known(prepared, finished),
    )


def _known(prepared: Prepared, finished: Finished) -> tuple[KnownRecord, dict[str, np.ndarray]]:
    """Whether held-out photos are known, and photos of none of the classes are not."""
    score, learnt, background = finished.prompt.known, finished.known, prepared.background
    held_out = prepared.splits.test.features
    keep, many = prepared.task.options.keep_known, len(background.features)
    if score is None or learnt is None:
        return KnownRecord(keep, 0, None, many, None, len(background.foreign), None), {}
    test, foreign = score.score(held_out), score.score(background.foreign)

    def share(which: np.ndarray) -> float | None:
        return float(which.mean()) if len(which) else None

    record = KnownRecord(
        keep=keep,
        photos=len(learnt.scores),
        kept=share(test >= 0),
        background=many,
        background_refused=share(learnt.background < 0),
        foreign=len(foreign),
        foreign_refused=share(foreign < 0),
    )
    return record, {
        "held-out photos": test,
        "training photos": learnt.scores[: 0 if len(test) else None],
        "background": learnt.background,
        "none of the classes": foreign,
    }
