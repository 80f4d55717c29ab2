"""The tuning loop against the clock."""

import numpy as np
import pytest

from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.tuning.budget import Budget
from edge_sharpzo.tuning.loop import run_loop
from edge_sharpzo.tuning.loss import FewShotLoss
from edge_sharpzo.tuning.methods.plan import Criterion, Request
from edge_sharpzo.tuning.methods.presets import DEFAULT
from edge_sharpzo.tuning.methods.protocol import Optimizer
from edge_sharpzo.tuning.methods.random_search import RandomSearch
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.methods.sharpzo import SharpZO
from edge_sharpzo.tuning.objective import PromptObjective
from edge_sharpzo.tuning.records import Outcome
from edge_sharpzo.tuning.space import PromptSpace

DIM, CLASSES, WIDTH = 12, 3, 5
QUERY = 0.05  # seconds, on a clock that queries alone move
FEATURES = np.random.default_rng(1).standard_normal((30, WIDTH)).astype(np.float32)
VALIDATION = Split(FEATURES[:12], np.arange(12) % CLASSES)


class Encoder:
    """A tower of one matrix, in place of a model's; it moves a clock."""

    classes = CLASSES

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.now = 1000.0
        self._tower = rng.standard_normal((DIM, CLASSES * WIDTH))
        self._start = rng.standard_normal(CLASSES * WIDTH)

    def __call__(self, contexts: np.ndarray) -> np.ndarray:
        self.now += QUERY * len(contexts)
        text = self._start + contexts.reshape(len(contexts), DIM) @ self._tower
        text = text.reshape(len(contexts), CLASSES, WIDTH)
        return (text / np.linalg.norm(text, axis=2, keepdims=True)).astype(np.float32)


def objective_of(encoder: Encoder) -> PromptObjective:
    space = PromptSpace(np.zeros((1, DIM), np.float32), embedding_std=1.0, dim=None)
    loss = FewShotLoss(FEATURES, np.arange(30) % CLASSES, 10.0)
    return PromptObjective.assembled(space, encoder, loss)


def run(optimizer: Optimizer, seconds: float) -> tuple[Outcome, float]:
    """What came out, and the seconds that passed."""
    encoder = Encoder()
    budget = Budget(seconds=seconds, seconds_per_query=QUERY, clock=lambda: encoder.now)
    outcome = run_loop(objective_of(encoder), optimizer, VALIDATION, budget)
    return outcome, encoder.now - 1000.0


@pytest.mark.parametrize("method", ["gauss-newton", "cma-es", "zo-sgd", "cge", "random"])
def test_the_time_is_used_and_kept_to(method: str) -> None:
    loss = objective_of(Encoder()).loss
    outcome, passed = run(plan(method, Request(timed=True)).make(DIM, loss, 0), 60.0)
    assert outcome.stopped_because == "time"
    assert 55 < passed < 60 + 2 * QUERY  # the last validation and the first look


@pytest.mark.parametrize("criterion", Criterion)
def test_validation_chooses_the_prompt_only_where_it_may(criterion: Criterion) -> None:
    objective = objective_of(Encoder())
    newton = plan("gauss-newton", Request(budget=400)).make(DIM, objective.loss, 0)
    misleading = Split(VALIDATION.features, (VALIDATION.labels + 1) % CLASSES)
    outcome = run_loop(objective, newton, misleading, Budget(400), criterion)
    records, best = outcome.state.records, outcome.best.record
    validated = criterion is Criterion.VALIDATION
    losses = np.array([r.val_loss if validated else r.loss for r in records], float)
    assert best.queries == records[int(np.argmin(losses))].queries
    assert min(record.loss for record in records) == records[-1].loss != records[0].loss
    assert (best.loss == records[-1].loss) != validated


def test_sharpzo_changes_stages_by_the_clock() -> None:
    outcome, _ = run(SharpZO(DIM, DEFAULT.settings, 0), 200.0)
    # Of each stage's first record.
    at = {record.stage: record.queries for record in reversed(outcome.state.records)}
    assert list(at) == ["search", "warm-up", "start"]
    assert 0.6 < at["search"] * QUERY / 200.0 < 0.8


def test_time_that_does_not_pay_for_the_first_step() -> None:
    words = r"`minutes` does not pay for the first step: that alone takes \d+ queries at 50 ms"
    with pytest.raises(UserError, match=words) as raised:
        run(SharpZO(DIM, DEFAULT.settings, 0), 40 * QUERY - 0.01)
    assert raised.value.field == "minutes"
    with pytest.raises(UserError, match="`minutes` does not pay"):
        run(RandomSearch(DIM, 1.0, 0), -3.0)
