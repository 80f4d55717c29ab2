"""A model behind a real server: the numbers of a run here, whatever happens to the connection."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import invoke, run_tune

# Not imported: MLServer and tritonclient describe the same messages, so no process holds both.
if not all(find_spec(name) for name in ("mlserver", "tritonclient")):
    pytest.skip("MLServer is not installed, or not for this Python", allow_module_level=True)

from proxy import proxy, sometimes
from servers import mlserver

import edge_sharpzo
from edge_sharpzo.clip import ClipOnnx, TextTower
from edge_sharpzo.engines import spread
from edge_sharpzo.engines.opening import open_clip
from edge_sharpzo.events import Event, Note, QueriesSpent, RunBegins
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.system.tensors import load_tensors

BUDGET = 400
FEW = ("--shots", 6, "--budget", BUDGET, "--json")
Ports = tuple[int, int]


@pytest.fixture(scope="module")
def ports(tiny_onnx: Path) -> Iterator[Ports]:
    """Those of a server of the tiny model, gRPC and HTTP."""
    with mlserver(tiny_onnx) as (grpc, http, _):
        yield grpc, http


@pytest.fixture(scope="module")
def local(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the model here."""
    folder = tmp_path_factory.mktemp("local") / "run"
    assert run_tune(tiny_onnx, photos, folder, *FEW).exit_code == 0
    return folder


def at(port: int, scheme: str = "kserve") -> str:
    return f"{scheme}://127.0.0.1:{port}/clip-text"


def asked_for(sent: bytes) -> set[bytes]:
    return set(re.findall(rb"clip-[a-z-]+", sent))


def history(run: Path) -> str:
    return (run / "history.jsonl").read_text()


def tuned(
    photos: Path, out: Path, engine: str, hear: Callable[[Event], object] = print, **more: Any
) -> Path:
    options: dict[str, Any] = {"shots": 6, "budget": BUDGET, "on_progress": hear, **more}
    return edge_sharpzo.tune(photos, out=out, engine=engine, **options).folder


@pytest.mark.parametrize(("scheme", "which"), [("kserve", 0), ("kserve+http", 1)])
def test_the_history_is_that_of_a_run_here(
    scheme: str,
    which: int,
    ports: Ports,
    local: Path,
    tiny_onnx: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    engine = at(ports[which], scheme)
    result = run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, "--engine", engine)
    assert result.exit_code == 0, result.output
    assert history(tmp_path / "run") == history(local)
    for name in ("classifier.onnx", "labels.txt"):
        assert (tmp_path / "run" / name).read_bytes() == (local / name).read_bytes()
    prompts = [load_tensors(run / "prompt.safetensors") for run in (tmp_path / "run", local)]
    assert prompts[0][0].keys() == prompts[1][0].keys()
    assert all(np.array_equal(prompts[0][0][key], prompts[1][0][key]) for key in prompts[0][0])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["engine"] == engine
    mine, theirs = (
        json.loads((run / "summary.json").read_text()) for run in (tmp_path / "run", local)
    )
    for key in ("accuracy", "loss", "queries", "model", "known"):
        assert mine[key] == theirs[key]
    # The model's file is here, so the run needs no engine to answer.
    answer = invoke("predict", tmp_path / "run", next(photos.glob("test/*/*.png")), "--json")
    assert answer.exit_code == 0


def test_features_are_the_same_bits(ports: Ports, tiny_onnx: Path) -> None:
    """Of both towers, at sizes of one call and of many."""
    here = ClipOnnx(tiny_onnx)
    names = [f"thing {i}" for i in range(70)]
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (40, 50, 3)).astype(np.uint8) for _ in range(5)]
    for port, scheme in zip(ports, ("kserve", "kserve+http"), strict=True):
        there = open_clip(
            tiny_onnx,
            at(port, scheme),
            True,
            threads=0,
            provider=here.provider,
            memory=MemoryLimit(),
            tell=print,
        )
        assert there.sha256 == here.sha256
        assert np.array_equal(there.encode_images(photos), here.encode_images(photos))
        for classes in (1, 3, 70):
            prompt = here.prompts.for_tuning(names[:classes], "a photo of a {}.")
            for many in (1, 16, 33):
                contexts = rng.standard_normal((many, len(prompt.context), here.card.text.width))
                pair = (
                    TextTower(clip, prompt.classes, len(prompt.context)) for clip in (here, there)
                )
                mine, theirs = (tower(contexts.astype(np.float32)) for tower in pair)
                assert np.array_equal(mine, theirs)


def test_a_device_without_the_model(
    ports: Ports, local: Path, photos: Path, tmp_path: Path
) -> None:
    engine = at(ports[0])
    data = ("--data", photos, "--engine", engine)
    refused = invoke("tune", *data, "--out", tmp_path / "refused", *FEW)
    assert refused.exit_code == 2
    assert "--send-photos" in refused.stderr
    assert f"127.0.0.1:{ports[0]}" in refused.stderr
    run = tmp_path / "run"
    result = invoke("tune", *data, "--out", run, *FEW, "--send-photos")
    assert result.exit_code == 0, result.output
    assert history(run) == history(local)
    assert "no classifier.onnx" in result.stderr
    assert not (run / "classifier.onnx").exists()
    photo = next(photos.glob("test/*/*.png"))
    answers = [json.loads(invoke("predict", each, photo, "--json").stdout) for each in (run, local)]
    assert answers[0] == answers[1]
    for command in (("eval", run, "--data", photos), ("check", *data, "--send-photos")):
        told = invoke(*command, "--json")
        assert told.exit_code == 0, told.output


def test_what_a_service_sees(ports: Ports, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    """No photo and no feature of one, no label, no loss: the recorded traffic has none of them."""
    with proxy(ports[0]) as between:
        run = tuned(photos, tmp_path / "run", at(between.port), onnx=tiny_onnx)
        sent = bytes(between.sent)
    assert asked_for(sent) == {b"clip-card", b"clip-text"}
    inputs = {b"ctx", b"names", b"positions", b"mask", b"eot", b"nonce"}
    assert all(name in sent for name in inputs)
    assert b"pixel_values" not in sent
    clip = ClipOnnx(tiny_onnx)
    files = sorted(photos.glob("*/*/*.png"))
    for features in clip.encode_images(files):
        assert features.tobytes()[:32] not in sent
    for file in files:
        assert file.read_bytes()[-40:] not in sent
    for word in ("red", "green", "blue", "things", str(photos), run.name):
        assert word.encode() not in sent
    losses = [json.loads(line)["loss"] for line in history(run).splitlines()]
    for loss in losses:
        assert np.float64(loss).tobytes() not in sent
        assert np.float32(loss).tobytes() not in sent


@pytest.mark.parametrize("command", ["predict", "eval"])
def test_photos_of_a_run_stay_here_unless_they_may_go(
    command: str, ports: Ports, local: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    """The run was tuned with the model's file, and without `--send-photos`."""
    run = tmp_path / "run"
    shutil.copytree(local, run)
    photo = next(photos.glob("test/*/*.png"))
    words = [command, run, *([photo] if command == "predict" else ["--data", photos]), "--json"]
    here = invoke(*words, "--also", "dog")
    with proxy(ports[0]) as between:
        words += ["--also", "dog", "--engine", at(between.port)]
        found = invoke(*words)
        assert asked_for(bytes(between.sent)) == {b"clip-card", b"clip-text"}
        assert b"pixel_values" not in bytes(between.sent)
        assert json.loads(found.stdout) == json.loads(here.stdout)
        assert "photos leave" not in found.stderr

        config = (run / "config.json").read_text()
        (run / "config.json").write_text(config.replace(str(tiny_onnx), "/gone.onnx"))
        refused = invoke(*words)
        assert refused.exit_code == 2
        assert "add --onnx with its new place, or --send-photos" in refused.stderr
        assert b"pixel_values" not in bytes(between.sent)

        sent = invoke(*words, "--send-photos")
        assert json.loads(sent.stdout) == json.loads(here.stdout)
        assert "photos leave this device" in sent.stderr
        assert b"clip-image" in asked_for(bytes(between.sent))


def test_photos_that_do_not_count_are_not_sent(
    ports: Ports, local: Path, photos: Path, tmp_path: Path
) -> None:
    """What the run was tuned on is known by its bytes."""
    data = tmp_path / "photos"
    for file in photos.glob("*/*/*.png"):
        place = data / file.parent.name / f"{file.parts[-3]}-{file.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    with proxy(ports[0]) as between:
        words = ["eval", local, "--data", data, "--engine", at(between.port), "--send-photos"]
        found = json.loads(invoke(*words, "--json").stdout)
        sent = bytes(between.sent).count(b"pixel_values")
    assert found["tuned_on"] > 10
    assert sent == found["photos"] > 10


def test_a_run_does_not_go_on_with_what_serves_another_model(
    ports: Ports, photos: Path, tmp_path: Path
) -> None:
    """The run is the embedded model's, with the file that every device has."""
    stop = [False]

    def hear(event: Event) -> None:
        stop[0] |= isinstance(event, QueriesSpent)

    run = edge_sharpzo.tune(
        photos,
        out=tmp_path / "run",
        shots=2,
        budget=BUDGET,
        on_progress=hear,
        cancelled=lambda: stop[0],
    )
    assert run.interrupted
    result = invoke("tune", "--resume", run.folder, "--engine", at(ports[0]))
    assert result.exit_code == 2
    assert f"what {at(ports[0])} serves is another model" in result.stderr
    assert "give --engine where the run's own model is served" in result.stderr


@pytest.mark.parametrize(("scheme", "which"), [("kserve", 0), ("kserve+http", 1)])
def test_a_bad_connection_changes_nothing(
    scheme: str,
    which: int,
    ports: Ports,
    local: Path,
    tiny_onnx: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    with proxy(ports[which]) as between:

        def hear(event: Event) -> None:
            if isinstance(event, RunBegins):
                between.fault = sometimes(0.05, seed=which, most=100)

        run = tuned(photos, tmp_path / "run", at(between.port, scheme), hear, onnx=tiny_onnx)
        assert len(between.done) > 3
    assert history(run) == history(local)


def test_one_of_two_endpoints_may_die(
    ports: Ports, local: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    """In the middle of a round: its calls go to the other one."""
    with mlserver(tiny_onnx) as (grpc, _, process), proxy(grpc) as between:
        passed = []

        def kill(data: bytes, to_server: bool) -> None:
            passed.append(len(data))
            if to_server and len(passed) > 20:
                os.kill(process.pid, signal.SIGKILL)

        def hear(event: Event) -> None:
            if isinstance(event, RunBegins):
                passed.clear()
                between.fault = kill

        engine = f"{at(between.port)},{at(ports[0])}"
        run = tuned(photos, tmp_path / "run", engine, hear, onnx=tiny_onnx)
        assert process.wait(20) == -signal.SIGKILL
    assert history(run) == history(local)


def test_a_server_that_is_killed_ends_the_run_and_another_goes_on(
    ports: Ports,
    local: Path,
    tiny_onnx: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread, "PATIENCE", 0.5)
    run = tmp_path / "run"
    with mlserver(tiny_onnx) as (grpc, _, process):

        def hear(event: Event) -> None:
            if isinstance(event, QueriesSpent) and event.used > 150:
                process.kill()

        with pytest.raises(UserError, match="does not answer") as caught:
            tuned(photos, run, at(grpc), hear, onnx=tiny_onnx)
    assert "`resume=" in str(caught.value)
    assert (run / "checkpoint.safetensors").exists()
    result = invoke("tune", "--resume", run, "--engine", at(ports[0]))
    assert result.exit_code == 0, result.output
    assert "last digits may differ" in result.stderr
    assert history(run) == history(local)


def test_a_run_may_go_on_here(
    ports: Ports, local: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    options = {"shots": 6, "budget": BUDGET, "engine": at(ports[0]), "onnx": tiny_onnx}
    run = edge_sharpzo.tune(photos, out=tmp_path / "run", cancelled=Counted(50), **options)
    assert run.interrupted
    edge_sharpzo.tune(resume=run.folder, engine="local")
    assert history(run.folder) == history(local)


class Counted:
    """Says True once it has been asked so many times."""

    def __init__(self, times: int):
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize(
    ("engine", "more", "why"),
    [
        ("kserve://127.0.0.1:{grpc}/dog", (), "serves no model 'dog"),
        ("kserve+http://127.0.0.1:{http}/dog", (), "serves no model 'dog"),
        ("kserve+http://127.0.0.1:{http}/a/b/clip", (), "serves no model"),
        ("kserve+tls://127.0.0.1:{grpc}/clip", (), "is not encrypted"),
        ("kserve+https://127.0.0.1:{http}/clip", (), "is not encrypted"),
        ("kserve://127.0.0.1:1/clip", (), "does not answer"),
        ("kserve+http://127.0.0.1:1/clip", (), "does not answer"),
        ("kserve+http://127.0.0.1:{grpc}/clip", (), "speaks gRPC"),
        ("kserve://127.0.0.1:{grpc}/clip", ("--onnx", "embedded"), "serves another model"),
        ("kserve://no-such-host.invalid/clip", (), "does not answer"),
        ("kserve://127.0.0.1:{grpc}", (), "end with the model's name"),
        ("cloud", (), "choose one of local"),
    ],
)
def test_what_is_not_there_is_told(
    engine: str,
    more: tuple[str, ...],
    why: str,
    ports: Ports,
    photos: Path,
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_sharpzo.engines.service.AT_START", 0.2)
    monkeypatch.setattr(spread, "FIRST_DEADLINE", 2.0)
    model = tmp_path / "other.onnx"
    if more:
        from edge_sharpzo.clip.embedded import EMBEDDED_MODEL

        shutil.copy(EMBEDDED_MODEL, model)
    onnx = model if more else tiny_onnx
    named = engine.format(grpc=ports[0], http=ports[1])
    result = run_tune(onnx, photos, tmp_path / "run", *FEW, "--engine", named)
    assert result.exit_code == 2, result.output
    assert why in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "run" / "config.json").exists()


def test_another_model_in_mid_run_is_refused(
    tiny_onnx: Path, photos: Path, tmp_path: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is replaced by one of another model, at the same address."""
    from edge_sharpzo.engines.served_session import ServedSession

    asked, made = ServedSession._asked, []  # the answers are real, their checksum another one's

    def replaced(self: ServedSession, *call: Any) -> np.ndarray:
        made.append(call)
        if len(made) == 20:
            self._sha256 = np.zeros(32, np.uint8)
        return asked(self, *call)

    monkeypatch.setattr(ServedSession, "_asked", replaced)
    monkeypatch.setattr(spread, "FIRST_PAUSE", 0.01)
    with pytest.raises(UserError, match="serves another model now"):
        tuned(photos, tmp_path / "run", at(ports[0]), onnx=tiny_onnx)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_without_the_packages_the_cure_is_told(
    photos: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tritonclient.grpc", "tritonclient.http", "edge_sharpzo.engines.grpc_transport"):
        monkeypatch.setitem(sys.modules, name, None)
    result = run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, "--engine", at(1))
    assert result.exit_code == 2
    assert "edge-sharpzo[remote]" in result.stderr


def test_send_photos_needs_somewhere_to_send_them(
    photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    result = run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, "--send-photos")
    assert result.exit_code == 2
    assert "--engine" in result.stderr


def test_a_killed_run_goes_on_to_the_same_end(
    ports: Ports, local: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["tune", "--onnx", tiny_onnx, "--data", photos, "--out", run, *FEW]
    words += ["--engine", at(ports[0])]
    command = [sys.executable, "-m", "edge_sharpzo", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (run / "config.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.8)
    process.kill()
    process.wait()
    if not (run / "summary.json").exists():
        assert invoke("tune", "--resume", run).exit_code == 0
    assert history(run) == history(local)


def test_the_note_says_where_it_runs(
    ports: Ports, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            told.append(event.text)

    tuned(photos, tmp_path / "run", at(ports[0]), hear, onnx=tiny_onnx, budget=60)
    assert f"text tower: 127.0.0.1:{ports[0]}/clip" in told[0]


def test_the_doctor_looks_at_a_service(ports: Ports, tiny_onnx: Path) -> None:
    result = invoke("doctor", "--onnx", tiny_onnx, "--engine", at(ports[0]))
    assert result.exit_code == 0, result.output
    assert "takes context vectors and gives text features" in result.stdout
    assert f"at {at(ports[0])}: " in result.stdout
    found = json.loads(invoke("doctor", "--engine", at(ports[1], "kserve+http"), "--json").stdout)
    assert found["engine"] == at(ports[1], "kserve+http")
    assert invoke("doctor", "--engine", "kserve://127.0.0.1:1").exit_code == 2
