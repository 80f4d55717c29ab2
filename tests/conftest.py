"""Fixtures: tiny CLIP models, exported once per session, and photos that can be told apart."""

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command line does; before NumPy is loaded
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import onnxruntime themselves

import jinja2
import onnx
import pytest
from helpers import TINY, Exported, Place, export_model, invoke, tune, write_photos

from edge_sharpzo.clip import prompts, providers
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.sweeping.task import Ended, Job

# Without torch, as on a device, what the workstation does is left out. `make` has exported the tiny
# model; where it has not, the embedded one takes its place, and the tests take long.
IS_DEVICE = find_spec("torch") is None
collect_ignore = (
    [
        "test_bench_accuracy.py",
        "test_bench_speed.py",
        "test_export.py",
        "test_gradient_cost.py",
        "test_learned_start.py",
    ]
    if IS_DEVICE
    else []
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--integer-products",
        choices=["as-is", "on", "off"],
        default="as-is",
        help="whether 8-bit models compute in integers, whatever this processor can",
    )


@pytest.fixture(autouse=True)
def _integer_products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request.config.getoption("--integer-products")
    if asked != "as-is":
        monkeypatch.setattr("edge_sharpzo.clip.clip_file.sums_bytes_exactly", lambda: asked == "on")


@pytest.fixture(scope="session", autouse=True)
def _quick() -> Iterator[None]:
    """What takes two thirds of a tiny run is made once for the same text: the tokenizer and the
    report's template. No thread spins on the core of the other processes of tests, and a run's own
    collection of garbage leaves out all that the tests have imported.
    """
    compiled, compile_ = {}, jinja2.Environment.compile
    open_session = providers.open_session
    tokenizers = SimpleNamespace(from_buffer=lru_cache(8)(prompts.Tokenizer.from_buffer))

    def compile_once(environment: jinja2.Environment, *what: object) -> object:
        if what not in compiled:
            compiled[what] = compile_(environment, *what)
        return compiled[what]

    def open_quietly(*what: object, wait_actively: bool) -> object:  # noqa: ARG001
        return open_session(*what, wait_actively=False)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prompts, "trusted", lru_cache(8)(prompts.trusted))
        patched.setattr(prompts, "Tokenizer", tokenizers)
        patched.setattr(jinja2.Environment, "compile", compile_once)
        patched.setattr(providers, "open_session", open_quietly)
        gc.freeze()
        yield


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Exported]]:
    """Exports a family, once; exported again, in another precision, it keeps its graph."""
    done: dict[str, Exported] = {}
    graphs: dict[object, onnx.ModelProto] = {}

    def make(family: str) -> Exported:
        pytest.importorskip("torch", reason="exports a model")
        if family not in done:
            done[family] = export_model(tmp_path_factory.mktemp(family), family)
        return done[family]

    if IS_DEVICE:
        yield make
        return
    from export import convert

    build = convert.build_graph

    def build_once(towers: Any, card: object) -> onnx.ModelProto:
        model = towers.image.visual  # another one where a source is loaded anew
        if model not in graphs:
            graphs[model] = build(towers, card)
        copy = onnx.ModelProto()
        copy.CopyFrom(graphs[model])
        return copy

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(convert, "build_graph", build_once)
        yield make


def shared_model(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A model that the first of the processes of tests to need it makes, for all."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = root / f"shared-{name}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "clip.onnx").exists():
            make(folder / "clip.onnx")
    gc.freeze()  # what exports is large
    return folder / "clip.onnx"


@pytest.fixture(scope="session")
def eight_bits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as `tiny_onnx`, with its weights in 8 bits."""
    if IS_DEVICE:
        pytest.skip("exports a model")

    def make(out: Path) -> None:
        from export.convert import export

        export(request.getfixturevalue("exported")("vit").source, out, "int8")

    return shared_model(tmp_path_factory, "int8", make)


@pytest.fixture(scope="session")
def tiny_onnx(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest ordinary model."""
    if IS_DEVICE:
        return TINY if TINY.exists() else EMBEDDED_MODEL

    def make(out: Path) -> None:  # torch, which is large, is for the process that exports
        shutil.copy(request.getfixturevalue("exported")("vit").onnx, out)

    return shared_model(tmp_path_factory, "vit", make)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ with three colours: 6 training and 6 test photos each. Do not change it;
    copy it.
    """
    root = tmp_path_factory.mktemp("photos")
    for hue, name in ((0, "red_things"), (90, "green_things"), (170, "blue_things")):
        write_photos(root / "train" / name, hue, 6, seed=1)
        write_photos(root / "test" / name, hue, 6, seed=2)
    return root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SHARPZO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def finished_run(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    tune(tiny_onnx, photos, folder, "--budget", 50)
    return folder


@pytest.fixture
def place(tiny_onnx: Path, photos: Path, finished_run: Path, tmp_path: Path) -> Place:
    return Place(tiny_onnx, photos, finished_run, tmp_path)


@pytest.fixture(scope="module")
def no_flushing() -> Iterator[None]:
    """Nothing waits for the disk: no test sees a power cut, and most of the time would go there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


class Here:
    """A crew that runs jobs in this process."""

    def slots(self) -> dict[str, int]:
        return {"tcp://here:1": 1}

    def run(self, jobs: list[Job], finished: Callable[[Job, Ended], object], _: object) -> None:
        for job in jobs:
            done = invoke(*job.arguments[:-1], f"{job.arguments[-1]}{job.folder}")
            finished(job, Ended(done.exit_code, done.stdout, done.stderr))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps need no processes."""

    @contextmanager
    def crew_of(_: int, __: Path, ___: object, meanwhile: Callable[[], None]) -> Iterator[Here]:
        meanwhile()
        yield Here()

    monkeypatch.setattr("edge_sharpzo.sweeping.sweep.local_crew", crew_of)
