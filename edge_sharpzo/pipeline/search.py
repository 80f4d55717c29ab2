"""The second step: the method runs, from the first look to the best prompt."""

import gc
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from edge_sharpzo.clip.encoders import TextEncoder, encoder_maker, template_features
from edge_sharpzo.events import (
    Listener,
    Note,
    QueriesSpent,
    SolutionSeen,
    TuningStarts,
)
from edge_sharpzo.pipeline.prepare import Prepared, Task
from edge_sharpzo.runs.checkpoint import Checkpoints
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import return_freed_memory
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.system.text import first_line
from edge_sharpzo.tuning.budget import Budget
from edge_sharpzo.tuning.loop import Watch, run_loop
from edge_sharpzo.tuning.loss import FewShotLoss
from edge_sharpzo.tuning.methods.protocol import Optimizer
from edge_sharpzo.tuning.noise import NOISE_QUERIES, SHORTEST_STEP, difference_step
from edge_sharpzo.tuning.objective import PromptObjective
from edge_sharpzo.tuning.records import LoopState, Outcome, QueryKind, StopReason
from edge_sharpzo.tuning.space import PromptSpace
from edge_sharpzo.tuning.start import initial_context


@dataclass(frozen=True)
class Found:
    """Prompts that a search has found, as text features [K, D], float32, L2-normalised."""

    context: np.ndarray  # context vectors of the best prompt [n_ctx, W]
    text: np.ndarray  # of the best prompt
    validated_text: np.ndarray  # of the best that has learnt nothing of the validation photos
    # Of the template, untuned, [K + M, D]: those of M classes without photos are the last.
    as_written: np.ndarray


@dataclass(frozen=True)
class Searched:
    """A finished or interrupted search."""

    found: Found
    outcome: Outcome
    queries: Counter[str]  # by kind
    seconds: float  # those of interrupted processes included
    earlier: float  # those of interrupted processes alone


def objective_of(prepared: Prepared) -> PromptObjective:
    """The few-shot loss that the search is to lower."""
    task = prepared.task
    clip, chosen = task.clip, task.plan
    splits = prepared.splits
    return PromptObjective.assembled(
        PromptSpace(
            initial_context(clip, chosen.start, task.prompt.context),
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


def word_features(task: Task) -> np.ndarray:
    """Text features [M, D] of the task's other words."""
    card = task.clip.card
    if not task.word_rows:
        return np.zeros((0, card.feature_dim), np.float32)
    gc.collect()  # the search's tower may hang in a cycle, and two do not fit everywhere
    return_freed_memory()
    features = template_features(_encoder(task, task.word_rows, 0, False), card.text.width)
    return_freed_memory()  # the tower's: the heads' covariances come next
    return features


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
    state = None
    if checkpoints and resume:
        shape = (task.found.learnt, as_written.shape[1])
        state = _restored(checkpoints, optimizer, objective.dim, shape, listen)
    done = sum(state.queries.values()) if state else 0
    listen(TuningStarts(chosen.planned, done, seconds, seconds_per_query))

    earlier = state.seconds if state else 0.0  # in processes before this one
    seen = [state] if state else []  # as it was after each step

    def after_step(now: LoopState) -> None:
        seen[:] = [now]
        listen(QueriesSpent(sum(now.queries.values()), optimizer.stage))
        if checkpoints:
            checkpoints.offer(now, optimizer.state)

    with stop, _kept(checkpoints, seen, objective, optimizer):
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
    return Searched(found, outcome, objective.queries, seconds_spent, earlier)


@contextmanager
def _kept(
    checkpoints: Checkpoints | None,
    seen: list[LoopState],
    objective: PromptObjective,
    optimizer: Optimizer,
) -> Iterator[None]:
    """Writes a checkpoint where an engine that is elsewhere fails between two steps.

    `seen` ends with the state after the last one. Where it fails in the middle of a step, which has
    then counted queries, the checkpoint of before is exact, and stays.
    """
    try:
        yield
    except UserError as error:
        goes_on = error.field not in ("budget", "minutes")  # too small, as they stay
        if goes_on and checkpoints and seen and seen[-1].queries == dict(objective.queries):
            checkpoints.write(seen[-1], optimizer.state())
        raise


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


def _restored(
    checkpoints: Checkpoints,
    optimizer: Optimizer,
    dim: int,
    shape: tuple[int, ...],
    listen: Listener,
) -> LoopState | None:
    """The loop's state in the last checkpoint, and `optimizer` as it was then.

    `dim` of points and the `shape` of their text features are those of this run.
    """
    stored = checkpoints.read()
    if stored is None:
        listen(Note("there is no checkpoint yet: starting over"))
        return None
    state, method = stored
    try:
        for prompt in (state.best, state.before_refit):
            if prompt and (prompt.point.shape, prompt.text.shape) != ((dim,), shape):
                raise ValueError("a prompt of another size")
        optimizer.restore(method)
    except Exception as error:  # a method meets arrays of any kind here
        raise UserError(
            f"{checkpoints.path} is damaged, or of another version ({first_line(error, 200)}): "
            "tune again"
        ) from error
    listen(Note(f"going on after {sum(state.queries.values()):,} queries"))
    return state
