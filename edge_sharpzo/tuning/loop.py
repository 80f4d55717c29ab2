"""The tuning loop: asks a method for points, pays for their queries, keeps the best prompt."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.system.errors import Cancelled
from edge_sharpzo.system.stopping import Stop, StopWhen
from edge_sharpzo.tuning.budget import Budget
from edge_sharpzo.tuning.loss import accuracy, cross_entropy
from edge_sharpzo.tuning.methods.plan import Criterion
from edge_sharpzo.tuning.methods.protocol import Optimizer, Restartable
from edge_sharpzo.tuning.objective import Objective
from edge_sharpzo.tuning.records import (
    REFIT,
    START,
    Best,
    LoopState,
    Outcome,
    QueryKind,
    Record,
    StopReason,
)

VALIDATE_EVERY = 32  # queries between two looks at least; a round or a generation is about as many
REFIT_AFTER = 0.7  # of the budget or the time
MAX_BAD_BATCHES = 10  # batches in a row without one finite loss


@dataclass(frozen=True)
class Watch:
    """Callbacks of the loop. `on_record` gets each record and the text features [K, D] of it.

    `on_step` is called between steps, when a checkpoint can be taken; `stop` may end the loop
    early.
    """

    on_record: Callable[[Record, np.ndarray], object] = lambda record, text: None
    on_step: Callable[[LoopState], object] = lambda state: None
    stop: Stop = field(default_factory=StopWhen)


def run_loop(
    objective: Objective,
    optimizer: Optimizer,
    validation: Split,
    budget: Budget,
    criterion: Criterion = Criterion.VALIDATION,
    state: LoopState | None = None,
    watch: Watch = Watch(),
) -> Outcome:
    """Runs `optimizer` until it is finished, the budget is used up or the caller stops it.

    The best prompt by `criterion` wins, the unchanged one (w = 0) included; there may be no
    validation photos. Where photos are held back and the method can restart, the last part of the
    run, after `REFIT_AFTER` of it, learns from those too; see `Looks.refit`.

    To go on from a checkpoint, give its `state` and an `optimizer` restored from the same moment.

    Raises UserError when the budget or the time does not pay for the first step.
    """
    looks = Looks(objective, optimizer, validation, criterion, watch)
    state = looks.begin() if state is None else looks.resume(state)
    budget.begin(objective.queries.total(), state.seconds)
    reason = StopReason.FINISHED
    while not optimizer.finished:
        if looks.refit_is_due(budget):
            looks.refit()
        points, used = optimizer.ask(), objective.queries.total()
        if refused := budget.refuses(len(points), used):
            if optimizer.step == 0:
                raise budget.too_small(len(points), used)
            reason = refused
            break
        try:
            with objective.undone_on_error(), watch.stop.interruptible():
                losses, outputs = _evaluated(objective, optimizer, points)
        except Cancelled:  # the step counts as never begun
            reason = StopReason.INTERRUPTED
            break
        state.bad = 0 if np.isfinite(losses).any() else state.bad + 1
        if state.bad >= MAX_BAD_BATCHES:
            reason = StopReason.NOT_FINITE
            break
        step = optimizer.step
        optimizer.tell(losses, outputs)
        due = objective.queries.total() - state.looked_at >= VALIDATE_EVERY
        if optimizer.step > step and due:
            looks.look_at_solution(budget)
        state.queries, state.seconds = dict(objective.queries), budget.seconds_spent
        watch.on_step(state)
    return Outcome(state, reason)


def _evaluated(
    objective: Objective, optimizer: Optimizer, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Losses [P] of the asked points and, where the method wants them, their text features."""
    if not optimizer.wants_outputs:
        return objective.losses(points, optimizer.kind), None
    outputs = objective.text_features(points, optimizer.kind)
    return objective.loss.values(outputs), outputs


class Looks:
    """Looks at the current solution now and then, and keeps the best one."""

    state: LoopState

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        validation: Split,
        criterion: Criterion,
        watch: Watch,
    ):
        self._objective, self._optimizer = objective, optimizer
        self._validation, self._criterion, self._watch = validation, criterion, watch

    def begin(self) -> LoopState:
        """The first look, at the unchanged prompt."""
        point = np.zeros(self._objective.dim)
        text, record = self._look(point, START)
        self.state = LoopState([record], Best(point, text, record), dict(self._objective.queries))
        self._watch.on_record(record, text)
        return self.state

    def resume(self, state: LoopState) -> LoopState:
        """Goes on from a checkpoint's state."""
        self.state = state
        self._objective.restore(state.queries)
        if state.before_refit:
            self._objective.loss.add_held_back()
        return state

    def look_at_solution(self, budget: Budget) -> None:
        """Looks at the optimizer's solution, and tells it what was seen and what is left."""
        state, optimizer, loss = self.state, self._optimizer, self._objective.loss
        state.looked_at = self._objective.queries.total()
        stage = REFIT if state.before_refit else optimizer.stage
        text, record = self._look(optimizer.solution, stage)
        if state.best.beaten_by(record, self._criterion):
            record = replace(record, best=True)
            state.best = Best(optimizer.solution.copy(), text, record)
        seen = record.val_accuracy
        if seen is None:
            seen = accuracy(text, loss.features, loss.labels)
        optimizer.observe(seen or 0.0, budget.left(self._objective.queries.total()))
        self._keep(record, text)

    def refit_is_due(self, budget: Budget) -> bool:
        """Whether the last part of the run begins, which learns from held-back photos too.

        It is left out where tuning has not gained so far.
        """
        used, state = self._objective.queries.total(), self.state
        return (
            self._objective.loss.waiting > 0
            and isinstance(self._optimizer, Restartable)
            and used > REFIT_AFTER * (used + budget.left(used))
            and state.best.record.queries > state.records[0].queries
        )

    def refit(self) -> None:
        """Goes on from the best prompt with the loss over the held-back photos too.

        These are the shots that validation had borrowed. Nothing is validated any more, the lowest
        training loss wins, and `state.before_refit` keeps the best prompt until then.
        """
        state, optimizer = self.state, self._optimizer
        assert isinstance(optimizer, Restartable)
        self._objective.loss.add_held_back()
        text, record = self._look(state.best.point, REFIT)  # may fail: nothing has changed so far
        optimizer.restart(state.best.point)
        state.before_refit = state.best
        record = replace(record, best=True)
        state.best = Best(state.best.point, text, record)
        state.queries = dict(self._objective.queries)
        self._keep(record, text)

    def _keep(self, record: Record, text: np.ndarray) -> None:
        self.state.records.append(record)
        self._watch.on_record(record, text)

    def _look(self, point: np.ndarray, stage: str) -> tuple[np.ndarray, Record]:
        """Text features [K, D] of a point and the record of it; one query."""
        text = self._objective.text_features(point[None], QueryKind.VALIDATION)
        loss, refit = self._objective.loss, stage == REFIT
        features, labels = (part[:0] if refit else part for part in self._validation)
        val_loss = cross_entropy(text, features, labels, loss.scale)[0] if len(labels) else None
        record = Record(
            queries=self._objective.queries.total(),
            step=self._optimizer.step,
            stage=stage,
            loss=float(loss.values(text)[0]),
            val_accuracy=accuracy(text[0], features, labels),
            val_loss=None if val_loss is None else float(val_loss),
            best=False,
        )
        return text[0], record
