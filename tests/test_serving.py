"""A model behind an inference server: what is written, what is answered, what is refused."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers import Exported, slow_unless
from servers import ROOT, free_ports, mlserver, triton

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.served import Companion, Served
from edge_sharpzo.system.errors import UserError
from serving import repository
from serving.listen import GRPC, HTTP, Listen
from serving.lock import used
from serving.repository import Repository, write_repository

NAMES = ["cat", "photo", "an cat", "a"]
TYPES = {"uint8": "UINT8", "float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64"}
FAMILIES = ["vit", "siglip"]  # packed and dense
Feeds = dict[str, np.ndarray]
SENT = np.frombuffer(b"\x00\xff which call", np.uint8)  # a nonce


def needs_mlserver() -> None:
    """Skips where it is not installed. It cannot be imported beside tritonclient."""
    if find_spec("mlserver") is None:
        pytest.skip("MLServer is not here: there is none for Python 3.13")


def text_feeds(clip: ClipOnnx, candidates: int = 2, n_ctx: int = 3) -> Feeds:
    """What a device asks a text tower, at random contexts."""
    classes = clip.prompts.for_tuning(NAMES, "a photo of {}").classes
    tower = TextTower(clip, classes, n_ctx)
    shape = (candidates, n_ctx, clip.card.text.width)
    contexts = 0.1 * np.random.default_rng(candidates).standard_normal(shape)
    return {"ctx": contexts.astype(np.float32), **tower._feeds[0]}


def image_feeds(clip: ClipOnnx, photos: int) -> Feeds:
    shape = (photos, 3, *clip.card.image.size)
    return {"pixel_values": np.random.default_rng(0).standard_normal(shape, np.float32)}


def local(clip: ClipOnnx, tower: Tower, feeds: Feeds, integer: bool = False) -> np.ndarray:
    return clip.session(tower, integer).run(None, feeds)[0]


# -- the repository ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_each_model_of_a_repository_is_a_tower_and_says_of_which_model(
    exported: Callable[[str], Exported], tmp_path: Path, family: str
) -> None:
    clip = ClipOnnx(exported(family).onnx, threads=1)
    made = write_repository(clip, tmp_path / "served", "mine")
    assert made.models == ("mine-card", "mine-text", "mine-tokens", "mine-image")
    asked: dict[Served, tuple[Feeds, np.ndarray]] = {
        Served.CARD: ({}, Companion.of(clip).to_array()),
        Served.TEXT: (text_feeds(clip), local(clip, Tower.TEXT, text_feeds(clip))),
        Served.TOKENS: ({"token_ids": np.array([3, 1])}, clip.token_embeddings([3, 1])),
        Served.IMAGE: (image_feeds(clip, 2), local(clip, Tower.IMAGE, image_feeds(clip, 2), True)),
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for kind, (feeds, right) in asked.items():
        session = onnxruntime.InferenceSession(made.file(f"mine-{kind}"), options)
        wanted = [kind.output, "model_sha256", "nonce_echo"]
        found, sha256, echo = session.run(wanted, {**feeds, "nonce": SENT})
        np.testing.assert_array_equal(found, right, str(kind))
        np.testing.assert_array_equal(echo, SENT)
        assert sha256.tobytes().hex() == clip.sha256
    assert Companion.of_array(asked[Served.CARD][1]).metadata == clip.metadata


def test_settings_fit_the_graphs(tiny_onnx: Path, tmp_path: Path) -> None:
    pytest.importorskip("tritonclient")
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    made = write_repository(ClipOnnx(tiny_onnx), tmp_path / "served")
    for name in made.models:
        session = onnxruntime.InferenceSession(made.file(name))
        folder = made.folder / name
        config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
        assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 0)
        assert not config.HasField("dynamic_batching")
        told = json.loads((folder / "model-settings.json").read_text())
        assert told["name"] == name
        for ours, theirs, settings in (
            (session.get_inputs(), config.input, told["inputs"]),
            (session.get_outputs(), config.output, told["outputs"]),
        ):
            shapes = {v.name: [d if isinstance(d, int) else -1 for d in v.shape] for v in ours}
            assert {each.name: list(each.dims) for each in theirs} == shapes
            assert {each["name"]: each["shape"] for each in settings} == shapes
    everything = {path.name for path in made.folder.iterdir()}
    assert everything == {*made.models, "settings.json", "edge-sharpzo.json"}


@pytest.mark.parametrize("exact", [True, False])
def test_products_in_integers_are_served_where_there_are_any(
    exported: Callable[[str], Exported],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exact: bool,
) -> None:
    source = exported("vit").source
    from export.convert import export

    export(source, tmp_path / "clip.onnx", "int8")
    monkeypatch.setattr("edge_sharpzo.clip.clip_file.sums_bytes_exactly", lambda: exact)
    made = write_repository(ClipOnnx(tmp_path / "clip.onnx"), tmp_path / "served")
    assert ("clip-text-integer" in made.models) is exact


def stamps(made: Repository) -> dict[str, tuple[int, int]]:
    found = {path.name: path.stat() for path in made.folder.rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def test_what_is_there_is_not_written_again(tiny_onnx: Path, tmp_path: Path) -> None:
    made = write_repository(ClipOnnx(tiny_onnx), tmp_path / "served")
    before = stamps(made)
    (made.folder / "clip-text" / "config.pbtxt").write_text("# mine\n")
    assert write_repository(ClipOnnx(tiny_onnx), tmp_path / "served") == made
    after = stamps(made)
    assert {name for name in before if before[name][0] != after[name][0]} == set()
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


def another_version(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_sharpzo.__version__", "9.9.9")


def a_cut_file(folder: Path, _: pytest.MonkeyPatch) -> None:
    os.truncate(folder / "clip-text" / "1" / "model.onnx", 100)


def a_lost_file(folder: Path, _: pytest.MonkeyPatch) -> None:
    (folder / "clip-tokens" / "1" / "model.onnx").unlink()


def another_model(folder: Path, _: pytest.MonkeyPatch) -> None:
    text = (folder / "edge-sharpzo.json").read_text()
    sha256 = json.loads(text)["sha256"]
    (folder / "edge-sharpzo.json").write_text(text.replace(sha256, sha256[::-1]))


@pytest.mark.parametrize("change", [another_version, a_cut_file, a_lost_file, another_model])
def test_what_is_of_something_else_is_replaced(
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    clip = ClipOnnx(tiny_onnx)
    made = write_repository(clip, tmp_path / "served")
    sizes = {name: made.file(name).stat().st_size for name in made.models}
    change(made.folder, monkeypatch)
    assert write_repository(clip, tmp_path / "served") == made
    assert {name: made.file(name).stat().st_size for name in made.models} == sizes
    assert json.loads((made.folder / "edge-sharpzo.json").read_text())["sha256"] == clip.sha256


def a_file(out: Path) -> None:
    out.write_text("mine")


def a_link(out: Path) -> None:
    (out.parent / "elsewhere").mkdir()
    out.symlink_to(out.parent / "elsewhere")


def a_folder_of_photos(out: Path) -> None:
    out.mkdir()
    (out / "cat.jpg").write_bytes(b"")


def somebody_elses_models(out: Path) -> None:
    (out / "clip-text" / "1").mkdir(parents=True)


@pytest.mark.parametrize("put", [a_file, a_link, a_folder_of_photos, somebody_elses_models])
def test_nothing_of_others_is_overwritten(
    tiny_onnx: Path, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    put(tmp_path / "served")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="give another --out"):
        write_repository(ClipOnnx(tiny_onnx), tmp_path / "served")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_put_beside_ours_is_kept(tiny_onnx: Path, tmp_path: Path) -> None:
    clip = ClipOnnx(tiny_onnx)
    made = write_repository(clip, tmp_path / "served")
    (made.folder / "resnet").mkdir()
    with pytest.raises(UserError, match="'resnet', which was not written here"):
        write_repository(clip, tmp_path / "served", "other")
    assert write_repository(clip, tmp_path / "served") == made


def test_an_empty_folder_will_do(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    assert write_repository(ClipOnnx(tiny_onnx), tmp_path / "served").models


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_write_that_fails_leaves_all_as_it_was(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    made = write_repository(ClipOnnx(tiny_onnx), tmp_path / "served")
    before, written = stamps(made), []

    def fail(*what: Any) -> None:
        written.append(what)
        if len(written) > after:
            raise OSError(28, "No space left on device")
        write(*what)

    write = repository.write_graph
    monkeypatch.setattr(repository, "write_graph", fail)
    with pytest.raises(OSError, match="No space"):
        write_repository(ClipOnnx(tiny_onnx), tmp_path / "served", "new")
    assert stamps(made) == before
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


@pytest.mark.parametrize("name", ["", ".clip", "a/b", "a b", "clip\n", "-x", "ä", "c" * 65])
def test_names_that_no_server_takes(tiny_onnx: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        write_repository(ClipOnnx(tiny_onnx), tmp_path / "served", name)
    assert not list(tmp_path.iterdir())


def test_a_tower_too_large_for_one_file(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = ClipOnnx(tiny_onnx)
    made = write_repository(clip, tmp_path / "served")
    largest = max(made.file(name).stat().st_size for name in made.models)
    monkeypatch.setattr(repository, "MOST_FILE_BYTES", largest - 4096)
    with pytest.raises(UserError, match="PRECISION=fp16 or PRECISION=int8"):
        write_repository(clip, tmp_path / "another")
    assert not (tmp_path / "another").exists()


@pytest.mark.parametrize("flag", [GRPC, HTTP])
def test_answers_are_sent_at_once(flag: str) -> None:
    """What comes in there is TCP to asyncio, which waits for no more to send then."""
    with Listen("127.0.0.1", *free_ports(2)).bound(flag) as bound:
        assert bound.proto == socket.IPPROTO_TCP


# -- MLServer ------------------------------------------------------------------------------------


@dataclass
class Running:
    """A server, the model that it serves, and its two clients."""

    clip: ClipOnnx
    grpc_port: int
    http_port: int

    def client(self, module: ModuleType) -> Any:
        port = self.grpc_port if module.__name__.endswith("grpc") else self.http_port
        return module.InferenceServerClient(f"127.0.0.1:{port}")

    def infer(
        self, module: ModuleType, model: str, feeds: Mapping[str, np.ndarray], **more: Any
    ) -> Any:
        inputs = []
        for name, array in {"nonce": SENT, **feeds}.items():
            inputs.append(module.InferInput(name, array.shape, TYPES[array.dtype.name]))
            inputs[-1].set_data_from_numpy(array)
        return self.client(module).infer(f"clip-{model}", inputs, **more)


@pytest.fixture(scope="module", params=FAMILIES)
def running(
    request: pytest.FixtureRequest, exported: Callable[[str], Exported]
) -> Iterator[Running]:
    needs_mlserver()
    onnx = exported(request.param).onnx
    with mlserver(onnx, "--threads", 1) as (grpc_port, http_port, _):
        yield Running(ClipOnnx(onnx, threads=1), grpc_port, http_port)


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> ModuleType:
    """tritonclient's module."""
    module: ModuleType = pytest.importorskip(f"tritonclient.{request.param}")
    return module


CALLS = [(1, 3), (3, 5), (16, 3), (1, 0)]  # candidates, and tokens of their contexts


@pytest.mark.parametrize("call", CALLS)
def test_text_features_are_those_of_a_local_run(
    running: Running, protocol: ModuleType, call: tuple[int, int]
) -> None:
    feeds = text_feeds(running.clip, *call)
    answer = running.infer(protocol, "text", feeds)
    right = local(running.clip, Tower.TEXT, feeds)
    np.testing.assert_array_equal(answer.as_numpy("text_features"), right)
    assert answer.as_numpy("text_features").dtype == np.float32
    np.testing.assert_array_equal(answer.as_numpy("nonce_echo"), SENT)
    assert answer.as_numpy("model_sha256").tobytes().hex() == running.clip.sha256


def test_the_other_towers_and_the_card(running: Running, protocol: ModuleType) -> None:
    clip = running.clip
    rows = running.infer(protocol, "tokens", {"token_ids": np.array([5, 0, 5])})
    np.testing.assert_array_equal(
        rows.as_numpy("token_embeddings"), clip.token_embeddings([5, 0, 5])
    )
    feeds = image_feeds(clip, 3)
    found = running.infer(protocol, "image", feeds).as_numpy("image_features")
    np.testing.assert_array_equal(found, local(clip, Tower.IMAGE, feeds, True))
    card = running.infer(protocol, "card", {}).as_numpy("card")
    assert Companion.of_array(card) == Companion.of(clip)


def test_only_what_is_asked_for_is_sent(running: Running, protocol: ModuleType) -> None:
    wanted = [protocol.InferRequestedOutput("model_sha256")]
    feeds = {"token_ids": np.array([1])}
    answer = running.infer(protocol, "tokens", feeds, outputs=wanted)
    assert answer.as_numpy("token_embeddings") is None
    assert answer.as_numpy("model_sha256").tobytes().hex() == running.clip.sha256


def test_plain_json_will_do(running: Running) -> None:
    import tritonclient.http as protocol

    sent = []
    for name, array in (("token_ids", np.array([4, 2])), ("nonce", SENT)):
        sent.append(protocol.InferInput(name, array.shape, TYPES[array.dtype.name]))
        sent[-1].set_data_from_numpy(array, binary_data=False)
    wanted = [protocol.InferRequestedOutput("token_embeddings", binary_data=False)]
    answer = running.client(protocol).infer("clip-tokens", sent, outputs=wanted)
    right = running.clip.token_embeddings([4, 2])
    np.testing.assert_array_equal(answer.as_numpy("token_embeddings"), right)


def test_many_devices_at_once_get_their_own_answers(running: Running) -> None:
    import tritonclient.grpc as protocol

    def ask(number: int) -> bool:
        feeds = text_feeds(running.clip, 1 + number % 5)
        answer = running.infer(protocol, "text", feeds).as_numpy("text_features")
        return np.array_equal(answer, right[number % 5])

    right = [local(running.clip, Tower.TEXT, text_feeds(running.clip, 1 + n)) for n in range(5)]
    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(ask, range(40)))


WRONG: dict[str, tuple[Callable[[Feeds], object], str]] = {
    "one is missing": (lambda f: f.pop("eot"), "the input eot is missing"),
    "none at all": (lambda f: f.clear(), "is missing: send ctx"),
    "one too many": (lambda f: f.update(more=f["ctx"]), "there is no input 'more'"),
    "too narrow": (lambda f: f.update(ctx=f["ctx"][:, :, 1:]), r"float32 \[2, 3, 31\]: send FP32"),
    "a dimension less": (lambda f: f.update(ctx=f["ctx"][0]), r"float32 \[3, 32\]: send FP32"),
    "another type": (lambda f: f.update(eot=f["eot"].astype(np.int32)), "FP32, INT64|is INT32"),
    "floats for whole": (lambda f: f.update(eot=f["eot"].astype(np.float32)), "eot is FP32"),
    "no such row": (lambda f: f.update(eot=f["eot"] + 10**6), "what belongs together"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_in_a_line(
    running: Running, protocol: ModuleType, what: str
) -> None:
    edit, told = WRONG[what]
    feeds = text_feeds(running.clip)
    edit(feeds)
    if what == "no such row" and "after" in feeds:
        feeds["after"] = feeds["after"][:1]  # a dense tower's end is not looked up
    with pytest.raises(Exception, match=told) as refused:
        running.infer(protocol, "text", feeds)
    error: Any = refused.value
    assert error.status() in ("StatusCode.INVALID_ARGUMENT", "400")
    assert "Traceback" not in str(error)
    assert "\n" not in str(error)


def test_no_such_model_and_no_such_output(running: Running, protocol: ModuleType) -> None:
    feeds = {"token_ids": np.array([1])}
    with pytest.raises(Exception, match="clip-audio"):
        running.infer(protocol, "audio", feeds)
    wanted = [protocol.InferRequestedOutput("features")]
    with pytest.raises(Exception, match="no output 'features': ask for token_embeddings"):
        running.infer(protocol, "tokens", feeds, outputs=wanted)


@pytest.mark.parametrize(
    ("shape", "kind", "raw"),
    [
        ([3], "INT64", bytes(16)),
        ([1], "INT64", bytes(9)),
        ([10**12], "INT64", bytes(8)),
        ([-1], "INT64", bytes(8)),
        ([2], "INT65", bytes(16)),
    ],
)
def test_bytes_that_are_not_what_they_say(
    running: Running, shape: list[int], kind: str, raw: bytes
) -> None:
    grpc = pytest.importorskip("grpc")
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    request = service_pb2.ModelInferRequest(model_name="clip-tokens")
    request.inputs.add(name="token_ids", datatype=kind, shape=shape)
    request.raw_input_contents.append(raw)
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="not what its type and shape say") as refused:
            stub.ModelInfer(request)
    error: Any = refused.value
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def post(port: int, body: bytes, model: str = "clip-tokens", **headers: str) -> tuple[int, str]:
    """Status and text of the answer to a request."""
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"
    sent = {"Content-Type": "application/json"} | {k.replace("_", "-"): headers[k] for k in headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


IDS = {"name": "token_ids", "datatype": "INT64", "shape": [2], "data": [1, 2]}
ONCE = {"name": "nonce", "datatype": "UINT8", "shape": [2], "data": [0, 255]}
BINARY = {**IDS, "parameters": {"binary_data_size": 16}}


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([IDS, {**ONCE, "data": [0, 256]}], "too large or too small"),
        ([IDS, {**ONCE, "data": [-1, 0]}], "too large or too small"),
        ([IDS, {**ONCE, "data": [0.5, 0]}], "not all are whole numbers"),
        ([IDS, {**ONCE, "datatype": "INT64"}], "send UINT8"),
        ([IDS], "the input nonce is missing"),
        ([{**IDS, "data": [1, 2.5]}], "whole numbers"),
        ([{**IDS, "data": [1, None]}], "whole numbers"),
        ([{**IDS, "data": ["a", "b"]}], "whole numbers"),
        ([{**IDS, "data": [1, 2**80]}], "whole numbers"),
        ([{**IDS, "data": [[1], [2, 3]]}], "does not hold what its shape"),
        ([{**IDS, "shape": [3]}], "does not hold what its shape"),
        ([{**IDS, "shape": [1, 2]}], r"int64 [1, 2]: send INT64 [-1]"),
        ([IDS, IDS], "sent twice"),
        ([{**IDS, "data": [1, 10**9]}], "what belongs together"),
        ([{**IDS, "data": [-(10**9), 1]}], "what belongs together"),
        ([], "the input token_ids is missing"),
    ],
)
def test_json_that_does_not_fit(running: Running, inputs: list[Any], told: str) -> None:
    more = [] if "nonce" in told or ONCE["name"] in {each["name"] for each in inputs} else [ONCE]
    status, text = post(running.http_port, json.dumps({"inputs": [*inputs, *more]}).encode())
    assert (status, told in text) == (400, True), text


@pytest.mark.parametrize("pixel", [None, "0.5", {"red": 1}])
def test_floats_are_numbers(running: Running, pixel: object) -> None:
    sent = {"name": "pixel_values", "datatype": "FP32", "shape": [1], "data": [pixel]}
    body = json.dumps({"inputs": [sent, ONCE]}).encode()
    status, text = post(running.http_port, body, "clip-image")
    assert (status, "not all are numbers" in text) == (400, True), text


@pytest.mark.parametrize(
    ("request_json", "rest", "length"),
    [
        ({"inputs": [BINARY]}, bytes(8), None),
        ({"inputs": [BINARY]}, bytes(24), None),
        ({"inputs": [{**BINARY, "shape": [3]}]}, bytes(16), None),
        ({"inputs": [{**BINARY, "datatype": "BYTES"}]}, bytes(16), None),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": "x"}}]}, bytes(16), None),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": -8}}]}, bytes(16), None),
        ({"inputs": [BINARY]}, bytes(16), "10"),
        ({"inputs": [BINARY]}, bytes(16), "-3"),
        ({"inputs": [BINARY]}, bytes(16), "many"),
        ({"inputs": 3}, bytes(16), None),
        ([], bytes(16), None),
    ],
)
def test_binary_tensors_that_do_not_fit(
    running: Running, request_json: Any, rest: bytes, length: str | None
) -> None:
    head = json.dumps(request_json).encode()
    headers = {"Inference_Header_Content_Length": length or str(len(head))}
    status, text = post(running.http_port, head + rest, **headers)
    assert (status, "no request with binary tensors" in text) == (400, True), text


def test_a_compressed_request_is_not_unpacked(running: Running) -> None:
    assert post(running.http_port, b"{}", Content_Encoding="gzip")[0] == 415


def test_a_request_may_not_be_of_any_size() -> None:
    import asyncio

    from serving.binary_rest import BinaryTensors

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": bytes(60), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "headers": []}
    asyncio.run(BinaryTensors(never, most=100)(scope, receive, send))
    assert sent[0]["status"] == 413
    assert b"larger than 100 bytes" in sent[1]["body"]


# -- the command ---------------------------------------------------------------------------------


def serve(*more: object) -> subprocess.CompletedProcess[str]:
    """The command, which is expected to end."""
    command = [sys.executable, "-m", "serving", *map(str, more)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_it_all(tiny_onnx: Path, number: int, status: int) -> None:
    needs_mlserver()
    with mlserver(tiny_onnx) as (grpc_port, http_port, process):
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (status, "", "")
    for port in (grpc_port, http_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_damaged_repository_is_said_to_be_so(tiny_onnx: Path, tmp_path: Path) -> None:
    needs_mlserver()
    made = write_repository(ClipOnnx(tiny_onnx), tmp_path / "served")
    with made.file("clip-text").open("r+b") as stream:  # of the same size
        stream.write(b"\xff" * 300)
    ports = free_ports(2)
    flags = ["--out", made.folder, "--grpc-port", ports[0], "--http-port", ports[1]]
    ended = serve("--onnx", tiny_onnx, *flags)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"model.onnx is damaged: delete {made.folder}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    needs_mlserver()
    (free,) = free_ports(1)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as gRPC does
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flags in (("--grpc-port", port, "--http-port", free), ("--http-port", port)):
            ended = serve("--onnx", tiny_onnx, "--out", tmp_path / "served", *flags)
            assert ended.returncode == 2
            assert f"port {port} is taken: give another {flags[0]}" in ended.stderr
    assert not (tmp_path / "served").exists()


UNCHECKED = """
from serving.listen import Listen
Listen.check = lambda self: None  # as if the ports were taken right after it
from serving.__main__ import app
app()
"""


@pytest.mark.parametrize(
    "taken",
    slow_unless(
        lambda taken: taken != "http-port", ["grpc-port", "http-port", "both, by a server"]
    ),
)
def test_a_port_that_is_taken_meanwhile_is_named(
    tiny_onnx: Path, tmp_path: Path, taken: str
) -> None:
    """Nothing says that it is served, whoever answers there."""
    needs_mlserver()
    command = [sys.executable, "-c", UNCHECKED, "--onnx", tiny_onnx, "--out", tmp_path / "served"]

    def refused(grpc_port: int, http_port: int, named: str) -> None:
        ended = subprocess.run(
            [*map(str, command), f"--grpc-port={grpc_port}", f"--http-port={http_port}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        port = grpc_port if named == "grpc-port" else http_port
        cure = f"port {port} is taken: give another --{named}, or stop what listens there"
        assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"serving: {cure}\n")
        assert [path.name for path in tmp_path.iterdir()] == ["served"]

    if taken.startswith("both"):
        with mlserver(tiny_onnx) as (grpc_port, http_port, process):
            refused(grpc_port, http_port, "http-port")
            assert process.poll() is None
        return
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as gRPC does
        other.bind(("127.0.0.1", 0))
        other.listen()
        (free,), port = free_ports(1), other.getsockname()[1]
        refused(*((port, free) if taken == "grpc-port" else (free, port)), taken)


def test_of_two_that_start_at_once_one_serves(tiny_onnx: Path, tmp_path: Path) -> None:
    needs_mlserver()
    grpc_port, http_port = free_ports(2)
    command = [sys.executable, "-m", "serving", "--onnx", str(tiny_onnx)]
    command += [f"--grpc-port={grpc_port}", f"--http-port={http_port}"]
    both = [
        subprocess.Popen(
            [*command, f"--out={tmp_path / name}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    until = time.monotonic() + 120
    while all(each.poll() is None for each in both) and time.monotonic() < until:
        time.sleep(0.05)
    served, refused = sorted(both, key=lambda each: each.poll() is not None)
    out, err = refused.communicate(timeout=20)
    assert (refused.returncode, out) == (2, "")
    assert re.fullmatch(rf"serving: port ({grpc_port}|{http_port}) is taken: .*\n", err)
    assert served.stdout
    assert "is served, until Ctrl-C" in served.stdout.readline()
    served.send_signal(signal.SIGTERM)
    assert served.communicate(timeout=20) == ("", "")
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--host", "203.0.113.7"], "cannot listen on 203.0.113.7"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--host", "::1"], "IPv4"),
        (["--grpc-port", "8123", "--http-port", "8123"], "give two ports"),
        (["--onnx", "gone.onnx"], "gone.onnx does not exist"),
        (["--onnx", "README.md"], "README.md is not an ONNX file"),
        (["--name", "a/b"], "--name a/b: take letters"),
        (["--out", "README.md"], "is no folder"),
    ],
)
def test_the_command_says_what_to_mend(
    tiny_onnx: Path, tmp_path: Path, flags: list[str], told: str
) -> None:
    needs_server = "--host" in flags or "--grpc-port" in flags
    if needs_server:
        needs_mlserver()
    server = [] if needs_server else ["--server", "none"]
    ended = serve("--onnx", tiny_onnx, "--out", tmp_path / "served", *server, *flags)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_repository_alone(tiny_onnx: Path, tmp_path: Path) -> None:
    ended = serve("--onnx", tiny_onnx, "--out", tmp_path / "served", "--server", "none")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "clip-card, clip-text, clip-tokens, clip-image" in ended.stdout


def test_a_server_that_is_not_installed_says_how_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import __main__ as command

    monkeypatch.setattr(command, "find_spec", lambda _: None)
    for server, told in (("mlserver", "make serve-model ONNX"), ("triton", "SERVER=triton ONNX")):
        with pytest.raises(UserError, match=told):
            command._check_installed(command.Server(server))
    monkeypatch.setattr("sys.version_info", (3, 13, 0))
    with pytest.raises(UserError, match=r"PYTHON=python3\.12"):
        command._check_installed(command.Server.mlserver)


@pytest.mark.slow
def test_triton_gives_the_same_numbers(exported: Callable[[str], Exported]) -> None:
    made = subprocess.run(
        ["make", ".venv-triton/ready", f"PYTHON={sys.executable}"], cwd=ROOT, check=False
    )
    if made.returncode:
        pytest.skip("nvidia-pytriton cannot be installed here")
    protocol = pytest.importorskip("tritonclient.grpc")
    for family in FAMILIES:
        onnx = exported(family).onnx
        with triton(ROOT / ".venv-triton/bin/python", onnx, "--threads", 1) as (*ports, process):
            running = Running(ClipOnnx(onnx, threads=1), *ports)
            for call in CALLS:
                feeds = text_feeds(running.clip, *call)
                found = running.infer(protocol, "text", feeds).as_numpy("text_features")
                np.testing.assert_array_equal(found, local(running.clip, Tower.TEXT, feeds))
            for edit, _ in (WRONG["one is missing"], WRONG["too narrow"], WRONG["another type"]):
                feeds = text_feeds(running.clip)
                edit(feeds)
                with pytest.raises(Exception, match="clip-text") as refused:
                    running.infer(protocol, "text", feeds)
                error: Any = refused.value
                assert error.status() == "StatusCode.INVALID_ARGUMENT"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))


def test_a_repository_that_is_served_is_not_written_again(tiny_onnx: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    shutil.copy(EMBEDDED_MODEL, other)
    out = tmp_path / "served"
    command = [sys.executable, "-m", "serving", "--server", "none", "--out", str(out), "--onnx"]
    with used(out) as use:
        write_repository(ClipOnnx(tiny_onnx), out, may_write=use.is_alone)
        use.share()
        same = subprocess.run(
            [*command, str(tiny_onnx)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert same.returncode == 0, same.stderr
        refused = subprocess.run(
            [*command, str(other)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert "is being served" in refused.stderr
    assert subprocess.run([*command, str(other)], cwd=ROOT, check=False).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.onnx", "served"]


def lock_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.lock")


def test_the_last_user_deletes_the_lock(tmp_path: Path) -> None:
    out = tmp_path / "served"
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(used(out)).share()
        assert not second.enter_context(used(out)).is_alone
        first.close()
        assert lock_of(out).exists(), "the second still reads"
        with used(out) as third:
            assert not third.is_alone
        second.close()
        assert not lock_of(out).exists()
    with used(out) as use:
        assert use.is_alone


@pytest.mark.parametrize("put", [Path.touch, Path.unlink])
def test_a_lock_that_somebody_replaced_is_left_alone(
    put: Callable[[Path], None], tmp_path: Path
) -> None:
    """By a file of theirs, or by nothing; and whoever writes is in nobody's way."""
    out = tmp_path / "served"
    with used(out) as use:
        with pytest.raises(UserError, match="is being written by another process"), used(out):
            pass
        assert lock_of(out).exists(), "a refusal deletes nothing"
        lock_of(out).unlink()
        lock_of(out).touch()
        put(lock_of(out))
        with pytest.raises(UserError, match="start again"):
            use.share()
    assert lock_of(out).exists() is (put is Path.touch)


@pytest.mark.parametrize("flags", [["--onnx", "README.md"], ["--name", "a/b"], ["--onnx", "gone"]])
def test_a_refusal_leaves_no_lock(flags: list[str], tmp_path: Path) -> None:
    ended = serve("--out", tmp_path / "served", "--server", "none", *flags)
    assert ended.returncode == 2
    assert list(tmp_path.iterdir()) == []
