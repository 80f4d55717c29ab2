"""The first step: model, photos and method opened, checked and ready."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from edge_sharpzo.classifier.heads import check_head, head_named
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import encoder_maker
from edge_sharpzo.clip.prompts import TunablePrompt
from edge_sharpzo.events import (
    Listener,
    Note,
    PhotosEncoded,
    PhotoSkipped,
)
from edge_sharpzo.photos.dataset import Dataset, Photos, load_dataset
from edge_sharpzo.photos.duplicates import duplicates
from edge_sharpzo.photos.features import encode_splits
from edge_sharpzo.photos.labelled import Splits
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.registry import plan


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
    check_head(task.options.head, splits.train, len(data.names))
    held_out = Photos([p for p in data.test.paths if p not in skipped], splits.test.labels)
    return Prepared(task, splits, held_out, len(skipped), time.monotonic() - task.started)
