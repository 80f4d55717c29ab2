"""The tuning loop against the clock."""

from collections import Counter

import numpy as np
import pytest

from edge_sharpzo import tuner
from edge_sharpzo.errors import UserError
from edge_sharpzo.loss import FewShotLoss
from edge_sharpzo.methods import Optimizer
from edge_sharpzo.methods.presets import DEFAULT
from edge_sharpzo.methods.random_search import RandomSearch
from edge_sharpzo.methods.registry import plan
from edge_sharpzo.methods.sharpzo import SharpZO
from edge_sharpzo.tuner import Outcome, tune

DIM, CLASSES, WIDTH = 12, 3, 5
QUERY = 0.05  # seconds, on a clock that queries alone move


class Objective:
    """A tower of one matrix, in place of a model's."""

    logit_scale = 10.0
    dim = DIM

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.queries: Counter[str] = Counter(zero_shot=1, noise=8)
        self.now = 1000.0
        self._tower = rng.standard_normal((DIM, CLASSES * WIDTH))
        self._start = rng.standard_normal(CLASSES * WIDTH)
        features = rng.standard_normal((30, WIDTH)).astype(np.float32)
        self.validation = features[:12], np.arange(12) % CLASSES
        self.loss = FewShotLoss(features, np.arange(30) % CLASSES, self.logit_scale)

    def text_features(self, points: np.ndarray, kind: str) -> np.ndarray:
        self.queries[kind] += len(points)
        self.now += QUERY * len(points)
        text = (self._start + points @ self._tower).reshape(len(points), CLASSES, WIDTH)
        return (text / np.linalg.norm(text, axis=2, keepdims=True)).astype(np.float32)

    def losses(self, points: np.ndarray, kind: str) -> np.ndarray:
        return self.loss.values(self.text_features(points, kind))


def run(optimizer: Optimizer, seconds: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Outcome, float]:
    """What came out, and the seconds that passed."""
    objective = Objective()
    monkeypatch.setattr(tuner.time, "monotonic", lambda: objective.now)
    outcome = tune(objective, optimizer, objective.validation, seconds=seconds, seconds_a_query=QUERY)  # type: ignore[arg-type]
    return outcome, objective.now - 1000.0


@pytest.mark.parametrize("method", ["gauss-newton", "cma-es", "zo-sgd", "cge", "random"])
def test_the_time_is_used_and_kept_to(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective()
    optimizer = plan(method, "default", "dtd", None, timed=True).make(DIM, objective.loss, 0)
    outcome, passed = run(optimizer, 60.0, monkeypatch)
    assert outcome.stopped_because == "time"
    assert 55 < passed < 60 + 2 * QUERY  # the last validation and the first look


@pytest.mark.parametrize("early_stop", [True, False])
def test_validation_chooses_the_prompt_only_where_it_may(early_stop: bool) -> None:
    objective = Objective()
    features, labels = objective.validation
    newton = plan("gauss-newton", "default", "dtd", 400, timed=False).make(DIM, objective.loss, 0)
    outcome = tune(objective, newton, (features, (labels + 1) % CLASSES), budget=400, early_stop=early_stop)  # type: ignore[arg-type]
    records, best = outcome.progress.records, outcome.progress.best.record
    losses = [record.val_loss if early_stop else record.loss for record in records]
    assert best.queries == records[int(np.argmin(losses))].queries  # type: ignore[arg-type]
    assert min(record.loss for record in records) == records[-1].loss != records[0].loss
    assert (best.loss == records[-1].loss) != early_stop


def test_sharpzo_changes_stages_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = SharpZO(DIM, DEFAULT.settings, 0)
    outcome, _ = run(optimizer, 200.0, monkeypatch)
    at = {record.stage: record.queries for record in reversed(outcome.progress.records)}  # of each stage's first record
    assert list(at) == ["search", "warm-up", "start"]
    assert 0.6 < at["search"] * QUERY / 200.0 < 0.8


def test_time_that_does_not_pay_for_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--minutes does not pay for the first step: it takes \d+ queries at 50 ms"):
        run(SharpZO(DIM, DEFAULT.settings, 0), 40 * QUERY - 0.01, monkeypatch)
    with pytest.raises(UserError, match="--minutes does not pay"):
        run(RandomSearch(DIM, 1.0, 0), -3.0, monkeypatch)
