"""Files of strangers: whatever they hold, every command that reads them ends soon, with an answer
or with one line that says why not, and takes no more memory than it may.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import onnx
import pytest
from helpers import Place, invoke, photo, rest_slow
from hostile import Edit, before_output, card, doubled, external, nested, tokenizer, with_constants
from onnx import TensorProto, helper

from edge_sharpzo.runs.checkpoint import Checkpoints
from edge_sharpzo.system.memory import MB
from edge_sharpzo.tuning.methods.state import State
from edge_sharpzo.tuning.records import LoopState


def answered(arguments: list[object]) -> Any:
    """The outcome of a command: an answer, or one line of error."""
    done = invoke(*arguments)
    assert done.exit_code in (0, 2), done.output
    assert "Traceback" not in done.output
    if done.exit_code == 2:
        lines = done.stderr.splitlines()
        assert len([line for line in lines if line.startswith("edge-sharpzo: ")]) == 1, lines
    return done


def refused(place: Place, edit: Edit, words: str) -> None:
    """Some command that reads the model says `words`; none gives a traceback."""
    model = place.edited_model(edit)
    said = [answered(command) for command in hostile.reading_model(place, model)]
    told = [done for done in said if words in " ".join(done.stderr.split())]
    assert told, [done.stderr for done in said]
    assert all(done.exit_code == 2 for done in told)


TEXT, IMAGE = "text_features", "image_features"
NOT_OURS = "is not what edge-sharpzo's export writes"
SIZE = np.array([200_000, 200_000])
LINE = np.ones(10**6, np.float32)
ALONE = "takes nothing but weights"
MEMORY = "needs more memory than this machine has left"

GRAPHS: dict[str, tuple[Edit, str]] = {
    "a loop": (nested("Loop"), NOT_OURS),
    "a scan": (nested("Scan"), NOT_OURS),
    "a branch": (nested("If"), NOT_OURS),
    "a filled tensor": (with_constants(TEXT, "ConstantOfShape", SIZE), "'ConstantOfShape'"),
    "tiles": (with_constants(TEXT, "Tile", LINE, [10**9]), "'Tile'"),
    "a resized picture": (
        with_constants(IMAGE, "Resize", LINE[:9].reshape(1, 1, 3, 3), [], [1, 1, 1e5, 1e5]),
        "'Resize'",
    ),
    "random numbers": (with_constants(TEXT, "RandomNormal", shape=[3]), "'RandomNormal'"),
    "an expansion of weights": (with_constants(TEXT, "Expand", LINE[:1], SIZE), ALONE),
    "a range of weights": (with_constants(TEXT, "Range", 0, 10**12, 1), ALONE),
    "a product of weights": (with_constants(TEXT, "MatMul", LINE[:, None], LINE[None]), ALONE),
    "a huge expansion": (with_constants(TEXT, "Expand", LINE[:1], SIZE, late=True), MEMORY),
    "a huge range": (with_constants(TEXT, "Range", 0, 10**12, 1, late=True), MEMORY),
    "a huge frame": (
        with_constants(IMAGE, "Pad", LINE[:4].reshape(2, 2), [SIZE[0]] * 4, late=True),
        MEMORY,
    ),
    "an outer product": (
        with_constants(TEXT, "MatMul", LINE[:, None], LINE[None], late=True),
        MEMORY,
    ),
    "a sum of all with all": (
        with_constants(IMAGE, "Add", LINE[:, None], LINE[None], late=True),
        MEMORY,
    ),
    "text features doubled": (doubled(45, TEXT), MEMORY),
    "image features doubled": (doubled(45, IMAGE), MEMORY),
    "token embeddings doubled": (doubled(45, "token_embeddings"), MEMORY),
    "one feature too many": (
        before_output(TEXT, lambda x: [helper.make_node("Concat", [x, x], [TEXT], axis=2)]),
        "does not do what its card says",
    ),
    "a row too few": (
        before_output(
            IMAGE,
            lambda x: [helper.make_node("ReduceMax", [x, "axes"], [IMAGE], keepdims=0)],
            ("axes", np.array([0])),
        ),
        "does not do what its card says",
    ),
    "features in whole numbers": (
        before_output(TEXT, lambda x: [helper.make_node("Cast", [x], [TEXT], to=7)]),
        "onnxruntime cannot open",
    ),
    "a shape that does not fit": (
        before_output(
            TEXT,
            lambda x: [helper.make_node("Reshape", [x, "shape"], [TEXT])],
            ("shape", np.array([7, 11, 13])),
        ),
        "onnxruntime cannot run the text tower",
    ),
    "token embeddings that are no numbers": (
        before_output(
            "token_embeddings",
            lambda x: [helper.make_node("Div", [x, "zero"], ["token_embeddings"])],
            ("zero", np.float32(0)),
        ),
        "the token table of",
    ),
    "a sparse weight": (hostile.sparse, "holds 'sparse_initializer'"),
    "weights behind the file": (
        external(location="edited.onnx", offset="0", length="999999999999"),
        "is not of the size that its shape says",
    ),
    "weights at a negative place": (
        external(location="edited.onnx", offset="-8", length="8"),
        "is not of the size that its shape says",
    ),
    "weights of no length": (external(location="edited.onnx"), "is not of the size"),
    "weights of no file": (external(offset="0", length="8"), "is not of the size"),
    "weights twice": (
        lambda model: model.graph.initializer[0].external_data.add(key="location", value="x"),
        "needs its weights in x beside it",
    ),
    "a weight of a negative shape": (
        hostile.weight(lambda t: t.dims.__setitem__(0, -t.dims[0])),
        "is not of the size",
    ),
    "a weight of a huge shape": (
        hostile.weight(lambda t: t.dims.extend([2**40])),
        "is not of the size",
    ),
    "a weight of text": (
        hostile.weight(lambda t: setattr(t, "data_type", TensorProto.STRING)),
        "is not of the size",
    ),
    "a weight in a second form": (
        hostile.weight(lambda t: t.float_data.extend([1.0] * 9)),
        "holds 'float_data'",
    ),
    "training": (lambda m: m.training_info.add(), "holds 'training_info'"),
    "a name that clears the screen": (
        lambda m: setattr(m.graph.node[0], "op_type", "\x1b[2J\nedge-sharpzo: all is well"),
        "'\\x1b[2J\\nedge-sharpzo: all is well'",
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_hostile_graph_is_refused(case: str, place: Place) -> None:
    refused(place, *GRAPHS[case])


def vocabulary(parts: dict[str, Any]) -> Edit:
    return tokenizer(lambda found: found | parts)


def in_model(**parts: Any) -> Edit:
    return tokenizer(lambda found: found | {"model": found["model"] | parts})


def replacing(*contents: str) -> dict[str, Any]:
    steps = [{"type": "Replace", "pattern": {"String": "a"}, "content": c} for c in contents]
    return {"normalizer": {"type": "Sequence", "normalizers": steps}}


def splitting(pattern: str) -> dict[str, Any]:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"pre_tokenizer": step}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
LONG_TEXTS = base64.b64encode(bytes(4) + b"x" * 9999).decode()
TOKENIZERS: dict[str, tuple[Edit, str]] = {
    "a word that becomes ten million": (vocabulary(replacing("a" * 10**7)), "too much of a text"),
    "doubling": (vocabulary(replacing(*["aa"] * 12)), "too much of a text"),
    "many steps": (vocabulary(replacing(*["b"] * 9, *["a"] * 9)), "too much of a text"),
    "bytes of bytes": (
        vocabulary({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTE_LEVEL] * 12}}),
        "too much of a text",
    ),
    "a prefix of a megabyte": (
        vocabulary({"normalizer": {"type": "Prepend", "prepend": "x" * 10**6}}),
        "too much of a text",
    ),
    "a table of long texts": (
        vocabulary({"normalizer": {"type": "Precompiled", "precompiled_charsmap": LONG_TEXTS}}),
        "too much of a text",
    ),
    "repeats of repeats": (vocabulary(splitting("(a+)+b")), "the pattern '(a+)+b'"),
    "an exponential count": (vocabulary(splitting("a{99}{99}{99}")), "the pattern"),
    "a pattern that calls itself": (vocabulary(splitting(r"(a|b\g<1>c)")), "the pattern"),
    "three stars": (vocabulary(splitting("a*a*a*b")), "the pattern 'a*a*a*b'"),
    "a step of another library": (
        vocabulary({"pre_tokenizer": {"type": "UnicodeScripts2"}}),
        "the part 'UnicodeScripts2'",
    ),
    "steps in steps": (
        vocabulary({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence"}]}}),
        "the part 'Sequence'",
    ),
    "dropped merges": (in_model(dropout=0.5), "damaged tokenizer"),
    "merges of no word": (in_model(merges=[["no", "word"]]), "damaged tokenizer"),
    "a long end of words": (in_model(end_of_word_suffix="x" * 10**6), "damaged tokenizer"),
    "words that are no numbers": (in_model(vocab={"a": -1}), "damaged tokenizer"),
    "words beyond the table": (
        tokenizer(
            lambda found: (
                found
                | {
                    "model": found["model"]
                    | {"vocab": {w: i + 10**6 for w, i in found["model"]["vocab"].items()}}
                }
            )
        ),
        "onnxruntime cannot run the tokens tower",
    ),
    "no words": (in_model(vocab={}, merges=[]), "reads nothing in its own words"),
    "ids beyond the table": (
        card(lambda told: told["text"].update(end=[10**6])),
        "onnxruntime cannot run the tokens tower",
    ),
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_a_hostile_tokenizer_is_refused(case: str, place: Place) -> None:
    edit, words = TOKENIZERS[case]
    done = answered(place.tune(onnx=place.edited_model(edit)))
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_a_tokenizer_of_every_common_kind_is_read() -> None:
    """As Hugging Face's files have them: BERT's, T5's, Gemma's, GPT-2's."""
    from edge_sharpzo.clip.tokenizer_file import trusted

    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    several_spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
    one_space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    spaces = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    gpt2 = r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    gpt4 = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    for parts in (
        {"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, several_spaces]}},
        {"normalizer": one_space, "pre_tokenizer": spaces},
        {"normalizer": None, "pre_tokenizer": BYTE_LEVEL},
        splitting(gpt2),
        splitting(gpt4),
    ):
        read = json.loads(trusted(json.dumps({"model": model, **parts})))
        assert read["model"] == model
        assert {name: read[name] for name in parts} == parts


def links_to(place: Place, target: Path, name: str = "clip.onnx.data") -> Path:
    """A model whose weights lie beside it in a file that is a link to `target`."""
    folder = place.folder("linked")
    model = onnx.load(place.onnx)
    onnx.save(
        model, folder / "clip.onnx", save_as_external_data=True, location=name, size_threshold=1024
    )
    target.parent.mkdir(exist_ok=True)
    shutil.move(folder / name, target)
    (folder / name).symlink_to(target)
    return folder / "clip.onnx"


@pytest.mark.parametrize("where", ["key", "linked/other.data", "elsewhere/clip.onnx.data"])
def test_weights_behind_a_link_are_not_read(where: str, place: Place) -> None:
    model = links_to(place, place.tmp / where)
    for command in hostile.reading_model(place, model):
        done = answered(command)
        assert done.exit_code == 2
        assert "needs its weights in" in done.stderr or "is gone" in done.stderr
    assert not (place.tmp / "out" / "classifier.onnx").exists()


def test_a_link_to_a_whole_model_is_followed(place: Place) -> None:
    (place.tmp / "link.onnx").symlink_to(place.onnx)
    assert answered(["info", place.tmp / "link.onnx"]).exit_code == 0


@pytest.fixture(scope="module")
def killed(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after a checkpoint, half-way."""
    place = Place(tiny_onnx, photos, Path(), tmp_path_factory.mktemp("killed"))

    def write(self: Checkpoints, loop: LoopState, method: Callable[[], State]) -> None:
        self.write(loop, method())
        if sum(loop.queries.values()) > 100:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoints, "offer", write)
        done = invoke(*place.tune("--budget", 250), "--out", place.tmp / "run")
    assert done.exit_code == 130, done.output
    return place.tmp / "run"


@pytest.fixture
def stopped(killed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return hostile.copied(killed, tmp_path / "stopped")


Change = Callable[[dict[str, Any], dict[str, str]], object]


def told(edit: Callable[[dict[str, Any]], object]) -> Change:
    """Changes what a checkpoint says beside its arrays."""

    def change(_: dict[str, Any], metadata: dict[str, str]) -> None:
        progress = json.loads(metadata["progress"])
        edit(progress)
        metadata["progress"] = json.dumps(progress)

    return change


def array(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda tensors, _: tensors.update({name: edit(tensors[name])})


CHECKPOINTS: dict[str, Change] = {
    "a point of another size": array("best.point", lambda a: a[:-3]),
    "a point in a matrix": array("best.point", lambda a: a[None]),
    "a point of no numbers": array("best.point", lambda a: a * np.nan),
    "features of fewer classes": array("best.text", lambda a: a[:2]),
    "features of bytes": array("best.text", lambda a: a.astype(np.int8)),
    "a method at another point": array("method.point", lambda a: a[:5]),
    "a method with other columns": array("method.columns", lambda a: a[:, :-1]),
    "a method with fewer columns": array("method.columns", lambda a: a[:-1]),
    "a method with an index beyond": array("method.indices", lambda a: a + 10**6),
    "a method with indices in floats": array("method.indices", lambda a: a.astype(np.float32)),
    "a method with one damping": array("method.numbers", lambda a: a[:2]),
    "a method of an unknown kind": array("method.numbers", lambda a: np.array([*a[:4], 9.0])),
    "a method with no damping": array("method.numbers", lambda a: a * [1, 0, 1, 1, 1]),
    "a method with another output": array("method.output", lambda a: a.ravel()[:-1]),
    "a method with an output that is turned": array("method.output", lambda a: a.T.copy()),
    "queries below nothing": told(lambda p: p["queries"].update(start=-5)),
    "queries in words": told(lambda p: p.update(queries={"start": "many"})),
    "queries in a list": told(lambda p: p.update(queries=[3])),
    "a huge count": told(lambda p: p.update(validated_at=10**300)),
    "time that runs back": told(lambda p: p.update(seconds=-1.0)),
    "no end of time": told(lambda p: p.update(seconds=float("inf"))),
    "a record of a number": told(lambda p: p.update(records=[7])),
    "a record with a list for a loss": told(lambda p: p["records"][0].update(loss=[1])),
    "a record of half a step": told(lambda p: p["records"][0].update(step=0.5)),
    "no best prompt": told(lambda p: p["prompts"].pop("best")),
    "prompts in a list": told(lambda p: p.update(prompts=[])),
    "deep nesting": told(lambda p: p.update(records=json.loads("[" * 90 + "]" * 90))),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused(case: str, stopped: Path) -> None:
    """Its checksum is right: whoever changes a file can make one."""
    hostile.resealed(stopped / "checkpoint.safetensors", CHECKPOINTS[case])
    done = answered(["tune", "--resume", stopped])
    assert done.exit_code == 2, done.output
    assert "checkpoint" in done.stderr
    assert not (stopped / "summary.json").exists()


def test_a_checkpoint_that_nobody_changed_is_gone_on_from(stopped: Path) -> None:
    hostile.resealed(stopped / "checkpoint.safetensors", lambda tensors, metadata: None)
    assert answered(["tune", "--resume", stopped]).exit_code == 0


PROMPTS: dict[str, Change] = {
    "features of bytes": array("text_features", lambda a: a.astype(np.int8)),
    "features of another size": array("text_features", lambda a: a[:, :-1]),
    "a context of another width": array("context", lambda a: a[:, :-1]),
    "a context that is infinite": array("context", lambda a: a * np.inf),
    "a context in a line": array("context", lambda a: a.ravel()),
    "a head in float64": array("head_weight", lambda a: a.astype(np.float64)),
    "a head that is turned": array("head_weight", lambda a: a.T.copy()),
    "a precision that is no square": array("by_name_precision", lambda a: a[:-1].copy()),
    "a precision of no numbers": array("by_name_precision", lambda a: a * np.nan),
    "an offset in float64": array("by_name_offset", lambda a: a.astype(np.float64)),
    "a lean in words": lambda _, told: told.update(by_name='["much", 0]'),
    "a lean alone": lambda _, told: told.update(by_name="[1.0]"),
    "classes without photos that are none": lambda _, told: told.update(
        labels=told["labels"].replace("{", '{"without_photos": ["x"], ', 1)
    ),
    "a scale below nothing": lambda _, told: told.update(logit_scale="-5"),
    "a huge scale": lambda _, told: told.update(logit_scale="1e300"),
    "labels in a text": lambda _, told: told.update(labels='{"folders": "abc", "names": "abc"}'),
    "a label of two lines": lambda _, told: told.update(
        labels='{"folders": ["a\\nb", "c", "d"], "names": ["a", "c", "d"]}'
    ),
    "labels in numbers": lambda _, told: told.update(labels='{"folders": [1, 2], "names": [1, 2]}'),
    "a threshold of two": lambda _, told: told.update(
        calibration='{"temperature": 1, "threshold": 2}'
    ),
    "a temperature in a list": lambda _, told: told.update(
        calibration='{"temperature": [1], "threshold": null}'
    ),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_hostile_prompt_is_refused(case: str, place: Place) -> None:
    run = hostile.copied(place.run, place.tmp / "hostile")
    hostile.resealed(run / "prompt.safetensors", PROMPTS[case])
    done = answered(["predict", run, photo(place)])
    assert done.exit_code == 2
    assert "is damaged" in done.stderr


def at(path: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def edit(found: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for name in outer:
            found = found[name]
        found[last] = value

    return edit


DEEP = json.loads("[" * 500 + "]" * 500)
RECORDS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "photos below nothing": ("summary.json", at("data.train", -3)),
    "an accuracy of seven": ("summary.json", at("accuracy.tuned.test", 7.0)),
    "an accuracy that is none": ("summary.json", at("accuracy.tuned.test", float("nan"))),
    "queries without end": ("summary.json", at("queries.total", 10**300)),
    "a query below nothing": ("summary.json", at("queries.by_kind", {"start": -1})),
    "a name of half a letter": ("summary.json", at("model.name", "\ud800")),
    "a name that clears the screen": ("summary.json", at("model.name", "\x1b[2J")),
    "a version in a list": ("summary.json", at("schema_version", [1])),
    "versions in numbers": ("summary.json", at("versions", {"numpy": 2})),
    "time without end": ("summary.json", at("seconds.total", float("inf"))),
    "a checksum that is none": ("config.json", at("model_sha256", "abc")),
    "photos that nobody can compare": ("config.json", at("tuned_on_sha256", ["x"] * 15)),
    "a photo without its checksum": ("config.json", at("tuned_on_sha256", ["0" * 64])),
    "one class twice": ("config.json", at("folders", ["a", "a", "b"])),
    "a class of two lines": ("config.json", at("folders", ["a\nb", "c", "d"])),
    "settings in settings": ("config.json", at("preset.settings", {"a": DEEP})),
    "a path of nothing": ("config.json", at("options.onnx", "a\0b")),
    "a huge seed in a text": ("config.json", at("options.seed", "9" * 5000)),
}


@pytest.mark.parametrize("case", RECORDS)
def test_hostile_records_are_refused(case: str, place: Place) -> None:
    name, edit = RECORDS[case]
    run = hostile.copied(place.run, place.tmp / "hostile")
    found = json.loads((run / name).read_text())
    edit(found)
    (run / name).write_text(json.dumps(found))
    said = [answered(command) for command in hostile.reading_run(place, run)]
    told = [done for done in said if name in done.stderr]
    assert len(told) >= 2
    assert all(done.exit_code == 2 for done in told)


@pytest.mark.parametrize("name", ["config.json", "summary.json", "prompt.safetensors"])
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a hole of 2 GB"])
def test_what_is_no_file_is_not_waited_for(name: str, kind: str, place: Place) -> None:
    run = hostile.copied(place.run, place.tmp / "hostile")
    (run / name).unlink()
    if kind == "a pipe":
        os.mkfifo(run / name)
    elif kind == "a device":
        (run / name).symlink_to("/dev/zero")
    elif kind == "a folder":
        (run / name).mkdir()
    else:
        with (run / name).open("wb") as stream:
            stream.truncate(2**31)
    said = [answered(command) for command in hostile.reading_run(place, run)[:4]]
    assert [done.exit_code for done in said].count(2) >= 2


@pytest.mark.parametrize("seed", rest_slow(range(60), 20))
def test_any_change_is_answered(seed: int, place: Place, stopped: Path) -> None:
    for command in hostile.mutated(seed, place, stopped):
        answered(command)


def test_a_graph_that_does_not_end_is_cut_off(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sharpzo.clip.session.SECONDS", 0.5)
    monkeypatch.setattr("edge_sharpzo.clip.session.SECONDS_PER_MB", 0.0)

    def nodes(start: str) -> list[onnx.NodeProto]:
        names = ["large", *(f"m{i}" for i in range(100))]
        return [
            helper.make_node("ReduceMax", [start], ["most"], keepdims=0),
            helper.make_node("Mul", ["matrix", "most"], ["large"]),
            *(helper.make_node("MatMul", [a, "matrix"], [b]) for a, b in pairwise(names)),
            helper.make_node("ReduceMax", [names[-1]], ["number"], keepdims=0),
            helper.make_node("Add", [start, "number"], [TEXT]),
        ]

    matrix = np.eye(1500, dtype=np.float32)
    model = place.edited_model(before_output(TEXT, nodes, ("matrix", matrix)))
    done = answered(["doctor", "--onnx", model, "--threads", 1])
    assert done.exit_code == 2
    assert "it was still busy after 0 s" in done.stderr or "after 1 s" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux counts them")
@pytest.mark.parametrize("output", [TEXT, IMAGE])
def test_a_bomb_keeps_to_the_limit_on_memory(output: str, place: Place) -> None:
    """The process that meets it, and the kernel's count of what it took at most."""
    model = place.edited_model(doubled(45, output))
    counted = (
        "import resource, sys; from edge_sharpzo.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    arguments = [str(part) for part in place.tune("--max-memory", 300, onnx=model)]
    command = [sys.executable, "-c", counted, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "--max-memory 300 is too little for" in done.stderr
    assert int(done.stdout.split()[-1]) * 1024 < 300 * MB
