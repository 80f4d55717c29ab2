"""Where a search starts: at the words, or at the context that a model file carries."""

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import edge_sharpzo
from edge_sharpzo import ClipOnnx, PromptObjective, UserError
from edge_sharpzo.clip import embedded
from edge_sharpzo.clip.card import Cleaning, Layout, Pool, TextCard
from edge_sharpzo.clip.search_start import SEARCH_START_KEY, parse_start, stored_start
from edge_sharpzo.pipeline.prepare import Task, open_task
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.tuning.methods.gauss_newton import FROM_LEARNED, GaussNewton, GaussNewtonSettings
from edge_sharpzo.tuning.methods.plan import Preset, Request
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.start import Start


def with_start(model: Path, out: Path, stored: str) -> Path:
    """A copy of a model file that carries a start."""
    loaded = onnx.load(model)
    kept = [entry for entry in loaded.metadata_props if entry.key != SEARCH_START_KEY]
    told = {entry.key: entry.value for entry in kept} | {SEARCH_START_KEY: stored}
    del loaded.metadata_props[:]
    for key, value in told.items():
        loaded.metadata_props.add(key=key, value=value)
    onnx.save(loaded, out)
    return out


@pytest.fixture(scope="module")
def context(tiny_onnx: Path) -> np.ndarray:
    """Eight vectors, some ten standard deviations long."""
    card = ClipOnnx(tiny_onnx).card.text
    rng = np.random.default_rng(3)
    values = 10 * card.embedding_std * rng.standard_normal((8, card.width))
    return values.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def model(tiny_onnx: Path, context: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a start of eight vectors."""
    out = tmp_path_factory.mktemp("start") / "clip.onnx"
    return with_start(tiny_onnx, out, stored_start(context))


@pytest.mark.parametrize("tokens", [1, 8, 76])
def test_what_is_stored_is_loaded(tokens: int, tiny_onnx: Path, tmp_path: Path) -> None:
    card = ClipOnnx(tiny_onnx).card.text
    values = np.linspace(-20, 20, tokens * card.width) * card.embedding_std
    start = values.reshape(tokens, card.width).astype(np.float32)
    found = ClipOnnx(with_start(tiny_onnx, tmp_path / "m.onnx", stored_start(start))).search_start
    assert found is not None
    assert (found.dtype, found.shape) == (np.float32, start.shape)
    assert np.array_equal(found, start.astype(np.float16))
    assert found == pytest.approx(start, rel=1e-3, abs=1e-5)


CARD = TextCard(
    Layout.PACKED, 32, 77, (1,), (2,), 0, Pool.END, Cleaning.LOWER, 0.02, "a photo of a", 4
)


def text_of(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


DAMAGES: dict[str, Callable[[int], Any]] = {
    "no JSON": lambda w: "{",
    "a list": lambda w: [8, w],
    "no values": lambda w: {"shape": [8, w]},
    "one field too many": lambda w: {"shape": [1, w], "float16": text_of(np.ones(w)), "more": 1},
    "another width": lambda w: {"shape": [8, w - 1], "float16": text_of(np.ones((8, w - 1)))},
    "no vector": lambda w: {"shape": [0, w], "float16": ""},
    "as many as the model reads": lambda w: {
        "shape": [77, w],
        "float16": text_of(np.ones((77, w))),
    },
    "minus eight": lambda w: {"shape": [-8, w], "float16": text_of(np.ones((8, w)))},
    "a number with a point": lambda w: {"shape": [8.0, w], "float16": text_of(np.ones((8, w)))},
    "true": lambda w: {"shape": [True, w], "float16": text_of(np.ones(w))},
    "three axes": lambda w: {"shape": [8, w, 1], "float16": text_of(np.ones((8, w)))},
    "no shape": lambda w: {"shape": None, "float16": text_of(np.ones((8, w)))},
    "too few values": lambda w: {"shape": [8, w], "float16": text_of(np.ones((7, w)))},
    "half a value": lambda w: {"shape": [1, w], "float16": text_of(np.ones(w))[:-4]},
    "no base64": lambda w: {"shape": [1, w], "float16": "*" * 88},
    "a list of values": lambda w: {"shape": [1, w], "float16": [0.0] * w},
    "NaN": lambda w: {"shape": [1, w], "float16": text_of(np.full(w, np.nan))},
    "infinite": lambda w: {"shape": [1, w], "float16": text_of(np.full(w, np.inf))},
    "too large": lambda w: {"shape": [1, w], "float16": text_of(np.full(w, 6e4))},
    "nested": lambda w: json.loads("[" * 90 + "]" * 90),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_start_is_refused(damage: str, tiny_onnx: Path, tmp_path: Path) -> None:
    made = DAMAGES[damage](ClipOnnx(tiny_onnx).card.text.width)
    stored = made if isinstance(made, str) else json.dumps(made)
    bad = with_start(tiny_onnx, tmp_path / "bad.onnx", stored)
    with pytest.raises(UserError, match=r"bad\.onnx carries a damaged start .* export it again"):
        ClipOnnx(bad)
    result = invoke("info", bad)
    assert result.exit_code == 2
    assert "damaged start" in result.stderr


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)

PAIRS = st.lists(st.integers(0, 5), min_size=2, max_size=2)


@settings(max_examples=300, deadline=None)
@given(
    shape=ANY | PAIRS,
    values=ANY | st.binary(max_size=10).map(lambda b: base64.b64encode(b).decode()),
)
def test_fuzzed_fields_are_taken_or_refused(shape: object, values: object) -> None:
    card = replace(CARD, width=1, context_length=5)
    told = {SEARCH_START_KEY: json.dumps({"shape": shape, "float16": values})}
    try:
        found = parse_start(told, card, "clip.onnx")
    except UserError as error:
        assert "export it again" in str(error)  # noqa: PT017 - it need not be raised
    else:
        assert found is not None
        assert list(found.shape) == shape
        assert np.isfinite(found).all()


def test_info_says_whether_there_is_one(tiny_onnx: Path, model: Path) -> None:
    told = [json.loads(invoke("info", file).stdout)["learned_start"] for file in (tiny_onnx, model)]
    assert told == [None, {"context_tokens": 8}]


def opened(model: Path, photos: Path, **more: Any) -> Task:
    options = TuneOptions(data=photos, onnx=model, budget=1500, **more).checked()
    return open_task(options, lambda event: None)


@pytest.mark.parametrize(
    ("more", "start", "tokens"),
    [
        ({}, Start.LEARNED, 8),
        ({"method": "gauss-newton"}, Start.LEARNED, 8),
        ({"context_tokens": 8}, Start.LEARNED, 8),
        ({"start": "learned"}, Start.LEARNED, 8),
        ({"template": "{}"}, Start.LEARNED, 8),
        ({"start": "words"}, Start.WORDS, 8),
        ({"context_tokens": 4}, Start.WORDS, 4),
        ({"context_tokens": 16}, Start.WORDS, 16),
        ({"method": "cma-es"}, Start.WORDS, 4),
        ({"method": "sharpzo", "context_tokens": 8}, Start.WORDS, 8),
        ({"method": "cma-es", "start": "learned"}, Start.LEARNED, 8),
        ({"method": "sharpzo", "start": "learned", "context_tokens": 8}, Start.LEARNED, 8),
        ({"preset": "paper"}, Start.WORDS, 4),
        ({"preset": "paper", "start": "words"}, Start.WORDS, 4),
    ],
)
def test_which_start_is_taken(
    more: dict[str, Any], start: Start, tokens: int, model: Path, photos: Path
) -> None:
    task = opened(model, photos, **more)
    assert task.options.start == start
    assert len(task.prompt.context) == tokens
    where = "model's export has learned" if start is Start.LEARNED else "template's words"
    assert where in task.start_told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "words: clip.onnx holds no learned start"),
        ({"context_tokens": 3}, "words: clip.onnx holds no learned start"),
        ({"start": "words"}, "the template's words"),
        ({"method": "random"}, "the template's words"),
    ],
)
def test_a_model_without_one_starts_from_the_words(
    more: dict[str, Any], told: str, tiny_onnx: Path, photos: Path
) -> None:
    task = opened(tiny_onnx, photos, **more)
    assert task.options.start == Start.WORDS
    assert task.start_told.endswith(told)


def test_another_number_of_vectors_is_told(model: Path, photos: Path) -> None:
    task = opened(model, photos, context_tokens=5)
    assert task.start_told.endswith("the learned start has 8 context vectors, not 5")


@pytest.mark.parametrize(
    ("more", "has_one", "words"),
    [
        (["--start", "learned"], False, "holds no learned start: export the model again"),
        (["--start", "learned", "--method", "cge"], False, "use --start words"),
        (["--start", "learned", "--context-tokens", 4], True, "use --context-tokens 8"),
        (
            ["--start", "learned", "--method", "zo-sgd", "--context-tokens", 9],
            True,
            "has 8 context vectors, not 9",
        ),
        (["--start", "learned", "--preset", "paper"], True, "no part of the paper's settings"),
        (["--start", "learned", "--preset", "paper"], False, "no part of the paper's settings"),
        (["--start", "photos"], True, "choose one of learned, words"),
        (["--start", ""], True, "choose one of learned, words"),
    ],
)
def test_what_cannot_start_is_refused(
    more: list[object],
    has_one: bool,
    words: str,
    tiny_onnx: Path,
    model: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    onnx_file = model if has_one else tiny_onnx
    result = invoke("tune", "--onnx", onnx_file, "--data", photos, "--out", tmp_path / "run", *more)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


# As they were before there was a learned start.
WORDS_SETTINGS = {
    "start_radius": 8.0,
    "starts": 15,
    "directions": 16,
    "window": 128,
    "difference": 0.2,
    "damping": 1e-3,
    "damping_factors": (3.0, 0.3),
    "min_damping": 1e-7,
    "max_damping": 10.0,
}


def test_settings_from_the_words_are_those_of_always() -> None:
    assert asdict(plan(None, Request(budget=1500)).settings) == WORDS_SETTINGS
    assert plan(None, Request()).settings == GaussNewtonSettings()
    assert plan(None, Request(start=Start.LEARNED)).settings == FROM_LEARNED
    assert asdict(FROM_LEARNED) == WORDS_SETTINGS | {"starts": 1, "damping": 1e-5}
    paper = Request(preset=Preset.PAPER)
    assert plan(None, paper).settings == plan("sharpzo", paper).settings
    assert plan(None, paper).prefers is Start.WORDS


# The starting points of seed 7, and the first two directions of its Jacobian.
POINTS = [
    [0, 0, 0, 0, 0, 0],
    [-8.1015312971, -15.1259996296, -8.9511110913, -3.9077725489, 11.2764953014, 1.7203463751],
    [-5.6259554961, 3.9379450488, -14.4994297593, 4.9746795517, -5.2639188341, 6.386538911],
]
DIRECTIONS = [
    [0.1115355, -0.0816497, 0.0298858, 0.0298858, 0.0816497, 0.1115355],
    [0.057735, 0.1154701, 0.057735, -0.057735, 0.1154701, -0.057735],
]


@pytest.mark.parametrize("start", ["learned", Start.LEARNED])
def test_settings_from_a_learned_start_need_no_random_points(start: Any) -> None:
    assert plan("gauss-newton", Request(start=start)).settings == FROM_LEARNED


def test_points_from_the_words_are_those_of_always(tiny_onnx: Path) -> None:
    loss = PromptObjective(
        ClipOnnx(tiny_onnx), ["a", "b"], np.eye(2, 24, dtype=np.float32), np.arange(2), dim=None
    ).loss
    optimizer = GaussNewton(6, loss, GaussNewtonSettings(starts=3), seed=7)
    assert optimizer.ask() == pytest.approx(np.array(POINTS), abs=1e-9)
    optimizer.restart(np.zeros(6))
    assert optimizer.ask()[1:3] == pytest.approx(np.array(DIRECTIONS), abs=1e-6)
    assert GaussNewton(6, loss, FROM_LEARNED, seed=7).ask().tolist() == [[0.0] * 6]


@pytest.mark.parametrize(
    "more",
    [{}, {"method": "cma-es"}, {"preset": "paper", "paper_task": "pets", "budget": 1100}],
    ids=["gauss-newton", "cma-es", "paper"],
)
def test_a_run_from_the_words_takes_no_notice_of_a_learned_start(
    more: dict[str, Any], tiny_onnx: Path, model: Path, photos: Path, tmp_path: Path
) -> None:
    """To the last bit, whether the words are asked for or the file has nothing else."""
    asked = {} if more else {"start": "words"}
    runs = [
        edge_sharpzo.tune(
            photos, onnx=file, out=tmp_path / file.parent.name, shots=6, **{"budget": 300} | given
        )
        for file, given in ((tiny_onnx, more), (model, more | asked))
    ]
    first, second = ((run.folder / "history.jsonl").read_bytes() for run in runs)
    assert first == second
    tensors = [load_file(run.folder / "prompt.safetensors") for run in runs]
    assert all(np.array_equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert [run.summary.start for run in runs] == ["words", "words"]


class After:
    """Says that a run is to stop once it was asked so often."""

    def __init__(self, times: int):
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_run_from_the_learned_start_says_so_and_goes_on_from_it(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"onnx": model, "shots": 6, "budget": 300}
    told: list[object] = []
    stopped = edge_sharpzo.tune(photos, out=tmp_path / "b", cancelled=After(45), **given)
    assert stopped.interrupted
    whole = edge_sharpzo.tune(photos, out=tmp_path / "a", on_progress=told.append, **given)
    assert "model's export has learned" in str(told)
    again = edge_sharpzo.tune(resume=stopped.folder)
    histories = [(run.folder / "history.jsonl").read_text() for run in (whole, again)]
    assert histories[0] == histories[1]
    config = json.loads((again.folder / "config.json").read_text())
    assert config["options"]["start"] == "learned"
    assert (config["preset"]["settings"]["starts"], config["preset"]["settings"]["damping"]) == (
        1,
        1e-5,
    )
    assert again.summary.start == "learned"
    assert "start: learned" in (again.folder / "report.html").read_text(encoding="utf8")


def test_the_unchanged_prompt_is_the_learned_start(
    model: Path, tiny_onnx: Path, context: np.ndarray
) -> None:
    clip, photos = ClipOnnx(model), np.eye(2, 24, dtype=np.float32)
    names, labels = ["red", "old tree"], np.arange(2)
    learned = PromptObjective(clip, names, photos, labels, dim=None, start="learned")
    nothing = np.zeros((1, learned.dim))
    assert np.array_equal(learned.contexts(nothing)[0], context)
    words = PromptObjective(ClipOnnx(tiny_onnx), names, photos, labels, dim=None, context_tokens=8)
    there = (context - words.initial_context).ravel() / clip.card.text.embedding_std
    losses = learned.losses(nothing, "start"), words.losses(there[None], "there")
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for wrong, told in (
        ({"start": "learned", "context_tokens": 4}, "context_tokens=8"),
        ({"start": "letters"}, "choose one of learned, words"),
    ):
        with pytest.raises(UserError, match=told):
            PromptObjective(clip, names, photos, labels, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="holds no learned start"):
        PromptObjective(ClipOnnx(tiny_onnx), names, photos, labels, start="learned")


def without_start(run: Path) -> None:
    """As a version wrote it that knew of no start."""
    config = json.loads((run / "config.json").read_text())
    del config["options"]["start"]
    (run / "config.json").write_text(json.dumps(config))


def test_an_older_run_goes_on_from_the_words(
    tiny_onnx: Path, model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the embedded model's newer file too, which has a learned start."""
    old, new = (ClipOnnx(file).sha256 for file in (tiny_onnx, model))
    monkeypatch.setattr(embedded, "RELEASES", (old, new))
    place = tmp_path / "clip.onnx"
    place.write_bytes(tiny_onnx.read_bytes())
    given: dict[str, Any] = {"onnx": place, "shots": 6, "budget": 300}
    stopped = edge_sharpzo.tune(photos, out=tmp_path / "b", cancelled=After(45), **given)
    whole = edge_sharpzo.tune(photos, out=tmp_path / "a", **given)
    known = RunConfig.read(stopped.folder).fingerprint
    for run in (whole, stopped):
        without_start(run.folder)
    config = RunConfig.read(stopped.folder)
    assert (config.options.start, config.fingerprint) == ("words", known)
    before = edge_sharpzo.Classifier.load(whole.folder).predict([next(photos.rglob("*.png"))])
    place.write_bytes(model.read_bytes())
    assert edge_sharpzo.Classifier.load(whole.folder).predict([next(photos.rglob("*.png"))]) == (
        before
    )
    again = edge_sharpzo.tune(resume=stopped.folder)
    histories = [(run.folder / "history.jsonl").read_text() for run in (whole, again)]
    assert histories[0] == histories[1]
    assert again.summary.start == "words"


def test_a_run_from_a_learned_start_goes_on_with_that_start_alone(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photos: Path,
    model: Path,
    context: np.ndarray,
) -> None:
    """Releases of the embedded model have the same towers, and may have another start."""
    place = tmp_path / "clip.onnx"
    place.write_bytes(model.read_bytes())
    first = ClipOnnx(place).sha256
    stopped = edge_sharpzo.tune(
        photos, out=tmp_path / "run", onnx=place, shots=6, budget=300, cancelled=After(45)
    )
    with_start(model, place, stored_start(context[::-1]))
    monkeypatch.setattr(embedded, "RELEASES", (first, ClipOnnx(place).sha256))
    with pytest.raises(UserError, match="the model file is another one"):
        edge_sharpzo.tune(resume=stopped.folder)
    place.write_bytes(model.read_bytes())
    assert edge_sharpzo.tune(resume=stopped.folder).summary.start == "learned"


@pytest.mark.parametrize("now", ["no start", "seven vectors", "too many vectors"])
def test_going_on_under_a_model_with_no_such_start(
    now: str, tmp_path: Path, photos: Path, tiny_onnx: Path, model: Path, context: np.ndarray
) -> None:
    place = tmp_path / "clip.onnx"
    place.write_bytes(model.read_bytes())
    given: dict[str, Any] = {"onnx": place, "shots": 6, "budget": 300, "start": "learned"}
    if now == "seven vectors":
        given["context_tokens"] = 8
    stopped = edge_sharpzo.tune(photos, out=tmp_path / "run", cancelled=After(45), **given)
    if now == "no start":
        place.write_bytes(tiny_onnx.read_bytes())
    else:
        longer = np.repeat(context[:1], 7 if now == "seven vectors" else 74, axis=0)
        with_start(model, place, stored_start(longer))
    done = invoke("tune", "--resume", stopped.folder)
    assert done.exit_code == 2
    assert "the model file is another one than the run was started with: put that" in done.stderr
    assert "--start" not in done.stderr
    place.write_bytes(model.read_bytes())
    assert not edge_sharpzo.tune(resume=stopped.folder).interrupted


@pytest.mark.parametrize(("tokens", "name"), [(74, "red"), (60, "old tree " * 8), (75, "kiwi")])
def test_a_start_that_leaves_no_room_for_a_name(
    tokens: int, name: str, tmp_path: Path, photos: Path, model: Path, context: np.ndarray
) -> None:
    place = with_start(
        model, tmp_path / "m.onnx", stored_start(np.repeat(context[:1], tokens, axis=0))
    )
    data = Path(shutil.copytree(photos / "train", tmp_path / "data"))
    (data / "red_things").rename(data / name.strip())
    done = invoke(
        "tune", "--onnx", place, "--data", data, "--out", tmp_path / "run", "--start", "learned",
        "--shots", 6, "--budget", 50,
    )  # fmt: skip
    assert done.exit_code == 2
    assert f"{tokens} of them for the learned start of {place}: use --start words" in done.stderr
    names, labels = [name, "bus"], np.arange(2)
    with pytest.raises(UserError, match="use `start=words`") as raised:
        PromptObjective(
            ClipOnnx(place), names, np.eye(2, 24, dtype=np.float32), labels, start="learned"
        )
    assert raised.value.field == "start"
    PromptObjective(ClipOnnx(place), names, np.eye(2, 24, dtype=np.float32), labels)


@pytest.mark.parametrize(
    "start",
    [
        np.array(["words", "learned"]),
        np.zeros((8, 32)),
        None,
        3,
        ["learned"],
        b"words",
        "Words",
        "",
    ],
)
def test_a_start_that_is_none(start: Any, tiny_onnx: Path) -> None:
    features, labels = np.eye(2, 24, dtype=np.float32), np.arange(2)
    with pytest.raises(UserError, match="choose one of learned, words") as raised:
        PromptObjective(ClipOnnx(tiny_onnx), ["a", "b"], features, labels, start=start)
    assert raised.value.field == "start"


def test_the_embedded_model_is_known_by_its_first_release() -> None:
    clip = ClipOnnx(embedded.EMBEDDED_MODEL)
    assert clip.sha256 == embedded.RELEASES[-1]
    assert embedded.known_as(clip.sha256) == embedded.RELEASES[0]
    assert embedded.known_as("0" * 64) == "0" * 64
    assert clip.search_start is not None
    assert clip.search_start.shape == (8, 256)
