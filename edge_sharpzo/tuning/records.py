"""What a run remembers of itself: its looks, its best prompt, why it ended."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edge_sharpzo.tuning.methods.plan import Criterion


class StopReason(StrEnum):
    """Why a run ended."""

    FINISHED = "finished"  # the method has run all its steps
    BUDGET = "budget"
    TIME = "time"
    INTERRUPTED = "interrupted"
    NOT_FINITE = "not finite"  # no loss was, for many batches in a row


class QueryKind(StrEnum):
    """What queries are for that no method asks for; a method's kinds are its own."""

    ZERO_SHOT = "zero_shot"  # the template as written
    NOISE = "noise"  # of the text tower, before the search
    VALIDATION = "validation"  # looks at the current solution


START, REFIT = "start", "refit"  # stages of the loop itself; the others are the method's


@dataclass(frozen=True)
class Record:
    """One look at a run's current solution; a line of `history.jsonl`.

    The same seed, provider and number of threads give the same records.
    """

    queries: int
    step: int
    stage: str  # `START`, `REFIT` or one of the method's
    loss: float  # training loss at the current solution
    val_accuracy: float | None
    val_loss: float | None
    best: bool  # whether this became the best prompt so far


@dataclass
class Best:
    """The best prompt looked at so far."""

    point: np.ndarray  # w [dim]
    text: np.ndarray  # its text features [K, D]
    record: Record

    def beaten_by(self, record: Record, criterion: Criterion) -> bool:
        """The lower loss wins; NaN never does. Without validation photos it is the training's."""

        def judged(r: Record) -> float:
            if criterion is Criterion.VALIDATION and r.val_loss is not None:
                return r.val_loss
            return r.loss

        ours, theirs = judged(self.record), judged(record)
        return theirs < ours or (math.isnan(ours) and math.isfinite(theirs))


@dataclass
class LoopState:
    """What the loop itself knows between two steps.

    Together with the method's own state it is all that a run goes on from.
    """

    records: list[Record]  # the first one is about the unchanged prompt
    best: Best
    queries: dict[str, int]  # by kind, so far
    before_refit: Best | None = None  # the best prompt when the refit began; None: it has not
    looked_at: int = 0  # queries at the last look at the solution
    bad: int = 0  # batches in a row without a finite loss
    seconds: float = 0.0  # spent in the loop so far


@dataclass
class Outcome:
    """What a finished loop hands back."""

    state: LoopState
    stopped_because: StopReason

    @property
    def best(self) -> Best:
        """The prompt to use."""
        return self.state.best

    @property
    def validated(self) -> Best:
        """The best prompt that has learnt nothing of the validation photos."""
        return self.state.before_refit or self.state.best
