"""Whatever is wrong: one line that names it and its cure, exit code 2, no traceback, nothing
half-written.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import Place, invoke, photo, write_photos
from onnx import TensorProto, helper
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from edge_sharpzo.clip.card import TOKENIZER_KEY


def foreign_onnx(place: Place) -> Path:
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    onnx.save(
        helper.make_model(helper.make_graph([node], "g", value[:1], value[1:])),
        place.tmp / "foreign.onnx",
    )
    return place.tmp / "foreign.onnx"


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil.corp"


def data_elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")


def damaged_tokenizer(model: onnx.ModelProto) -> None:
    entry = next(entry for entry in model.metadata_props if entry.key == TOKENIZER_KEY)
    entry.value = entry.value[: len(entry.value) // 2]


def without_output(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


def unreadable_class(place: Place) -> Path:
    data = place.copied_photos()
    for file in (data / "train" / "red_things").iterdir():
        file.write_bytes(b"not a photo")
    return data


def damaged_run(place: Place, name: str, content: bytes) -> Path:
    run = Path(shutil.copytree(place.run, place.tmp / "run"))
    (run / name).write_bytes(content)
    return run


def edited_config(place: Place, **options: str) -> Path:
    """A run with some options changed in its settings."""
    config = json.loads((place.run / "config.json").read_text())
    config["options"] |= options
    return damaged_run(place, "config.json", json.dumps(config).encode())


def stopped_run(place: Place, checkpoint: bytes, **options: str) -> Path:
    """A run without its results, with `checkpoint` and some options changed."""
    run = damaged_run(place, "checkpoint.safetensors", checkpoint)
    for file in ("summary.json", "prompt.safetensors", "history.jsonl"):
        (run / file).unlink()
    config = json.loads((run / "config.json").read_text())
    config["options"] |= options
    (run / "config.json").write_text(json.dumps(config))
    return run


def other_photos(place: Place) -> Path:
    data = place.copied_photos()
    write_photos(data / "train" / "red_things", 0, 1, seed=9, start=90)
    return data


def other_model(place: Place) -> Path:
    return place.edited_card('"name": "', '"name": "other ')


def one_class(place: Place) -> Path:
    shutil.copytree(place.photos / "train" / "red_things", place.tmp / "data" / "red_things")
    return place.tmp / "data"


def odd_folder(place: Place, name: bytes) -> Path:
    data = place.copied_photos()
    (data / "train" / "red_things").rename(data / "train" / os.fsdecode(name))
    shutil.rmtree(data / "test")
    return data


def stray_class(place: Place, split: str) -> Path:
    data = place.copied_photos()
    write_photos(data / split / "purple_things", 200, 2, seed=1)
    return data


def clutter(place: Place) -> Path:
    for name in (".cache", "__MACOSX"):
        write_photos(place.tmp / "data" / name, 0, 2, seed=1)
    return place.tmp / "data"


def torn_photos(place: Place) -> Path:
    (place.tmp / "data" / "red_things").mkdir(parents=True)
    (place.tmp / "data" / "red_things" / "a.jpg").write_bytes(b"x")
    return place.tmp / "data"


def edited_prompt(
    place: Place, edit: Callable[[dict[str, np.ndarray], dict[str, str]], object]
) -> Path:
    """A run whose prompt's tensors and metadata were changed."""
    run = Path(shutil.copytree(place.run, place.tmp / "run"))
    tensors = load_file(run / "prompt.safetensors")
    with safe_open(run / "prompt.safetensors", "np") as stored:
        metadata = stored.metadata()
    del metadata["sha256"]  # the checksum would be wrong: these tests look at what comes after it
    edit(tensors, metadata)
    save_file(tensors, run / "prompt.safetensors", metadata=metadata)
    return run


CASES: dict[str, tuple[Callable[[Place], list[object]], str]] = {
    "no such model": (
        lambda p: p.tune(onnx=p.tmp / "none.onnx"),
        "does not exist: make it with `make export`",
    ),
    "a folder as model": (lambda p: p.tune(onnx=p.tmp), "does not exist"),
    "an empty model": (lambda p: p.tune(onnx=p.file("a.onnx")), "not an ONNX file"),
    "text as model": (lambda p: p.tune(onnx=p.file("a.onnx", "hello, world")), "not an ONNX file"),
    "a truncated model": (
        lambda p: p.tune(onnx=p.file("a.onnx", p.onnx.read_bytes()[:100_000])),
        "not an ONNX file, or it is damaged",
    ),
    "a photo as model": (lambda p: p.tune(onnx=photo(p)), "not an ONNX file"),
    "another tool's ONNX": (
        lambda p: p.tune(onnx=foreign_onnx(p)),
        "was not exported by edge-sharpzo",
    ),
    "a custom operator": (lambda p: p.tune(onnx=p.edited_model(custom_operator)), "evil.corp"),
    "weights outside its folder": (
        lambda p: p.tune(onnx=p.edited_model(data_elsewhere)),
        "../../etc/passwd beside it",
    ),
    "an output missing": (
        lambda p: p.tune(onnx=p.edited_model(without_output)),
        "has no output image_features",
    ),
    "a card of another format": (
        lambda p: p.tune(onnx=p.edited_card('"format": 1', '"format": 7')),
        "another format",
    ),
    "a card that is no JSON": (
        lambda p: p.tune(onnx=p.edited_card('{"format"', "{format")),
        "damaged model card",
    ),
    "a card with a field missing": (
        lambda p: p.tune(onnx=p.edited_card('"layout"', '"lay"')),
        "damaged model card",
    ),
    "a damaged tokenizer": (
        lambda p: p.tune(onnx=p.edited_model(damaged_tokenizer)),
        "carries a damaged tokenizer",
    ),
    "a card of another graph": (
        lambda p: p.tune(onnx=p.edited_card('"feature_dim": 24', '"feature_dim": 25')),
        "does not fit its graph (image_features)",
    ),
    "settings without options": (
        lambda p: ["predict", damaged_run(p, "config.json", b'{"options": []}'), photo(p)],
        "does not say which model",
    ),
    "two classes of one name": (
        lambda p: p.tune("--class-names", p.file("n.txt", "red_things = a\nblue_things = a")),
        "two classes are both called 'a'",
    ),
    "out holds another tool's settings": (
        lambda p: p.tune("--out", p.file("config.json", "{}").parent),
        "is not a file of edge-sharpzo",
    ),
    "an absurd image size": (
        lambda p: p.tune(onnx=p.edited_card('"size": [32, 32]', '"size": [99999, 99999]')),
        "image size",
    ),
    "a logit scale of NaN": (
        lambda p: p.tune(onnx=p.edited_card('"logit_scale": ', '"logit_scale": NaN, "x": ')),
        "damaged model card",
    ),
    "no data folder": (lambda p: p.tune(data=p.tmp / "none"), "is not a folder"),
    "a file as data folder": (lambda p: p.tune(data=photo(p)), "is not a folder"),
    "a folder without classes": (lambda p: p.tune(data=p.tmp), "no class folders with photos"),
    "fewer than no shots": (lambda p: p.tune("--shots", -1), "at least one photo per class"),
    "a class with no readable photo": (
        lambda p: p.tune(data=unreadable_class(p)),
        "no photo of 'red_things' can be used",
    ),
    "a name too long": (
        lambda p: p.tune("--template", "word " * 80 + "{}"),
        "shorten the class name",
    ),
    "more context than the model reads": (
        lambda p: p.tune("--context-tokens", 75),
        "tokens and the model reads 77",
    ),
    "no context": (lambda p: p.tune("--context-tokens", 0), "ask for at least one"),
    "a template without the name": (
        lambda p: p.tune("--template", "a photo"),
        "needs the class name's place",
    ),
    "a template with two": (
        lambda p: p.tune("--template", "{} {}"),
        "needs the class name's place",
    ),
    "an unknown method": (
        lambda p: p.tune("--method", "adam"),
        "choose one of gauss-newton, sharpzo",
    ),
    "an unknown preset": (lambda p: p.tune("--preset", "fast"), "choose one of default, paper"),
    "an unknown task": (lambda p: p.tune("--preset", "paper", "--paper-task", "mnist"), "eurosat"),
    "the paper's settings for another method": (
        lambda p: p.tune("--preset", "paper", "--method", "cge"),
        "add --method sharpzo",
    ),
    "a mapping to a class that is not there": (
        lambda p: [
            "eval",
            p.run,
            "--data",
            p.photos,
            "--class-names",
            p.file("m.txt", "red_things = purple"),
        ],
        "which is no class of the run",
    ),
    "a mapping of a folder that is not there": (
        lambda p: [
            "eval",
            p.run,
            "--data",
            p.photos,
            "--class-names",
            p.file("m.txt", "pink = red_things"),
        ],
        "has no such folder",
    ),
    "settings without the photos tuned on": (
        lambda p: [
            "eval",
            damaged_run(
                p,
                "config.json",
                (p.run / "config.json").read_bytes().replace(b'"tuned_on"', b'"x"'),
            ),
            "--data",
            p.photos,
        ],
        "missing required field 'tuned_on'",
    ),
    "an unknown head": (
        lambda p: p.tune("--head", "svm"),
        "choose one of none, text-gda, prototypes, ridge, gda",
    ),
    "an unknown provider": (lambda p: p.tune("--provider", "gpu"), "choose one of auto, cpu, cuda"),
    "a provider that is not there": (
        lambda p: p.tune("--provider", "coreml"),
        "this onnxruntime has no provider 'CoreMLExecutionProvider'. It has:",
    ),
    "a negative seed": (lambda p: p.tune("--seed", -1), "use 0 or a positive number"),
    "a budget of nothing": (lambda p: p.tune("--budget", 0), "at least 1"),
    "no minutes": (lambda p: p.tune("--minutes", -2), "give a positive number"),
    "negative threads": (lambda p: p.tune("--threads", -2), "use 0 for all cores"),
    "a number that is none": (lambda p: p.tune("--shots", "many"), "Invalid value for '--shots'"),
    "an unknown option": (lambda p: p.tune("--colour", "red"), "No such option"),
    "no such class-name file": (
        lambda p: p.tune("--class-names", p.tmp / "none.txt"),
        "cannot read the class names",
    ),
    "a bad class-name file": (
        lambda p: p.tune("--class-names", p.file("n.txt", "red_things")),
        "line 1: expected 'folder = name'",
    ),
    "a class-name file in another encoding": (
        lambda p: p.tune("--class-names", p.file("n.txt", b"a = \xff\xfe")),
        "cannot read the class names",
    ),
    "out is a file": (lambda p: p.tune("--out", photo(p)), "cannot write to"),
    "out holds a run": (lambda p: p.tune("--out", p.run), "already holds a run"),
    "predict without a run": (lambda p: ["predict", p.tmp, photo(p)], "is not a finished run"),
    "predict no photo": (
        lambda p: ["predict", p.run, p.file("a.jpg", "x")],
        "none of the 1 files is a photo",
    ),
    "predict an empty folder": (lambda p: ["predict", p.run, p.folder("none")], "holds no photos"),
    "predict an empty list": (lambda p: ["predict", p.run, "-"], "standard input names no photos"),
    "predict no class": (
        lambda p: ["predict", p.run, photo(p), "--top", "0"],
        "--top 0: ask for at least one class",
    ),
    "predict in two formats": (
        lambda p: ["predict", p.run, photo(p), "--csv", "--json"],
        "--json and --csv: choose one",
    ),
    "predict nothing there": (
        lambda p: ["predict", p.run, p.tmp / "none.jpg"],
        "none of the 1 files is a photo",
    ),
    "predict with another model": (
        lambda p: [
            "predict",
            p.run,
            photo(p),
            "--onnx",
            p.edited_card('"name": "', '"name": "other '),
        ],
        "is not the model that",
    ),
    "predict with the model gone": (
        lambda p: [
            "predict",
            edited_config(p, onnx="/nowhere/clip.onnx"),
            photo(p),
        ],
        "is gone: add --onnx",
    ),
    "predict with a damaged prompt": (
        lambda p: ["predict", damaged_run(p, "prompt.safetensors", b"x" * 50), photo(p)],
        "is damaged",
    ),
    "predict with a truncated prompt": (
        lambda p: [
            "predict",
            damaged_run(p, "prompt.safetensors", (p.run / "prompt.safetensors").read_bytes()[:300]),
            photo(p),
        ],
        "is damaged",
    ),
    "predict with damaged settings": (
        lambda p: ["predict", damaged_run(p, "config.json", b"{"), photo(p)],
        "cannot read",
    ),
    "settings that are no object": (
        lambda p: ["predict", damaged_run(p, "config.json", b"[]"), photo(p)],
        "no JSON object",
    ),
    "eval without photos": (
        lambda p: ["eval", p.run, "--data", p.tmp],
        "no photos of the run's classes",
    ),
    "eval without a folder": (
        lambda p: ["eval", p.run, "--data", p.tmp / "none"],
        "is not a folder",
    ),
    "info on nothing": (lambda p: ["info", p.tmp / "none"], "does not exist"),
    "info on a folder without a run": (lambda p: ["info", p.tmp], "holds no finished run"),
    "info on a damaged summary": (
        lambda p: ["info", damaged_run(p, "summary.json", b"{")],
        "is damaged",
    ),
    "compare one run": (lambda p: ["compare", p.run], "two or more run folders"),
    "compare with nothing": (lambda p: ["compare", p.run, p.tmp], "holds no finished run"),
    "compare with a foreign summary": (
        lambda p: ["compare", p.run, damaged_run(p, "summary.json", b"{}")],
        "made by another version",
    ),
    "compare with a summary that is no object": (
        lambda p: ["compare", p.run, damaged_run(p, "summary.json", b"[]")],
        "no JSON object",
    ),
    "a nested summary": (
        lambda p: ["info", damaged_run(p, "summary.json", b"[" * 100_000)],
        "is damaged",
    ),
    "nested settings": (
        lambda p: ["predict", damaged_run(p, "config.json", b"[" * 100_000), photo(p)],
        "cannot read",
    ),
    "settings in another encoding": (
        lambda p: ["predict", damaged_run(p, "config.json", b"\xff\xfe"), photo(p)],
        "cannot read",
    ),
    "resume nothing": (lambda p: ["tune", "--resume", p.tmp / "none"], "holds no run"),
    "resume a finished run": (lambda p: ["tune", "--resume", p.run], "is finished"),
    "resume and data": (lambda p: ["tune", "--resume", p.run, "--data", p.photos], "and not both"),
    "neither resume nor data": (lambda p: ["tune"], "give --data, a folder of photos, or --resume"),
    "resume foreign settings": (
        lambda p: ["tune", "--resume", p.file("config.json", "{}").parent],
        "missing required field 'options'",
    ),
    "resume settings that are a list": (
        lambda p: ["tune", "--resume", p.file("config.json", "[]").parent],
        "no JSON object",
    ),
    "resume a damaged checkpoint": (
        lambda p: ["tune", "--resume", stopped_run(p, b"x" * 100)],
        "is damaged",
    ),
    "resume an empty checkpoint": (
        lambda p: ["tune", "--resume", stopped_run(p, b"")],
        "is damaged",
    ),
    "resume with the model gone": (
        lambda p: ["tune", "--resume", stopped_run(p, b"x", onnx="/nowhere.onnx")],
        "/nowhere.onnx does not exist",
    ),
    "resume with the photos gone": (
        lambda p: ["tune", "--resume", stopped_run(p, b"x", data="/nowhere")],
        "/nowhere is not a folder",
    ),
    "resume with other photos": (
        lambda p: ["tune", "--resume", stopped_run(p, b"x", data=str(other_photos(p)))],
        "put them back",
    ),
    "resume another model": (
        lambda p: ["tune", "--resume", stopped_run(p, b"x", onnx=str(other_model(p)))],
        "is another one than the run",
    ),
    "a folder of one class": (lambda p: p.tune(data=one_class(p)), "only the class 'red_things'"),
    "a class folder that is no text": (
        lambda p: p.tune(data=odd_folder(p, b"\xff")),
        "has a name that is no single line of UTF-8: rename it",
    ),
    "a class folder of two lines": (
        lambda p: p.tune(data=odd_folder(p, b"red\nthings")),
        "the folder 'red\\nthings' in",
    ),
    "a class folder that moves the cursor": (
        lambda p: p.tune(data=odd_folder(p, b"red\x1b[2Jthings")),
        "the folder 'red\\x1b[2Jthings' in",
    ),
    "a test class that is not trained": (
        lambda p: p.tune(data=stray_class(p, "test")),
        "is no class of the training photos",
    ),
    "a validation class that is not trained": (
        lambda p: p.tune(data=stray_class(p, "val")),
        "is no class of the training photos",
    ),
    "hidden clutter alone": (lambda p: p.tune(data=clutter(p)), "no class folders with photos"),
    "a seed that is none": (lambda p: p.tune("--seed", "x"), "Invalid value for '--seed'"),
    "a budget that is none": (lambda p: p.tune("--budget", "1e3"), "Invalid value for '--budget'"),
    "minutes that are none": (
        lambda p: p.tune("--minutes", "soon"),
        "Invalid value for '--minutes'",
    ),
    "minutes that are no number": (lambda p: p.tune("--minutes", "nan"), "give a positive number"),
    "a template of nothing": (lambda p: p.tune("--template", ""), "needs the class name's place"),
    "a template as format": (
        lambda p: p.tune("--template", "{0} {name}"),
        "needs the class name's place",
    ),
    "paper settings for the default": (
        lambda p: p.tune("--preset", "paper", "--method", "gauss-newton"),
        "add --method sharpzo",
    ),
    "class names of folders that are not there": (
        lambda p: p.tune("--class-names", p.file("n.txt", "pink = pink")),
        "no class folder",
    ),
    "a folder as class names": (
        lambda p: p.tune("--class-names", p.photos),
        "cannot read the class names",
    ),
    "predict nothing": (lambda p: ["predict", p.run], "Missing argument"),
    "predict with a model that is none": (
        lambda p: ["predict", p.run, photo(p), "--onnx", photo(p)],
        "is not an ONNX file",
    ),
    "predict with negative threads": (
        lambda p: ["predict", p.run, photo(p), "--threads", "-2"],
        "use 0 for all cores",
    ),
    "predict with a prompt of other classes": (
        lambda p: [
            "predict",
            edited_prompt(p, lambda t, m: t.update(text_features=t["text_features"][:2])),
            photo(p),
        ],
        "its features do not fit",
    ),
    "a prompt without calibration": (
        lambda p: ["predict", edited_prompt(p, lambda t, m: m.pop("calibration")), photo(p)],
        "is damaged",
    ),
    "a prompt with a temperature of zero": (
        lambda p: [
            "predict",
            edited_prompt(
                p, lambda t, m: m.update(calibration='{"temperature": 0, "threshold": null}')
            ),
            photo(p),
        ],
        "is damaged",
    ),
    "a prompt without labels": (
        lambda p: ["predict", edited_prompt(p, lambda t, m: m.pop("labels")), photo(p)],
        "is damaged",
    ),
    "a prompt with a scale of NaN": (
        lambda p: ["predict", edited_prompt(p, lambda t, m: m.update(logit_scale="nan")), photo(p)],
        "is damaged",
    ),
    "eval of a file": (lambda p: ["eval", p.run, "--data", photo(p)], "is not a folder"),
    "eval with unreadable photos": (
        lambda p: ["eval", p.run, "--data", torn_photos(p)],
        "no photo under",
    ),
    "eval without data": (lambda p: ["eval", p.run], "give --data, labelled photos, or --foreign"),
    "doctor without a model": (
        lambda p: ["doctor", "--onnx", p.tmp / "none.onnx"],
        "does not exist",
    ),
    "doctor with an unknown provider": (
        lambda p: ["doctor", "--onnx", p.onnx, "--provider", "npu"],
        "choose one of auto, cpu",
    ),
    "doctor with a missing provider": (
        lambda p: ["doctor", "--onnx", p.onnx, "--provider", "cuda"],
        "has no provider",
    ),
    "info on a photo": (lambda p: ["info", photo(p)], "is not an ONNX file"),
    "compare with a file": (lambda p: ["compare", p.run, photo(p)], "two or more run folders"),
    "an unknown command": (lambda p: ["fly"], "No such command"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case: str, place: Place) -> None:
    make, words = CASES[case]
    arguments = make(place)
    before = {p: p.read_bytes() for p in place.run.iterdir()}
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.stderr.split()), result.stderr
    assert "Traceback" not in result.output
    assert not (place.tmp / "out" / "summary.json").exists()
    assert {p: p.read_bytes() for p in place.run.iterdir()} == before


def test_a_class_of_the_run_may_lack_photos_in_eval(place: Place) -> None:
    write_photos(place.tmp / "few" / "red_things", 0, 2, seed=3)
    result = invoke("eval", place.run, "--data", place.tmp / "few")
    assert result.exit_code == 0
    assert "on 2 photos" in result.stdout


def test_damaged_features_in_a_run_are_noticed(place: Place) -> None:
    run = edited_prompt(
        place,
        lambda tensors, _: tensors.update(
            text_features=np.full_like(tensors["text_features"], np.nan)
        ),
    )
    result = invoke("predict", run, photo(place))
    assert result.exit_code == 2
    assert "its features do not fit" in result.stderr


def test_a_budget_too_small_for_one_step_says_so(place: Place) -> None:
    result = invoke(*place.tune("--budget", 21))
    assert result.exit_code == 2
    assert "does not pay for the first step: that alone takes 28 queries" in result.stderr


def test_a_run_that_cannot_be_written_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_sharpzo.system.tensors.save", disk_full)
    result = invoke(*place.tune())
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not list((place.tmp / "out").glob("*prompt*"))


def test_photos_that_were_tuned_on_are_left_out_of_eval(place: Place) -> None:
    result = invoke("eval", place.run, "--data", place.photos / "train")
    assert result.exit_code == 2
    assert "that the run was tuned on" in result.stderr
