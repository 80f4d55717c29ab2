"""The first step: model, photos and method opened, checked and ready."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_sharpzo.classifier.heads import DEFAULT_HEAD, check_head, head_named
from edge_sharpzo.clip.encoders import encoder_maker
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.prompts import TunablePrompt, same_rows
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.opening import open_clip
from edge_sharpzo.events import Listener, Note
from edge_sharpzo.photos.background import check_enough
from edge_sharpzo.photos.draw import draw_shots
from edge_sharpzo.photos.features import Kept
from edge_sharpzo.photos.found import BACKGROUND, FOREIGN, POOL, Found, Photos, find_photos
from edge_sharpzo.photos.labelled import Split, Splits
from edge_sharpzo.photos.left_out import LeftOut, grouped, told
from edge_sharpzo.pipeline.usable import sift
from edge_sharpzo.runs.folder import RUNS
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.photo_check import NearDuplicates
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.tuning.methods.no_method import NO_SEARCH
from edge_sharpzo.tuning.methods.plan import Plan, Preset, Request
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.start import Start, learned_tokens, prompt_from

WORDS = 500  # as many cost as much as 25 queries of ten classes, and more do no better


@dataclass(frozen=True)
class Task:
    """A model, photos and a method, opened and checked; no photo is read yet."""

    options: TuneOptions  # with the start that is taken
    plan: Plan
    clip: Clip
    found: Found
    prompt: TunablePrompt
    # Token ids of each class's prompt as written, those of classes without photos at the end.
    template_rows: list[list[int]]
    started: float  # on the monotonic clock, s
    start_told: str = ""  # where the search starts
    # Token ids of words that have nothing to do with the classes, for "none of these".
    word_rows: list[list[int]] = field(default_factory=list)

    def in_integers(self) -> list[str]:
        """Towers that take products in integers in this run. Raises UserError."""
        towers = (Tower.IMAGE, Tower.TEXT) if self.plan.integer else (Tower.IMAGE,)
        return [tower.value for tower in towers if self.clip.in_integers(tower)]


@dataclass(frozen=True)
class Background:
    """Photos of none of the classes."""

    features: np.ndarray  # of those that are learnt from [B, D], float32
    photos: Photos
    sketches: np.ndarray  # [B, S], uint8
    foreign: np.ndarray  # features of those that nothing is learnt of [F, D], float32


@dataclass(frozen=True)
class Prepared:
    """A task whose photos are encoded and drawn."""

    task: Task
    splits: Splits
    tuned_on: Photos  # those of `splits.train`, then those of `splits.val`
    sketches: np.ndarray  # of those tuned on [N, S], uint8, see `clip.sketch`
    held_out: Photos  # those of `splits.test`
    background: Background
    photos_sha256: str  # of all photos and classes, see `photos.features`
    left_out: list[LeftOut]  # what lies among the photos and is not used
    near_duplicates: NearDuplicates  # among the photos above
    alike: list[list[Path]]  # groups of photos that are nearly the same, whatever they are used for
    seconds: float  # from the start until the photos were done


def open_model(options: TuneOptions, listen: Listener) -> Clip:
    """The model of these options, here or elsewhere; `listen` hears what happens to it there.

    Raises UserError.
    """
    return open_clip(
        options.onnx,
        options.engine,
        options.send_photos,
        threads=options.threads,
        provider=options.provider,
        memory=MemoryLimit(options.max_memory),
        tell=lambda text, warning: listen(Note(text, warning)),
    )


def open_task(
    options: TuneOptions,
    listen: Listener,
    bare: Mapping[str, str] | None = None,
    clip: Clip | None = None,
) -> Task:
    """Opens the model, looks for photos and makes the method ready.

    `listen` hears what happens to an engine that is elsewhere, as long as the task lasts. A run
    that goes on has the classes without photos `bare`, folder -> name, and no others. `clip` is the
    model of these options where it is open already.

    Raises UserError for whatever is wrong with any of them, a name too long included, before the
    long work begins.
    """
    started = time.monotonic()
    request = Request(
        options.budget, options.minutes is not None, options.preset, options.paper_task
    )
    chosen = plan(options.method, request)
    head = head_named(options.head)
    encoder_maker(options.engine)
    clip = clip or open_model(options, listen)
    if clip.takes_contexts:
        start, told = _start(options, chosen, clip)
        tokens = options.context_tokens or chosen.context_tokens
        if start is Start.LEARNED:
            chosen = plan(options.method, replace(request, start=start))
            tokens = learned_tokens(clip, options.context_tokens)
        options = replace(options, start=start)
    else:
        chosen, tokens, told = NO_SEARCH, None, _no_search_told(options, clip)
    runs = [options.out] if options.out else [RUNS, options.data / RUNS]
    found = find_photos(
        options.data,
        options.class_names,
        options.more_classes,
        runs,
        bare,
        options.background,
    )
    if found.without_photos and head != DEFAULT_HEAD:
        name = found.folders[-1]
        raise UserError(
            f"`head={options.head}` cannot answer for '{name}', a class without photos: take "
            f"`head={DEFAULT_HEAD}`, give it photos, or {_away(found, name)}",
            field="head",
        )
    prompt = prompt_from(clip, chosen.start, found.names[: found.learnt], options.template, tokens)
    rows = clip.prompts.as_written(found.names, options.template)
    words = clip.prompts.as_written(clip.prompts.words(WORDS, found.names), "{}")
    clip.close_tokenizer()
    check_classes(found, rows)
    return Task(options, chosen, clip, found, prompt, rows, started, told, words)


def _no_search_told(options: TuneOptions, clip: Clip) -> str:
    """That no prompt is tuned, and which options make no difference then."""
    head = "" if head_named(options.head) is None else " with a closed-form head"
    told = (
        f"{clip.short_name} takes strings, so no prompt can be tuned: the classifier is the "
        f"template{head}"
    )
    of_search = ("method", "budget", "minutes", "start", "context_tokens")
    given = [name for name in of_search if getattr(options, name) is not None]
    given += ["preset"] if options.preset is not Preset.DEFAULT else []
    if not given:
        return told
    names = ", ".join(f"`{name}`" for name in given)
    return f"{told}; {names} {'makes' if len(given) == 1 else 'make'} no difference"


def _start(options: TuneOptions, chosen: Plan, clip: Clip) -> tuple[Start, str]:
    """Where the search starts, as asked or else as the method prefers; and what to tell of it."""
    words = "the search starts from the template's words"
    learned = "the search starts from the context that the model's export has learned"
    if options.start == Start.LEARNED:
        return Start.LEARNED, learned
    if options.start == Start.WORDS or chosen.prefers is Start.WORDS:
        return Start.WORDS, words
    if clip.search_start is None:
        return Start.WORDS, f"{words}: {clip.short_name} holds no learned start"
    has, wanted = len(clip.search_start), options.context_tokens or chosen.context_tokens
    if has != wanted:
        return Start.WORDS, f"{words}: the learned start has {has} context vectors, not {wanted}"
    return Start.LEARNED, learned


def check_classes(found: Found, rows: Iterable[Iterable[float]]) -> None:
    """Raises UserError for two classes whose prompts are the same to the model.

    `rows` are their token ids, or text features.
    """
    if same := same_rows(rows):
        names = [f"'{found.folders[i]}' ('{found.names[i]}')" for i in same]
        last = found.folders[same[1]]
        cure = _away(found, last) if last in found.bare else "merge the folders"
        raise UserError(
            f"the classes {names[0]} and {names[1]} read the same to the model, which takes "
            f"no notice of case, spaces or forms of letters: {cure}, or give them names apart "
            "with `class_names`",
            field="class_names",
        )


def _away(found: Found, name: str) -> str:
    """How to do without a class that has no photos."""
    place = found.bare[name]
    return f"take '{name}' out of {place}" if place.is_file() else f"delete the folder {place}"


def check_left(found: Found, usable: np.ndarray, left_out: list[LeftOut]) -> None:
    """Raises UserError for a class without a photo to learn from, and says why."""
    for label, name in enumerate(found.folders[: found.learnt]):
        mine = (found.parts == POOL) & (found.photos.labels == label)
        if not (mine & usable).any():
            why = told(grouped(found.photos.among(mine, left_out)))
            raise UserError(
                f"no photo of '{name}' can be used ({why}): give it other photos, or move its "
                "folder away",
                field="data",
            )


def prepare(task: Task, listen: Listener, stop: Stop, kept: Kept | None = None) -> Prepared:
    """Reads and encodes the photos, or takes their features from the cache, and draws the shots.

    Photos that cannot be read, and copies, are gone before the draw. `kept` is what a process has
    that prepares again and again. Raises UserError where no photo of a class is left.
    """
    options, found = task.options, task.found
    looked, usable, groups, left_out = sift(
        task.clip, found, options.drop_duplicates, listen, stop, kept
    )
    photos, seen = looked.photos, looked.encoded
    check_left(found, usable, left_out)
    of_background, foreign = (
        np.flatnonzero(usable & (found.parts == p)) for p in (BACKGROUND, FOREIGN)
    )
    too_few: list[str] = []
    if (behind := found.parts == BACKGROUND).any():
        why = told(grouped(photos.among(behind, left_out)))
        too_few = check_enough(len(of_background), why, options.background is not None)
        of_background = of_background[: 0 if too_few else None]
    drawn = draw_shots(found, usable, options.shots, options.seed)
    for note in (*looked.notes, *too_few, *drawn.notes):
        listen(Note(note, warning=True))

    def split(places: np.ndarray) -> Split:
        return Split(seen.features[places], photos.labels[places])

    train, val, test = (split(places) for places in (drawn.train, drawn.val, drawn.test))
    check_head(options.head, train, found.learnt)
    tuned_on = np.concatenate([drawn.train, drawn.val])
    return Prepared(
        task,
        Splits(train, val, test, split(drawn.val[drawn.borrowed])),
        photos.at(tuned_on),
        seen.sketches[tuned_on],
        photos.at(drawn.test),
        Background(
            seen.features[of_background],
            photos.at(of_background),
            seen.sketches[of_background],
            seen.features[foreign],
        ),
        looked.sha256,
        left_out,
        NearDuplicates.among(photos, groups, drawn.uses(len(photos))),
        [[photos.paths[i] for i in group] for group in groups],
        time.monotonic() - task.started,
    )
