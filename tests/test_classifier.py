"""`classifier.onnx` says what `predict` says, without edge-sharpzo."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from helpers import invoke, tune

from edge_sharpzo.classifier.onnx_file import METADATA_KEY
from edge_sharpzo.clip.card import ImageCard
from edge_sharpzo.clip.images import load_image, preprocess

EXAMPLE = Path(__file__).parent.parent / "examples" / "classify.py"


@pytest.fixture(scope="module", params=["auto", "none"])
def run(
    request: pytest.FixtureRequest,
    tiny_onnx: Path,
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "run"
    tune(tiny_onnx, photos, folder, "--head", request.param, "--budget", 300)
    return folder


def test_it_equals_predict(run: Path, photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    session = onnxruntime.InferenceSession(
        run / "classifier.onnx", providers=["CPUExecutionProvider"]
    )
    about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    labels = (run / "labels.txt").read_text().splitlines()
    assert labels == about["labels"] == ["blue_things", "green_things", "red_things"]
    card = ImageCard(**about["image"])
    pixels = np.stack([preprocess(load_image(file), card) for file in files])
    (probabilities,) = session.run(None, {"pixel_values": pixels})
    assert probabilities.shape == (len(files), 3)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    for row, told in zip(
        probabilities, json.loads(invoke("predict", run, *files, "--json").stdout), strict=True
    ):
        assert labels[row.argmax()] == told["class"]
        for top in told["top"]:
            assert row[labels.index(top["class"])] == pytest.approx(top["probability"], abs=1e-5)


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
    lines = [
        line.removesuffix("(not sure)").rstrip().rsplit(" ", 2) for line in done.stdout.splitlines()
    ]
    assert ["(not sure)" in line for line in done.stdout.splitlines()] == [
        not t["sure"] for t in told
    ]
    assert [(path, label) for path, label, _ in lines] == [(t["file"], t["class"]) for t in told]
    assert [float(p) for _, _, p in lines] == pytest.approx(
        [t["probability"] for t in told], abs=2e-3
    )


def test_the_watcher_names_every_new_photo_once(run: Path, photos: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    for index, file in enumerate(sorted(photos.rglob("*.png"))[:4]):
        (camera / f"{index}.png").write_bytes(file.read_bytes())
    (camera / "torn.jpg").write_bytes(b"not a photo")
    (camera / "notes.txt").write_text("hello")
    watcher = EXAMPLE.parent / "watch_folder.py"
    done = subprocess.run(
        [sys.executable, watcher, run / "classifier.onnx", camera, "--once"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == ["0.png", "1.png", "2.png", "3.png", "torn.jpg"]
    assert "error" in lines[-1]
    told = json.loads(invoke("predict", run, *sorted(camera.glob("*.png")), "--json").stdout)
    assert [line["class"] for line in lines[:-1]] == [t["class"] for t in told]
