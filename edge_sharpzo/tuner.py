"""The tuning loop: asks a method for points, pays for their queries, keeps the best prompt."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edge_sharpzo.errors import UserError
from edge_sharpzo.interrupts import Interrupts
from edge_sharpzo.loss import accuracy, cross_entropy
from edge_sharpzo.methods import Optimizer, Restartable
from edge_sharpzo.objective import PromptObjective

VALIDATE_EVERY = 32  # queries between two looks at validation; no more than a round or a generation takes
REFIT_AFTER = 0.7  # of the budget or the time, where validation photos may be learnt from at last
MAX_BAD_BATCHES = 10  # batches in a row without one finite loss


@dataclass(frozen=True)
class Record:
    """One validated moment of a run; a line of `history.jsonl`. Same seed, provider and threads: same records."""

    queries: int
    step: int
    stage: str
    loss: float  # training loss at the current solution
    val_accuracy: float | None
    val_loss: float | None
    best: bool  # whether this became the best prompt so far


@dataclass
class Best:
    """The best prompt looked at so far."""

    point: np.ndarray  # w [d]
    text: np.ndarray  # its text features [K, D]
    record: Record

    def beaten_by(self, record: Record, early_stop: bool) -> bool:
        """Lower validation loss wins; without validation photos or `early_stop`, lower training loss. NaN never does."""
        ours, theirs = (r.val_loss if early_stop and r.val_loss is not None else r.loss for r in (self.record, record))
        return theirs < ours or (math.isnan(ours) and math.isfinite(theirs))


@dataclass
class Progress:
    """What the loop itself knows between two steps; together with the method's state, all that a run goes on from."""

    records: list[Record]  # the first one is about the unchanged prompt
    best: Best
    queries: dict[str, int]  # by kind, so far
    validated: Best | None = None  # the best prompt when the last part, which learns from validation photos too, began
    validated_at: int = 0  # queries when validation was last looked at
    bad: int = 0  # batches in a row without a finite loss
    seconds: float = 0.0  # spent in the loop so far


@dataclass
class Outcome:
    """What a finished loop hands back."""

    progress: Progress
    stopped_because: str  # finished, budget, time, interrupted, or not finite: no loss was, for many batches in a row


def tune(
    objective: PromptObjective,
    optimizer: Optimizer,
    validation: tuple[np.ndarray, np.ndarray],
    budget: int | None = None,
    seconds: float | None = None,
    seconds_a_query: float = 0.0,
    early_stop: bool = True,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
    on_record: Callable[[Record, np.ndarray], None] = lambda record, text: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Runs `optimizer` until it is finished or the budget (queries) or the time is used up.

    `validation` holds features [V, D] and labels [V], V may be 0. With `early_stop` the prompt that validates best wins, the
    unchanged one (w = 0) included; without, the one of the lowest training loss. `on_record` gets each record and the text
    features [K, D] it is about. Ctrl-C ends the loop early and keeps the best prompt. `seconds_a_query` is what a query
    takes as far as is known; the first step then shows it.

    Where later photos wait to join the loss, and the method can restart, the last part of the run, after `REFIT_AFTER`
    of it, goes on from the best prompt with the loss over those too, to the lowest such loss; nothing is
    validated any more, and `progress.validated` keeps what was. It is left out where tuning has not gained so far.

    To go on from a checkpoint, give its `progress` and an `optimizer` restored from the same moment. `on_step` is
    called between steps, when a checkpoint can be taken.

    Raises UserError when the budget or the time does not pay for the first step.
    """
    interrupts = interrupts or Interrupts()

    def look(point: np.ndarray, stage: str) -> tuple[np.ndarray, Record]:
        text = objective.text_features(point[None], "validation")
        features, labels = (part[:0] for part in validation) if progress and progress.validated else validation
        val_loss = float(cross_entropy(text, features, labels, objective.logit_scale)[0]) if len(labels) else None
        loss, used = float(objective.loss.values(text)[0]), objective.queries.total()
        return text[0], Record(used, optimizer.step, stage, loss, accuracy(text[0], features, labels), val_loss, best=False)

    if progress is None:
        start_point = np.zeros(objective.dim)
        text, start = look(start_point, "start")
        on_record(start, text)
        progress = Progress([start], Best(start_point, text, start), dict(objective.queries))
    else:
        objective.queries = Counter(progress.queries)
        if progress.validated:
            objective.loss.count_all()
    entered, free = time.monotonic(), objective.queries.total()
    started, reason = entered - progress.seconds, "finished"

    def pace() -> float:
        """Seconds a query, from those of this loop."""
        paid = objective.queries.total() - free
        return (time.monotonic() - entered) / paid if paid else seconds_a_query

    def left() -> float:
        """Queries, as the budget allows and as the time does at the pace so far."""
        by_time = math.inf if seconds is None else (seconds - (time.monotonic() - started)) / max(pace(), 1e-9)
        return max(0.0, min(math.inf if budget is None else budget - objective.queries.total(), by_time))

    while not optimizer.finished:
        used = objective.queries.total()
        due = objective.loss.waiting > 0 and used > REFIT_AFTER * (used + left()) and progress.best.record.queries > progress.records[0].queries
        if due and isinstance(optimizer, Restartable):
            objective.loss.count_all()
            optimizer.restart(progress.best.point)
            progress.validated = progress.best
            text, record = look(progress.best.point, "refit")
            progress.best = Best(progress.best.point, text, replace(record, best=True))
            progress.records.append(progress.best.record)
            on_record(progress.best.record, text)
        kind, points = optimizer.kind, optimizer.ask()
        if budget is not None and objective.queries.total() + len(points) + 1 > budget:
            if optimizer.step == 0:
                needed = len(points) + objective.queries.total() + 1
                raise UserError(f"--budget {budget} does not pay for the first step: it takes {needed} queries")
            reason = "budget"
            break
        if len(points) > left():
            if optimizer.step == 0:
                raise UserError(f"--minutes does not pay for the first step: it takes {len(points)} queries at {1000 * pace():.0f} ms")
            reason = "time"
            break
        try:
            with interrupts.allowed():
                outputs = objective.text_features(points, kind) if optimizer.wants_outputs else None
                losses = objective.losses(points, kind) if outputs is None else objective.loss.values(outputs)
        except KeyboardInterrupt:  # the step counts as never begun
            objective.queries, reason = Counter(progress.queries), "interrupted"
            break
        progress.bad = 0 if np.isfinite(losses).any() else progress.bad + 1
        if progress.bad >= MAX_BAD_BATCHES:
            reason = "not finite"
            break
        step = optimizer.step
        optimizer.tell(losses, outputs)
        if optimizer.step > step and objective.queries.total() - progress.validated_at >= VALIDATE_EVERY:
            progress.validated_at = objective.queries.total()
            text, record = look(optimizer.mean, "refit" if progress.validated else optimizer.stage)
            if progress.best.beaten_by(record, early_stop):
                record = replace(record, best=True)
                progress.best = Best(optimizer.mean.copy(), text, record)
            seen = record.val_accuracy if record.val_accuracy is not None else accuracy(text, objective.loss.features, objective.loss.labels)
            optimizer.observe(seen or 0.0, left())
            progress.records.append(record)
            on_record(record, text)
        progress.queries, progress.seconds = dict(objective.queries), time.monotonic() - started
        on_step(progress)
    return Outcome(progress, reason)
