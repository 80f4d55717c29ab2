"""`classifier.onnx` says what `predict` says, without edge-sharpzo."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from helpers import invoke, tune
from odd_photos import READABLE, REFUSED

from edge_sharpzo.clip.card import CLASSIFIER_KEY, ImageCard
from edge_sharpzo.clip.images import load_image, preprocess

EXAMPLE = Path(__file__).parent.parent / "examples" / "classify.py"


@pytest.fixture(scope="module", params=[[], ["--head", "none"], ["--plain-classifier"]], ids=str)
def run(
    request: pytest.FixtureRequest,
    tiny_onnx: Path,
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "run"
    tune(tiny_onnx, photos, folder, "--budget", 300, *request.param)
    return folder


def test_it_equals_predict(run: Path, photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    session = onnxruntime.InferenceSession(
        run / "classifier.onnx", providers=["CPUExecutionProvider"]
    )
    about = json.loads(session.get_modelmeta().custom_metadata_map[CLASSIFIER_KEY])
    labels = (run / "labels.txt").read_text().splitlines()
    assert labels == about["labels"] == ["blue_things", "green_things", "red_things"]
    card = ImageCard(**about["image"])
    loaded = [load_image(file) for file in files]
    if about["input"]["name"] == "pixel_values":
        pixels = np.stack([preprocess(image, card) for image in loaded])
        probabilities, known = session.run(None, {"pixel_values": pixels})
        most = 1e-5
    else:
        rows = [session.run(None, {"image": np.asarray(image)}) for image in loaded]
        probabilities, known = map(np.concatenate, zip(*rows, strict=True))
        most = 0.01
    assert probabilities.shape == (len(files), 3)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    answers = json.loads(invoke("predict", run, *files, "--json").stdout)
    assert (known >= 0).tolist() == [told["known"] for told in answers]
    for row, told in zip(probabilities, answers, strict=True):
        assert labels[row.argmax()] == told["class"]
        for top in told["top"]:
            assert row[labels.index(top["class"])] == pytest.approx(top["probability"], abs=most)


DOUBTS = ("not sure: ", "none of these; nearest: ")


def without_doubt(line: str) -> list[str]:
    """Photo, class and probability of a line of the example."""
    before, label, probability = line.rsplit(" ", 2)
    before += " "
    for doubt in DOUBTS:
        before = before.removesuffix(doubt)
    return [before.removesuffix(": "), label, probability]


def test_the_example_runs_without_edge_sharpzo(run: Path, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))[:8]
    script = """
import runpy
import sys
sys.argv = sys.argv[1:]
sys.modules["edge_sharpzo"] = sys.modules["onnx"] = None
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, EXAMPLE, run / "classifier.onnx", *files],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    told = json.loads(invoke("predict", run, *files, "--json").stdout)
    lines = [without_doubt(line) for line in done.stdout.splitlines()]
    doubts = ["" if t["sure"] else DOUBTS[t["known"] is False] for t in told]
    assert [
        next((d for d in DOUBTS if f": {d}" in line), "") for line in done.stdout.splitlines()
    ] == doubts
    assert [(path, label) for path, label, _ in lines] == [(t["file"], t["class"]) for t in told]
    assert [float(p) for _, _, p in lines] == pytest.approx(
        [t["probability"] for t in told], abs=0.01
    )


def test_the_example_carries_the_decoder_of_the_package() -> None:
    """On a difference: `cp edge_sharpzo/clip/images/*.py examples/images/`."""
    theirs, ours = EXAMPLE.parent / "images", EXAMPLE.parent.parent / "edge_sharpzo/clip/images"
    names = sorted(file.name for file in ours.glob("*.py"))
    assert names == sorted(file.name for file in theirs.glob("*.py"))
    assert len(names) > 4
    for name in names:
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), name


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name, (suffix, content, _) in {**READABLE, **REFUSED}.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    with (folder / "huge.jpg").open("wb") as stream:
        stream.truncate(30 * 10**9)
    return folder


def test_the_example_answers_as_predict_does_for_odd_files(run: Path, odd_folder: Path) -> None:
    files = sorted(odd_folder.iterdir())
    told = json.loads(invoke("predict", run, *files, "--json").stdout)
    errors = {row["file"]: row["error"] for row in told if "error" in row}
    assert {Path(name).stem for name in errors} == {*REFUSED, "huge"}
    done = subprocess.run(
        [sys.executable, EXAMPLE, run / "classifier.onnx", *files],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == [f"skipped {file}: {why}" for file, why in errors.items()]
    lines = [without_doubt(line) for line in done.stdout.splitlines()]
    answers = [row for row in told if "error" not in row]
    assert [line[:2] for line in lines] == [[row["file"], row["class"]] for row in answers]
    probabilities = [row["probability"] for row in answers]
    assert [float(line[2]) for line in lines] == pytest.approx(probabilities, abs=0.01)
