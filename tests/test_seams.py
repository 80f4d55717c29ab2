"""A method, a head and a text encoder of one's own: each is one registration, and nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import edge_sharpzo
from edge_sharpzo.classifier.heads import HEADS, LinearHead
from edge_sharpzo.clip import ENCODERS, ClipOnnx
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.tuning.loss import ConvexLoss
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.registry import METHODS
from edge_sharpzo.tuning.methods.state import Replayed


class FakeEncoder:
    """Text features that are a fixed random map of the context: no model, no session."""

    def __init__(self, clip: ClipOnnx, classes: Sequence[Sequence[int]], n_ctx: int, _: bool):
        rng = np.random.default_rng(n_ctx)
        self.classes, self._shape = len(classes), (len(classes), clip.card.feature_dim)
        self._bias = rng.standard_normal(self._shape)
        self._map = rng.standard_normal((clip.card.text.width, *self._shape))

    def __call__(self, contexts: np.ndarray) -> np.ndarray:
        text = self._bias + np.tensordot(contexts.sum(axis=1), self._map, 1)
        return (text / np.linalg.norm(text, axis=2, keepdims=True)).astype(np.float32)


class Halves(Replayed):
    """A toy: it steps to a random point where that is better, by ever smaller steps."""

    kind, stage, finished = "toy", "toy", False

    def __init__(self, dim: int, seed: int) -> None:
        super().__init__()
        self.step, self.solution, self._loss = 0, np.zeros(dim), np.inf
        self._rng = np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        drawn = self._rng.standard_normal((8, len(self.solution)))
        self._points = self.solution + drawn * 8 / (1 + self.step)
        return self._points

    def _update(self, losses: np.ndarray) -> None:
        best = int(np.nanargmin(losses))
        if losses[best] < self._loss:
            self._loss, self.solution = float(losses[best]), self._points[best]
        self.step += 1


def toy_plan(request: Request) -> Plan:
    def make(dim: int, _: ConvexLoss, seed: int, __: float = 0.0) -> Halves:
        return Halves(dim, seed)

    return Plan(make, {"points": 8}, request.spend(), request.spend(), dim=64)


def toy_head(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> LinearHead:
    sums = np.stack([features[labels == k].sum(axis=0) for k in range(len(text))])
    return LinearHead("sums", sums.astype(np.float32), np.zeros(len(text), np.float32))


def test_a_fake_encoder_runs_a_whole_tune(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "fake", FakeEncoder)
    opened: list[str] = []
    session = ClipOnnx.session

    def counted(self: ClipOnnx, tower: object, integer: bool = False) -> object:
        opened.append(str(tower))
        return session(self, tower, integer)  # type: ignore[arg-type]

    monkeypatch.setattr(ClipOnnx, "session", counted)
    run = edge_sharpzo.tune(
        photos, onnx=tiny_onnx, out=tmp_path / "run", shots=6, budget=300, engine="fake"
    )
    assert "text" not in opened
    assert run.summary.loss.end is not None
    assert run.summary.loss.start is not None
    assert run.summary.loss.end < run.summary.loss.start
    assert run.summary.queries.total <= 300
    options = json.loads((run.folder / "config.json").read_text())["options"]
    assert options["engine"] == "fake"
    assert len(edge_sharpzo.Classifier.load(run.folder).labels) == 3


def test_a_method_and_a_head_are_added_by_one_registration_each(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "halves", toy_plan)
    monkeypatch.setitem(HEADS, "sums", toy_head)
    run = edge_sharpzo.tune(
        photos,
        onnx=tiny_onnx,
        out=tmp_path / "run",
        shots=6,
        budget=300,
        method="halves",
        head="sums",
    )
    summary = run.summary
    assert (summary.method, summary.accuracy.head.name) == ("halves", "sums")
    assert summary.queries.by_kind["toy"] > 200
    config = json.loads((run.folder / "config.json").read_text())
    assert config["preset"]["settings"] == {"points": 8}


class NoNumbers(FakeEncoder):
    def __call__(self, contexts: np.ndarray) -> np.ndarray:
        return super().__call__(contexts) * np.float32("nan")


class Transposed(FakeEncoder):
    def __call__(self, contexts: np.ndarray) -> np.ndarray:
        return super().__call__(contexts).swapaxes(1, 2)


def flat_head(_: np.ndarray, __: np.ndarray, text: np.ndarray) -> LinearHead:
    return LinearHead("flat", np.zeros(len(text), np.float32), np.zeros(len(text), np.float32))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"engine": "none"}, "finite"),
        ({"engine": "transposed"}, "expected"),
        ({"head": "flat"}, r"`head=flat` gives weights \[3\] and biases \[3\], expected \[3, 24\]"),
    ],
)
def test_one_that_does_not_work_is_told_before_the_search(
    option: dict[str, str],
    words: str,
    tiny_onnx: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENCODERS, "none", NoNumbers)
    monkeypatch.setitem(ENCODERS, "transposed", Transposed)
    monkeypatch.setitem(HEADS, "flat", flat_head)
    with pytest.raises(UserError, match=words):
        edge_sharpzo.tune(photos, onnx=tiny_onnx, out=tmp_path / "run", shots=6, **option)
    assert not (tmp_path / "run" / "history.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"engine": "cloud"}, "`engine=cloud`: choose one of local"),
        ({"method": "adam"}, "`method=adam`: choose one of gauss-newton, sharpzo"),
        ({"head": "svm"}, "`head=svm`: choose one of none, text-gda, prototypes"),
    ],
)
def test_what_is_not_registered_is_refused(
    option: dict[str, str], words: str, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words) as raised:
        edge_sharpzo.tune(photos, onnx=tiny_onnx, out=tmp_path / "run", shots=6, **option)
    assert raised.value.field == next(iter(option))
    assert not (tmp_path / "run").exists()
