"""The four steps of a tuning run: prepare, search, finish, assess.

Each passes a dataclass on to the next. None needs a terminal, a signal or a run folder; `run.py`
puts them together.
"""

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_sharpzo.classifier.calibration import calibration_error
from edge_sharpzo.classifier.fusion import Fusion, fuse, settled
from edge_sharpzo.classifier.heads import DEFAULT_HEAD, NO_HEAD, head_named
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import TextEncoder, encoder_maker
from edge_sharpzo.clip.prompts import TunablePrompt
from edge_sharpzo.events import (
    Listener,
    Note,
    PhotosEncoded,
    PhotoSkipped,
    QueriesSpent,
    SolutionSeen,
    TuningStarts,
)
from edge_sharpzo.photos.dataset import Dataset, Photos, load_dataset
from edge_sharpzo.photos.duplicates import duplicates
from edge_sharpzo.photos.features import encode_splits
from edge_sharpzo.photos.labelled import Splits
from edge_sharpzo.runs.checkpoint import Checkpoints
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.records import (
    Accuracies,
    CalibrationRecord,
    ClassifierScores,
    HeadScores,
    Scores,
)
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit, return_freed_memory
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.tuning.budget import Budget
from edge_sharpzo.tuning.loop import Watch, run_loop
from edge_sharpzo.tuning.loss import FewShotLoss, accuracy, share_right, softmax
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.protocol import Optimizer
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.noise import NOISE_QUERIES, SHORTEST_STEP, difference_step
from edge_sharpzo.tuning.objective import PromptObjective
from edge_sharpzo.tuning.records import LoopState, Outcome, QueryKind, StopReason
from edge_sharpzo.tuning.space import PromptSpace


@dataclass(frozen=True)
class Task:
    """A model, photos and a method, opened and checked; no photo is encoded yet."""

    options: TuneOptions
    plan: Plan
    clip: ClipOnnx
    dataset: Dataset
    prompt: TunablePrompt
    template_rows: list[list[int]]  # token ids of each class's prompt as written
    started: float  # on the monotonic clock, s
    unreadable: frozenset[Path] = frozenset()  # photos whose files cannot be opened


@dataclass(frozen=True)
class Prepared:
    """A task whose photos are encoded."""

    task: Task
    splits: Splits
    held_out: Photos  # those of `splits.test`
    skipped: int  # photos that cannot be read
    seconds: float  # from the start until the photos were done


@dataclass(frozen=True)
class Found:
    """Prompts that a search has found, as text features [K, D], float32, L2-normalised."""

    context: np.ndarray  # context vectors of the best prompt [n_ctx, W]
    text: np.ndarray  # of the best prompt
    validated_text: np.ndarray  # of the best that has learnt nothing of the validation photos
    as_written: np.ndarray  # of the template, untuned


@dataclass(frozen=True)
class Searched:
    """A finished or interrupted search."""

    found: Found
    outcome: Outcome
    queries: Counter[str]  # by kind
    seconds: float  # those of interrupted processes included


@dataclass(frozen=True)
class Finished:
    """The classifier, and what it was made of."""

    prompt: TunedPrompt
    fusion: Fusion
    validated_text: np.ndarray  # as in `Found`, with the template's share [K, D]


@dataclass(frozen=True)
class Assessed:
    """How good it is."""

    accuracy: Accuracies
    calibration: CalibrationRecord


def open_task(options: TuneOptions) -> Task:
    """Opens the model, looks for photos and makes the method ready.

    Raises UserError for whatever is wrong with any of them, a name too long included, before the
    long work begins.
    """
    started = time.monotonic()
    request = Request(
        options.budget, options.minutes is not None, options.preset, options.paper_task
    )
    chosen = plan(options.method, request)
    head_named(options.head)
    encoder_maker(options.engine)
    memory = MemoryLimit(options.max_memory)
    clip = ClipOnnx(options.onnx, options.threads, options.provider, memory)
    dataset = load_dataset(options.data, options.shots, options.seed, options.class_names)
    tokens = options.context_tokens or chosen.context_tokens
    prompt = clip.prompts.for_tuning(dataset.names, options.template, tokens)
    rows = clip.prompts.as_written(dataset.names, options.template)
    clip.close_tokenizer()
    _check_classes(dataset, prompt)
    return Task(options, chosen, clip, dataset, prompt, rows, started)


def _check_classes(dataset: Dataset, prompt: TunablePrompt) -> None:
    """Raises UserError for two classes whose names are the same tokens to the model."""
    first: dict[tuple[int, ...], int] = {}
    for label, tokens in enumerate(map(tuple, prompt.classes)):
        other = first.setdefault(tokens, label)
        if other != label:
            names = [f"'{dataset.folders[i]}' ('{dataset.names[i]}')" for i in (other, label)]
            raise UserError(
                f"the classes {names[0]} and {names[1]} read the same to the model, which takes "
                "no notice of case, spaces or forms of letters: merge the folders, or give them "
                "names apart with `class_names`",
                field="class_names",
            )


def read_photos(task: Task, listen: Listener) -> Task:
    """The task with its photos known by content. What cannot be opened is told."""
    unreadable: set[Path] = set()

    def skip(path: Path, reason: str) -> None:
        unreadable.add(path)
        listen(PhotoSkipped(path, reason))

    dataset = task.dataset.with_digests(skip)
    for text in duplicates((dataset.train, dataset.val, dataset.test)):
        listen(Note(text, warning=True))
    return replace(task, dataset=dataset, unreadable=frozenset(unreadable))


def prepare(task: Task, listen: Listener, stop: Stop) -> Prepared:
    """Encodes the photos, or reads their features from the cache.

    Raises UserError where no training photo of a class can be read.
    """
    skipped = set(task.unreadable)

    def skip(path: Path, reason: str) -> None:
        skipped.add(path)
        listen(PhotoSkipped(path, reason))

    def encoded(done: int, total: int) -> None:
        listen(PhotosEncoded(done, total))
        with stop.interruptible():  # raises Cancelled if the caller wishes to stop
            pass

    data = task.dataset
    splits = encode_splits(task.clip, data, encoded, skip)
    if missing := set(range(len(data.names))) - set(splits.train.labels.tolist()):
        raise UserError(
            f"no training photo of '{data.folders[missing.pop()]}' can be read: replace its photos",
            field="data",
        )
    held_out = Photos([p for p in data.test.paths if p not in skipped], splits.test.labels)
    return Prepared(task, splits, held_out, len(skipped), time.monotonic() - task.started)


def objective_of(prepared: Prepared) -> PromptObjective:
    """The few-shot loss that the search is to lower."""
    task = prepared.task
    clip, chosen = task.clip, task.plan
    splits = prepared.splits
    return PromptObjective.assembled(
        PromptSpace(
            clip.token_embeddings(task.prompt.context),
            clip.card.text.embedding_std,
            chosen.dim,
            chosen.projection_std,
            task.options.seed,
        ),
        _encoder(task, task.prompt.classes, len(task.prompt.context), chosen.integer),
        FewShotLoss(*splits.train, clip.card.logit_scale, splits.borrowed),
    )


def template_encoder(task: Task) -> TextEncoder:
    """Encodes the template as written, without context vectors."""
    return _encoder(task, task.template_rows, 0, False)


def _encoder(task: Task, classes: list[list[int]], n_ctx: int, integer: bool) -> TextEncoder:
    return encoder_maker(task.options.engine)(task.clip, classes, n_ctx, integer)


def search(
    prepared: Prepared,
    listen: Listener,
    stop: Stop,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
) -> Searched:
    """Runs the method until it, the budget, the time or the caller ends it.

    Writes `checkpoints` on the way, and once more when it is interrupted; goes on from the last of
    them to `resume`. Raises UserError.
    """
    task, began = prepared.task, time.monotonic()
    options, chosen = task.options, task.plan
    objective = objective_of(prepared)
    as_written = objective.zero_shot(template_encoder(task))
    difference, seconds_per_query = _measured_noise(prepared, objective, listen)
    seconds = None
    if options.minutes is not None:  # the time for tuning begins when the photos are done
        seconds = 60 * options.minutes + task.started + prepared.seconds - time.monotonic()
    optimizer = chosen.make(objective.dim, objective.loss, options.seed, difference)
    return_freed_memory()
    state = _restored(checkpoints, optimizer, listen) if checkpoints and resume else None
    done = sum(state.queries.values()) if state else 0
    listen(TuningStarts(chosen.planned, done, seconds, seconds_per_query))

    earlier = state.seconds if state else 0.0  # in processes before this one

    def after_step(now: LoopState) -> None:
        listen(QueriesSpent(sum(now.queries.values()), optimizer.stage))
        if checkpoints:
            checkpoints.offer(now, optimizer.state)

    with stop:
        outcome = run_loop(
            objective,
            optimizer,
            prepared.splits.val,
            Budget(chosen.budget, seconds, seconds_per_query),
            chosen.criterion,
            state,
            Watch(lambda record, _: listen(SolutionSeen(record)), after_step, stop),
        )
    if checkpoints and outcome.stopped_because is StopReason.INTERRUPTED:
        checkpoints.write(outcome.state, optimizer.state())
    best, validated = outcome.best, outcome.validated
    found = Found(objective.contexts(best.point[None])[0], best.text, validated.text, as_written)
    seconds_spent = earlier + time.monotonic() - began
    return Searched(found, outcome, objective.queries, seconds_spent)


def _measured_noise(
    prepared: Prepared, objective: PromptObjective, listen: Listener
) -> tuple[float, float]:
    """The step that finite differences need beyond the methods' own, 0 for none; s per query."""
    chosen, clock = prepared.task.plan, time.monotonic()
    found = difference_step(
        lambda points: objective.text_features(points, QueryKind.NOISE),
        objective.dim,
        SHORTEST_STEP,
        prepared.task.options.seed,
    )
    seconds_per_query = (time.monotonic() - clock) / NOISE_QUERIES
    longer = found.step > SHORTEST_STEP and not chosen.integer
    steps = f"; finite differences take steps of {found.step:.2g}" if longer else ""
    listen(Note(f"noise of the text tower: {found.noise:.0e}{steps}"))
    if not (found.fit or chosen.integer):
        listen(
            Note(
                f"{100 * found.error:.0f} % of a finite difference would be noise here: take "
                "`method=cma-es`, or a provider that is exact",
                warning=True,
            )
        )
    return found.step if found.step > SHORTEST_STEP else 0.0, seconds_per_query


def _restored(checkpoints: Checkpoints, optimizer: Optimizer, listen: Listener) -> LoopState | None:
    """The loop's state in the last checkpoint, and `optimizer` as it was then."""
    stored = checkpoints.read()
    if stored is None:
        return None
    state, method = stored
    try:
        optimizer.restore(method)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{checkpoints.path} is of another version ({error}): tune again"
        ) from error
    listen(Note(f"going on after {sum(state.queries.values()):,} queries"))
    return state


def finish(prepared: Prepared, found: Found) -> Finished:
    """Makes the classifier of what was found: the template's share, a head, the calibration."""
    task, splits = prepared.task, prepared.splits
    scale = task.clip.card.logit_scale
    validated, text = settled(found.validated_text, found.text, found.as_written, splits, scale)
    head = head_named(task.options.head)
    fusion = fuse(head or DEFAULT_HEAD, scale, validated, text, splits, mix=head is not None)
    prompt = TunedPrompt(
        context=found.context,
        text_features=text,
        folders=task.dataset.folders,
        names=task.dataset.names,
        template=task.options.template,
        logit_scale=scale,
        model_sha256=task.clip.sha256,
        head=fusion.added,
        calibration=fusion.calibration,
    )
    return Finished(prompt, fusion, validated)


def assess(prepared: Prepared, found: Found, finished: Finished) -> Assessed:
    """Accuracies and calibration.

    Accuracies on validation photos were measured before anything was learnt from these photos; the
    mix's own weight was chosen by them. Held-out photos are looked at here for the first time, when
    nothing is left to choose.
    """
    val, test = prepared.splits.val, prepared.splits.test
    fusion, prompt = finished.fusion, finished.prompt
    logits = prompt.logits(test.features)
    scores = Accuracies(
        zero_shot=Scores(accuracy(found.as_written, *val), accuracy(found.as_written, *test)),
        tuned=Scores(
            accuracy(finished.validated_text, *val), accuracy(prompt.text_features, *test)
        ),
        head=HeadScores(
            name=fusion.alone.name,
            val=fusion.alone_val,
            test=share_right(fusion.alone.logits(test.features), test.labels),
        ),
        classifier=ClassifierScores(
            head=fusion.added.name if fusion.added else NO_HEAD,
            val=fusion.mixed_val,
            test=share_right(logits, test.labels),
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
        ),
    )
