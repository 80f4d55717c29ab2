"""The start of the search that an export learns, and how a model file carries it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Exported
from typer.testing import CliRunner

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.prompts import Prompts
from edge_sharpzo.tuning.methods.gauss_newton import CONTEXT_TOKENS
from export import search_start
from export.__main__ import app
from export.convert import export
from export.search_start import TaskMaker, WordTower, adapted, fitting_words, learned_start
from export.source import ExportError
from export.tokenizer import tokenizer_card
from export.towers import DenseTextTower, PackedTextTower, TokenTable, as_text_module


class Words:
    """The tiny model's text tower as the export has it."""

    def __init__(self, exported: Exported):
        text, _ = as_text_module(exported.source.model)
        tokens = tokenizer_card(exported.source.tokenizer, text.context_length)
        self.card = ClipOnnx(exported.onnx).card
        self.tower = PackedTextTower(text, tokens.ids.start[0])
        self.table, self.prompts = TokenTable(text), tokens.prompts
        self.of_words = WordTower(
            self.tower, self.table, self.prompts, fitting_words(self.prompts)[:200]
        )
        ids = self.prompts.for_tuning([], search_start.TEMPLATE, CONTEXT_TOKENS).context
        self.first = self.of_words.embedded(ids)

    def learned(self, tasks: int, seed: int = 0) -> np.ndarray:
        start = learned_start(
            self.tower, self.table, self.prompts, self.card, tasks=tasks, seed=seed
        )
        assert start is not None
        return start

    def adapted(self, maker: TaskMaker, context: torch.Tensor) -> tuple[torch.Tensor, float, float]:
        unit, scale = self.card.text.embedding_std, self.card.logit_scale
        return adapted(self.of_words, maker.task(), context, unit, scale)


@pytest.fixture(scope="module")
def words(exported: Callable[[str], Exported]) -> Words:
    return Words(exported("vit"))


@pytest.fixture(autouse=True)
def _few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_start, "IMAGENET_CLASSNAMES", search_start.IMAGENET_CLASSNAMES[:200])


def test_one_task_of_one_step_by_hand(words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's first step has the length of its rate in every element, against the slope's sign."""
    monkeypatch.setattr(search_start, "STEPS", 1)
    moved = (words.learned(1) - words.first.numpy()) / words.card.text.embedding_std
    maker = TaskMaker(words.of_words.word_features(), 0)
    task, unit = maker.task(), words.card.text.embedding_std
    context = words.first.clone().requires_grad_()
    text = words.of_words.features(context, words.of_words.classes(task))
    logits = words.card.logit_scale * torch.from_numpy(task.photos) @ text.T
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(task.labels)).backward()
    slope = unit * context.grad
    clear = (slope.abs() > 1e-5).numpy()  # beside Adam's 1e-8
    assert clear.mean() > 0.9
    wanted = -1.0 * 0.7 * np.sign(slope.numpy())
    assert moved[clear] == pytest.approx(wanted[clear], rel=2e-3)


def test_tasks_that_were_not_seen_get_a_lower_loss_from_the_learned_start(words: Words) -> None:
    start = torch.from_numpy(words.learned(20))
    features = words.of_words.word_features()
    makers = TaskMaker(features, 99), TaskMaker(features, 99)
    from_words = [words.adapted(makers[0], words.first)[2] for _ in range(6)]
    from_start = [words.adapted(makers[1], start)[2] for _ in range(6)]
    assert np.mean(from_start) < np.mean(from_words) - 0.02


def test_the_same_export_learns_the_same(words: Words) -> None:
    first, again, other = words.learned(3), words.learned(3), words.learned(3, seed=1)
    assert first.shape == (CONTEXT_TOKENS, 32)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(3))
def test_a_made_up_task_is_one(seed: int) -> None:
    features = np.random.default_rng(5).standard_normal((150, 24))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    maker, counts = TaskMaker(features, seed), set()
    for _ in range(60):
        task = maker.task()
        counts.add(len(task.words))
        assert len(set(task.words.tolist())) == len(task.words)
        assert task.labels.tolist() == [k for k in range(len(task.words)) for _ in range(8)]
        assert task.photos.shape == (8 * len(task.words), 24)
        assert task.photos.dtype == np.float32
        assert np.linalg.norm(task.photos, axis=1) == pytest.approx(1, abs=1e-6)
    assert min(counts) >= 4
    assert 25 < max(counts) <= 30


def test_a_word_tower_reads_as_the_device_does(words: Words, tiny_onnx: Path) -> None:
    from edge_sharpzo.clip.encoders import template_features
    from edge_sharpzo.clip.text_tower import TextTower

    clip = ClipOnnx(tiny_onnx)
    rows = clip.prompts.as_written(fitting_words(clip.prompts)[:200], search_start.TEMPLATE)
    theirs = template_features(TextTower(clip, rows, 0), clip.card.text.width)
    assert words.of_words.word_features() == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize(
    ("parameters", "tasks"),
    [(1_000, 250), (3_225_088, 250), (12_000_000, 250), (38_091_776, 79), (400_000_000, 60)],
)
def test_large_towers_learn_from_fewer_tasks(parameters: int, tasks: int) -> None:
    tower = torch.nn.Module()
    tower.weight = torch.nn.Parameter(torch.empty(parameters, device="meta"))
    assert search_start.usual_tasks(tower) == tasks


@pytest.mark.parametrize(("room", "fits"), [(77, True), (24, True), (12, False), (9, False)])
def test_words_that_the_model_cannot_read_are_left_out(
    room: int,
    fits: bool,
    words: Words,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With nothing to learn from nothing is learned."""
    prompts: Prompts = words.prompts
    monkeypatch.setattr(prompts, "context_length", room)
    assert (len(fitting_words(prompts)) >= search_start.FEWEST_WORDS) == fits
    if not fits:
        assert learned_start(words.tower, words.table, prompts, words.card, tasks=1) is None
        assert "no learned start of the search" in capsys.readouterr().out


def test_an_export_carries_it(
    words: Words,
    exported: Callable[[str], Exported],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_start, "usual_tasks", lambda tower: 2)
    export(exported("vit").source, tmp_path / "clip.onnx", "fp32", search_start=True)
    found = ClipOnnx(tmp_path / "clip.onnx").search_start
    assert found is not None
    assert np.array_equal(found, words.learned(2).astype(np.float16).astype(np.float32))


def test_a_dense_tower_gets_none_and_that_is_said(
    words: Words, exported: Callable[[str], Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    dense = DenseTextTower(as_text_module(exported("vit").source.model)[0])
    assert learned_start(dense, words.table, words.prompts, words.card) is None
    assert "no learned start of the search" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "wanted"), [([], "True"), (["--no-search-space"], "False")])
def test_the_command_learns_unless_it_is_told_not_to(
    more: list[str], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*given: object) -> list[Path]:
        raise ExportError(f"asked: {given[-1]}")

    monkeypatch.setattr("export.convert.export", asked)
    monkeypatch.setattr("export.source.load_source", lambda *_, **__: None)
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "clip.onnx"), *more])
    assert f"asked: {wanted}" in done.output


def test_an_export_that_is_ended_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: object, out: Path, *__: object) -> None:
        out.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("export.convert.export", ended)
    monkeypatch.setattr("export.source.load_source", lambda *_, **__: None)
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "clip.onnx")])
    assert done.exit_code == 143
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_none_are_refused(words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = torch.full_like(words.first, float("nan"))
    monkeypatch.setattr(search_start, "adapted", lambda *_: (nowhere, 1.0, 1.0))
    with pytest.raises(ExportError, match="--no-search-space"):
        words.learned(1)
