"""Services that take strings and photos alone: the template with a closed-form head, by `tune`."""

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import invoke, tune, write_photos
from PIL import Image

if not find_spec("tritonclient"):
    pytest.skip("the extra `remote` is not installed", allow_module_level=True)

from http_service import Model, Tensors, models
from servers import embedding_server

import edge_sharpzo
from edge_sharpzo.clip import ClipOnnx
from edge_sharpzo.engines import service, spread
from edge_sharpzo.system.tensors import load_tensors

Served = dict[str, Model]
TEXT, IMAGE = "embed-text", "embed-image"


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "PATIENCE", 0.3)
    monkeypatch.setattr(service, "AT_START", 0.3)
    monkeypatch.setattr(spread, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(spread, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(spread, "LOST_PAUSE", 0.05)


def served(onnx: Path) -> Served:
    """Both models of an embedding service, computed by the model file `onnx`; not normalised."""
    clip = ClipOnnx(onnx)
    tower = clip.image_tower()

    def texts(given: Tensors) -> Tensors:
        found = [text.decode() for text in given["text"]]
        return {"embedding": 3 * clip.written_features(clip.prompts.as_written(found, "{}"))}

    def photos(given: Tensors) -> Tensors:
        found = [Image.open(io.BytesIO(file)) for file in given["file"]]
        return {"vector": 7 * tower.encode_all(found)}

    return {
        TEXT: Model({"text": "BYTES"}, {"embedding": "FP32"}, texts),
        IMAGE: Model({"file": "BYTES"}, {"vector": "FP32"}, photos),
    }


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of each of three colours."""
    root = tmp_path_factory.mktemp("few")
    for hue, name in ((0, "red_things"), (90, "green_things"), (170, "blue_things")):
        write_photos(root / name, hue, 3, seed=1)
    return root


@pytest.fixture
def there(tiny_onnx: Path) -> Iterator[Any]:
    with models(served(tiny_onnx)) as server:
        yield server


def at(server: Any, name: str = "embed") -> str:
    return f"kserve+http://127.0.0.1:{server.server_port}/{name}"


def tuned(server: Any, photos: Path, out: Path, *more: object) -> Any:
    words = ["tune", "--engine", at(server), "--data", photos, "--out", out, "--shots", 6]
    return invoke(*words, *more)


def calls(server: Any, name: str) -> list[Tensors]:
    return [given for path, given in server.asked if path == f"/v2/models/{name}/infer"]


def test_a_run_leaves_the_template_with_a_head(
    there: Any, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = tuned(there, photos, run, "--send-photos")
    assert result.exit_code == 0, result.output
    host = f"127.0.0.1:{there.server_port}/embed"
    note = f"warning: {host} takes strings, so no prompt can be tuned: the classifier is the"
    assert f"{note} template with a closed-form head\n" in result.stderr
    for line in ("no queries", "the classifier mixes the template as written with the text-gda"):
        assert line in result.stdout
    assert "tuned prompt" not in result.stdout
    written = {each.name for each in run.iterdir()}
    results = {"summary.json", "history.jsonl", "prompt.safetensors", "report.html", "config.json"}
    assert written == results
    (record,) = (json.loads(line) for line in (run / "history.jsonl").read_text().splitlines())
    assert (record["queries"], record["stage"]) == (0, "start")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["method"] == "none"
    assert summary["queries"] == {"total": 0, "by_kind": {}}
    assert summary["model"]["name"] == "embed"
    assert record["loss"] == summary["loss"]["start"] == summary["loss"]["end"]

    # The model's own run of a few queries has the same template and, of the same head, the same
    # answers: the photos are told apart by their colours, whatever they are resized to on the way.
    local = tune(tiny_onnx, photos, tmp_path / "local", "--budget", 50)
    mine, theirs = summary["accuracy"], local["accuracy"]
    assert mine["head"]["test"] == theirs["head"]["test"] == 1
    assert mine["classifier"]["test"] == theirs["classifier"]["test"] == 1
    assert mine["zero_shot"] == pytest.approx(theirs["zero_shot"], abs=0.12)
    assert mine["tuned"] == mine["zero_shot"]
    assert mine["classifier"]["prompt"] == "template"


def test_texts_and_photos_come_as_they_are(there: Any, photos: Path, tmp_path: Path) -> None:
    """Whole prompts, and PNG files of one size without what else a photo's file may hold."""
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    exif = Image.Exif()
    exif[0x010F] = "a secret camera"
    Image.new("RGB", (600, 400), "red").save(data / "train" / "red_things" / "x.jpg", exif=exif)
    assert tuned(there, data, tmp_path / "run", "--send-photos", "--shots", 7).exit_code == 0
    texts = {text.decode() for call in calls(there, TEXT) for text in call["text"]}
    prompts = {f"a photo of a {colour} things." for colour in ("red", "green", "blue")}
    assert texts == {"a photo", *prompts}
    files = [file for call in calls(there, IMAGE) for file in call["file"]]
    assert len(files) == 37
    for file in files:
        picture = Image.open(io.BytesIO(file))
        assert (picture.format, picture.size, picture.mode) == ("PNG", (336, 336), "RGB")
        assert not picture.info
        assert not picture.getexif()


def test_the_commands_on_such_a_run(there: Any, photos: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    assert tuned(there, photos, run, "--send-photos").exit_code == 0
    result = tuned(there, photos, other, "--send-photos", "--head", "none")
    assert result.exit_code == 0
    assert "the classifier is the template as written alone" in result.stdout
    photo = photos / "test" / "blue_things" / "003.png"
    answer = invoke("predict", run, photo, "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)[0]["class"] == "blue_things"
    again = invoke("eval", run, "--data", photos, "--json")
    assert again.exit_code == 0, again.output
    summary = json.loads((run / "summary.json").read_text())
    assert json.loads(again.stdout)["accuracy"] == summary["accuracy"]["classifier"]["test"]
    table = invoke("compare", run, other)
    assert table.exit_code == 0, table.output
    (line,) = (line.split() for line in table.stdout.splitlines() if "method" in line)
    assert line == ["method", "none", "none"]
    assert "cannot be compared" not in table.stdout
    assert json.loads(invoke("info", run).stdout)["method"] == "none"
    checked = invoke("check", "--data", photos, "--engine", at(there), "--send-photos")
    assert checked.exit_code == 0, checked.output
    report = (run / "report.html").read_text()
    assert "no prompt tuned, since the engine takes strings" in report
    assert "tuned prompt" not in report


def test_from_python_with_names_and_background(there: Any, photos: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    write_photos(data / "_background", 40, 8, seed=3)
    (tmp_path / "more.txt").write_text("yellow things\n")
    told: list[object] = []
    run = edge_sharpzo.tune(
        data,
        engine=at(there),
        send_photos=True,
        shots=6,
        out=tmp_path / "run",
        more_classes=tmp_path / "more.txt",
        on_progress=told.append,
    )
    assert run.summary.without_photos is not None
    assert run.summary.known is not None
    assert run.summary.known.background == 8
    classifier = edge_sharpzo.Classifier.load(run.folder, also=["a bus"])
    assert set(classifier.labels) >= {"yellow things", "a bus", "red_things"}
    assert classifier.evaluate(data).accuracy == run.summary.accuracy.classifier.test


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--budget", 500), "; --budget makes no difference"),
        (("--method", "cma-es", "--minutes", 2), "; --method, --minutes make no difference"),
        (("--start", "words"), "; --start makes no difference"),
        (("--context-tokens", 4), "; --context-tokens makes no difference"),
        (("--preset", "paper"), "; --preset makes no difference"),
        (("--head", "none"), "the classifier is the template\n"),
    ],
)
def test_what_makes_no_difference_is_told(
    more: tuple[object, ...], told: str, there: Any, few: Path, tmp_path: Path
) -> None:
    result = tuned(there, few, tmp_path / "run", "--send-photos", *more)
    assert result.exit_code == 0, result.output
    assert told in result.stderr


def test_a_run_goes_on(there: Any, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert tuned(there, photos, run, "--send-photos").exit_code == 0
    prompt, history = load_tensors(run / "prompt.safetensors"), (run / "history.jsonl").read_text()
    for name in ("summary.json", "history.jsonl", "prompt.safetensors", "report.html"):
        (run / name).unlink()
    before = len(calls(there, IMAGE))
    result = invoke("tune", "--resume", run)
    assert result.exit_code == 0, result.output
    assert (run / "history.jsonl").read_text() == history
    again = load_tensors(run / "prompt.safetensors")
    assert again[1] == prompt[1]
    assert all(np.array_equal(again[0][name], part) for name, part in prompt[0].items())
    assert len(calls(there, IMAGE)) == before, "no photo goes twice"


def test_without_leave_no_photo_goes(there: Any, photos: Path, tmp_path: Path) -> None:
    result = tuned(there, photos, tmp_path / "run")
    assert result.exit_code == 2
    assert "allow that with --send-photos" in result.stderr
    assert not there.asked


def test_a_model_file_is_refused(there: Any, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    result = tuned(there, photos, tmp_path / "run", "--send-photos", "--onnx", tiny_onnx)
    assert result.exit_code == 2
    assert "leave --onnx out" in result.stderr
    assert not there.asked


def _made(what: Callable[[np.ndarray], np.ndarray], model: Model, name: str) -> Model:
    """The model with another output."""
    return Model(model.inputs, model.outputs, lambda given: {name: what(model.run(given)[name])})


def _texts(what: Callable[[np.ndarray], np.ndarray]) -> Callable[[Served], Served]:
    return lambda good: {**good, TEXT: _made(what, good[TEXT], "embedding")}


def _photos(what: Callable[[np.ndarray], np.ndarray]) -> Callable[[Served], Served]:
    return lambda good: {**good, IMAGE: _made(what, good[IMAGE], "vector")}


def _declared(name: str, inputs: dict[str, str], outputs: dict[str, str]) -> Any:
    return lambda good: {**good, name: Model(inputs, outputs, good[name].run)}


def _same_text(rows: np.ndarray) -> np.ndarray:
    return np.tile(rows[:1], (len(rows), 1))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda good: {TEXT: good[TEXT]}, "takes strings, but has no 'embed-image': serve"),
        (lambda good: {"embed": good[TEXT]}, "takes strings, but has no 'embed-text': serve"),
        (_declared(IMAGE, {"pixels": "FP32"}, {"v": "FP32"}), "'embed-image' of .* pixels FP32"),
        (_declared(IMAGE, {"a": "BYTES", "b": "BYTES"}, {"v": "FP32"}), "a BYTES, b BYTES"),
        (_declared(TEXT, {"text": "BYTES"}, {"a": "FP32", "b": "FP32"}), "a FP32, b FP32"),
        (_declared(TEXT, {"text": "BYTES"}, {"label": "BYTES"}), "label BYTES.*FP32 .N, D."),
        (_photos(lambda rows: rows[:, :-1]), "of 23 numbers for photos, and of 24 for texts"),
        (_photos(lambda rows: np.repeat(rows, 2, 1)), "of 48 numbers for photos"),
        (_texts(lambda rows: rows[:-1]), r"float32 \[0, 24\] for 1 texts"),
        (_texts(lambda rows: rows[:2]), r"float32 \[2, 24\] for 3 texts, expected float32 \[3, D"),
        (_photos(lambda rows: rows[:0]), r"float32 \[0, 24\] for 1 photos"),
        (_photos(lambda rows: rows[0]), r"float32 \[24\] for 1 photos"),
        (_texts(lambda rows: rows[..., None]), r"\[1, 24, 1\] for 1 texts"),
        (_texts(lambda rows: rows.astype(np.float64)), "gives float64"),
        (_texts(lambda rows: rows * np.nan), "no finite numbers"),
        (_photos(lambda rows: rows * np.inf), "no finite numbers"),
        (_photos(lambda rows: 0 * rows), "zeros alone"),
        (_texts(_same_text), "read the same to the model"),
    ],
)
def test_a_service_that_does_not_fit_is_told(
    bad: Callable[[Served], Served], why: str, tiny_onnx: Path, few: Path, tmp_path: Path
) -> None:
    with models(bad(served(tiny_onnx))) as server:
        result = tuned(server, few, tmp_path / "run", "--send-photos")
    assert result.exit_code == 2, result.output
    assert re.search(why, result.stderr), result.stderr
    assert "Traceback" not in result.output


def turned(good: Served) -> Served:
    """Another model by the same names: every feature's numbers the other way round."""

    def flip(rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows[:, ::-1])

    return _photos(flip)(_texts(flip)(good))


def test_another_model_behind_the_same_name_is_refused(
    there: Any, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert tuned(there, photos, run, "--send-photos").exit_code == 0
    photo = photos / "test" / "blue_things" / "003.png"
    there.models = turned(there.models)
    for words in (("predict", run, photo), ("eval", run, "--data", photos)):
        result = invoke(*words)
        assert result.exit_code == 2
        assert "serves another model now" in result.stderr
    # A new run takes no photo's feature of the other model from the cache.
    before = len(calls(there, IMAGE))
    assert tuned(there, photos, tmp_path / "new", "--send-photos").exit_code == 0
    assert len(calls(there, IMAGE)) - before == 36


def test_endpoints_of_different_models_are_refused(
    there: Any, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    with models(turned(served(tiny_onnx))) as other:
        both = f"{at(there)},{at(other)}"
        words = ["--data", photos, "--out", tmp_path / "run", "--send-photos"]
        result = invoke("tune", "--engine", both, *words)
    assert result.exit_code == 2
    assert "serve different models" in result.stderr


def test_an_endpoint_that_comes_later_with_another_model_is_refused(
    there: Any, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    late = turned(served(tiny_onnx))
    embed = late[TEXT].run

    def once_photos_go(given: Tensors) -> Tensors:
        assert calls(there, IMAGE)
        return embed(given)

    late[TEXT].run = once_photos_go
    with models(late) as other:
        both = f"{at(there)},{at(other)}"
        words = ["--data", photos, "--out", tmp_path / "run", "--send-photos"]
        result = invoke("tune", "--engine", both, *words)
        assert not calls(other, IMAGE)
    assert result.exit_code == 2
    assert "serve different models" in result.stderr


def test_several_endpoints_share_the_photos(
    there: Any, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    with models(served(tiny_onnx)) as other:
        both = f"{at(there)},{at(other)}"
        words = ["--data", photos, "--out", tmp_path / "run", "--send-photos"]
        result = invoke("tune", "--engine", both, *words)
        assert result.exit_code == 0, result.output
        each = [len(calls(server, IMAGE)) for server in (there, other)]
    assert min(each) > 0
    assert sum(each) >= 36


@pytest.mark.skipif(not find_spec("mlserver"), reason="MLServer is not for this Python")
def test_a_real_server_over_grpc(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    with embedding_server(tiny_onnx, tmp_path / "served") as port:
        words = ["tune", "--engine", f"kserve://127.0.0.1:{port}/embed-text", "--data", photos]
        words += ["--out", tmp_path / "run", "--send-photos", "--json"]
        result = invoke(*words)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["accuracy"]["classifier"]["test"] == 1
        photo = photos / "test" / "red_things" / "000.png"
        answer = invoke("predict", tmp_path / "run", photo, "--json")
        assert answer.exit_code == 0, answer.output


def test_the_doctor_says_what_it_is_good_for(there: Any) -> None:
    result = invoke("doctor", "--engine", at(there))
    assert result.exit_code == 0, result.output
    assert "no prompt can be tuned with it" in result.stdout
    found = json.loads(invoke("doctor", "--engine", at(there), "--json").stdout)
    assert found["access"] == "strings"
