"""The commands from end to end, on a tiny model and coloured photos."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import invoke, run_tune, tune, write_photos
from safetensors.numpy import load_file
from typer.testing import CliRunner

from edge_sharpzo.cli import app
from edge_sharpzo.system.storage import cache_folder


@pytest.fixture(scope="module")
def run(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    tune(tiny_onnx, photos, folder)
    return folder


def test_a_run_leaves_its_files_and_a_full_summary(run: Path) -> None:
    assert sorted(p.name for p in run.iterdir()) == [
        "classifier.onnx",
        "config.json",
        "history.jsonl",
        "labels.txt",
        "prompt.safetensors",
        "report.html",
        "summary.json",
    ]
    summary = json.loads((run / "summary.json").read_text())
    wanted = "method preset seed model data accuracy loss queries seconds peak_rss_mb"
    assert {*wanted.split(), "stopped_because", "versions", "schema_version"} <= set(summary)
    assert {k: summary["data"][k] for k in ("classes", "train", "val", "test")} == {
        "classes": 3,
        "train": 15,
        "val": 3,
        "test": 18,
    }
    assert summary["queries"]["total"] == sum(summary["queries"]["by_kind"].values()) <= 1500
    assert summary["stopped_because"] == "budget"
    assert summary["loss"]["end"] < summary["loss"]["start"]
    assert summary["accuracy"]["tuned"]["test"] >= summary["accuracy"]["zero_shot"]["test"]
    tensors = load_file(run / "prompt.safetensors")
    assert (tensors["context"].shape, tensors["text_features"].shape) == ((8, 32), (3, 24))


def test_history_is_in_order_and_its_best_is_the_result(run: Path) -> None:
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    queries = [line["queries"] for line in history]
    assert queries == sorted(queries)
    best = min(
        (line for line in history if line["stage"] != "refit"), key=lambda line: line["loss"]
    )
    summary = json.loads((run / "summary.json").read_text())
    assert summary["accuracy"]["tuned"]["val"] == best["val_accuracy"]
    assert summary["loss"]["end"] == best["loss"]


def test_shots_that_validation_borrowed_are_learnt_from_at_the_end(
    run: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    """From the best prompt on, without validating; never with photos beyond the shots, never by
    SharpZO.
    """
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    last = [line for line in history if line["stage"] == "refit"]
    assert history[-len(last) :] == last
    assert 0.7 * 1500 < last[0]["queries"] < 0.75 * 1500
    assert {line["val_loss"] for line in last} == {None}
    assert min(line["loss"] for line in last) < last[0]["loss"]
    assert json.loads((run / "summary.json").read_text())["data"]["borrowed"] == 3

    shutil.copytree(photos, tmp_path / "data")
    for name, hue in (("red_things", 0), ("green_things", 90), ("blue_things", 170)):
        write_photos(tmp_path / "data" / "train" / name, hue, 4, seed=5, start=6)
    for data, out, more in (
        (tmp_path / "data", "spare", []),
        (photos, "paper", ["--method", "sharpzo"]),
    ):
        summary = tune(tiny_onnx, data, tmp_path / out, *more)
        assert "refit" not in (tmp_path / out / "history.jsonl").read_text()
        assert summary["data"]["borrowed"] == 0


def same_run(first: Path, second: Path) -> bool:
    prompts = [load_file(folder / "prompt.safetensors") for folder in (first, second)]
    same_prompt = all(np.array_equal(prompts[0][name], prompts[1][name]) for name in prompts[0])
    return (
        same_prompt
        and (first / "history.jsonl").read_bytes() == (second / "history.jsonl").read_bytes()
    )


def test_one_seed_one_result(run: Path, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    tune(tiny_onnx, photos, tmp_path / "again")
    tune(tiny_onnx, photos, tmp_path / "other", "--seed", 1)
    assert same_run(run, tmp_path / "again")
    assert not same_run(run, tmp_path / "other")


def test_test_photos_choose_nothing(
    run: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    """Test photos in the wrong folders, or none at all: the run is the same."""
    for case in ("mixed", "absent"):
        shutil.copytree(photos, tmp_path / case / "data")
        shutil.rmtree(tmp_path / case / "data" / "test")
        if case == "mixed":
            for name, other in (
                ("red_things", "blue_things"),
                ("blue_things", "green_things"),
                ("green_things", "red_things"),
            ):
                shutil.copytree(photos / "test" / name, tmp_path / case / "data" / "test" / other)
        tune(tiny_onnx, tmp_path / case / "data", tmp_path / case / "run")
        assert same_run(run, tmp_path / case / "run"), case
    summary = json.loads((tmp_path / "absent" / "run" / "summary.json").read_text())
    assert summary["accuracy"]["tuned"]["test"] is None


def test_predict_and_eval_agree_with_the_run(run: Path, photos: Path) -> None:
    accuracy = json.loads((run / "summary.json").read_text())["accuracy"]["classifier"]["test"]
    result = invoke("eval", run, "--data", photos, "--json")
    assert json.loads(result.stdout)["accuracy"] == accuracy
    files = sorted((photos / "test").rglob("*.png"))
    predictions = json.loads(invoke("predict", run, *files, "--json").stdout)
    assert np.mean([Path(p["file"]).parent.name == p["class"] for p in predictions]) == accuracy
    assert all(
        sum(t["probability"] for t in p["top"]) == pytest.approx(1, abs=1e-5) for p in predictions
    )


def test_predict_takes_folders_and_lists_and_writes_csv(run: Path, photos: Path) -> None:
    files = sorted((photos / "test").rglob("*.png"))
    by_folder = invoke("predict", run, photos / "test", "--csv", "--top", 1).stdout
    rows = list(csv.DictReader(by_folder.splitlines()))
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert {row["class"] for row in rows} <= {"red_things", "green_things", "blue_things"}
    assert all(0 < float(row["probability"]) <= 1 and not row["error"] for row in rows)
    listed = CliRunner().invoke(
        app,
        ["predict", str(run), "-", "--csv"],
        input="\n".join(map(str, files)),
        catch_exceptions=False,
    )
    assert listed.stdout == by_folder
    plain = invoke("predict", run, files[0], "--top", 1).stdout
    assert "(" not in plain


def test_compare_shows_runs_side_by_side(
    run: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    tune(tiny_onnx, photos, tmp_path / "other", "--method", "random", "--budget", 100)
    rows = json.loads(invoke("compare", run, tmp_path / "other", "--json").stdout)
    assert [row["method"] for row in rows] == ["gauss-newton", "random"]
    assert (
        rows[0]["tuned, held-out"]
        == json.loads((run / "summary.json").read_text())["accuracy"]["tuned"]["test"]
    )
    table = invoke("compare", run, tmp_path / "other").stdout
    assert f"{100 * rows[0]['classifier, held-out']:.1f} %" in table
    assert "cannot be compared" not in table
    for files in (["sweep.json"], ["sweep.md", "sweep.json"]):  # as `sweep/*` names them
        for name in files:
            (tmp_path / name).touch()
        done = invoke("compare", run, *(tmp_path / name for name in files), tmp_path / "other")
        assert done.stdout == table
        named = ", ".join(str(tmp_path / name) for name in files)
        are = "are files" if len(files) > 1 else "is a file"
        assert done.stderr == f"note: {named} {are} and no run: left out\n"
    shutil.rmtree(tmp_path / "other")
    shutil.copytree(photos, tmp_path / "two", ignore=shutil.ignore_patterns("red_things"))
    tune(tiny_onnx, tmp_path / "two", tmp_path / "other", "--budget", 50)
    assert "differ in classes, held-out photos" in invoke("compare", run, tmp_path / "other").stdout


def test_doctor_measures_the_device(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(invoke("doctor", "--onnx", tiny_onnx, "--json").stdout)
    assert found["providers"]["cpu"] == "runs"
    assert found["providers"]["coreml"] == "not in this onnxruntime"
    assert found["ms_per_query"] > 0
    assert 0 < found["noise_floor"] < 1e-5
    text = invoke("doctor", "--onnx", tiny_onnx).stdout
    assert "provider cpu       runs" in text
    assert "ms per query" in text
    monkeypatch.setattr("sys.maxsize", 2**31 - 1)
    refused = invoke("doctor", "--onnx", tiny_onnx)
    assert refused.exit_code == 2
    assert "64-bit" in refused.stderr


def test_memory_left_heeds_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_sharpzo.system import machine

    (tmp_path / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUP_MEMORY", tmp_path)
    assert machine.available_mb() == 4096
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert machine.available_mb() == 4096
    (tmp_path / "memory.max").write_text("512000000\n")
    assert machine.available_mb() == 511
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "none")
    assert machine.available_mb() is None


def test_plain_output_for_people(run: Path, photos: Path) -> None:
    file = photos / "test" / "red_things" / "000.png"
    result = invoke("predict", run, file)
    assert re.fullmatch(rf"{re.escape(str(file))}: \w+_things [\d.]+ %  \(.*\)\n", result.stdout)
    assert "accuracy" in invoke("eval", run, "--data", photos).stdout
    assert json.loads(invoke("info", run).stdout)["method"] == "gauss-newton"


def test_features_are_encoded_once(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(tiny_onnx, photos, tmp_path / "first")
    sessions: list[str] = []
    from edge_sharpzo.clip.clip_file import ClipOnnx

    original = ClipOnnx.session
    monkeypatch.setattr(
        ClipOnnx,
        "session",
        lambda self, tower, integer=False: sessions.append(tower) or original(self, tower, integer),
    )
    tune(tiny_onnx, photos, tmp_path / "second")
    assert "image" not in sessions
    assert same_run(tmp_path / "first", tmp_path / "second")
    for file in cache_folder().iterdir():
        file.write_bytes(file.read_bytes()[:100])  # a crash half-way through
    tune(tiny_onnx, photos, tmp_path / "third")
    assert "image" in sessions
    assert same_run(tmp_path / "first", tmp_path / "third")


def test_a_bad_photo_is_skipped_and_named(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "data")
    bad = tmp_path / "data" / "test" / "red_things" / "bad.jpg"
    bad.write_bytes(b"not a photo")
    result = run_tune(tiny_onnx, tmp_path / "data", tmp_path / "run", "--shots", 6, "--budget", 50)
    assert result.exit_code == 0
    assert f"skipped {bad}: not an image" in result.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["data"]["skipped"] == 1


@pytest.mark.parametrize(
    "more",
    [
        ("--template", "{} texture."),
        ("--context-tokens", 2),
        ("--shots", 1),
        ("--minutes", 1),
        ("--threads", 1),
    ],
)
def test_options(more: tuple[object, ...], tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    summary = tune(tiny_onnx, photos, tmp_path / "run", "--budget", 120, *more)
    context = load_file(tmp_path / "run" / "prompt.safetensors")["context"]
    assert len(context) == (2 if "--context-tokens" in more else 8)
    assert summary["data"]["train"] == (3 if "--shots" in more else 15)


def test_sharpzos_default_reaches_both_stages(
    tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    summary = tune(tiny_onnx, photos, tmp_path / "run", "--method", "sharpzo", "--budget", 7500)
    assert {"population", "sharpness", "mask", "rge"} <= set(summary["queries"]["by_kind"])
    stages = [
        json.loads(line)["stage"]
        for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    ]
    assert list(dict.fromkeys(stages)) == ["start", "warm-up", "search"]


def test_the_papers_preset_runs_the_papers_loop(
    tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    summary = tune(
        tiny_onnx,
        photos,
        tmp_path / "run",
        "--preset",
        "paper",
        "--paper-task",
        "eurosat",
        "--budget",
        2300,
    )
    kinds = summary["queries"]["by_kind"]
    assert (kinds["sharpness"], kinds["population"]) == (2048, 80)
    assert (summary["preset"], summary["paper_task"]) == ("paper", "eurosat")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["preset"]["settings"]["sigma"] == 0.4


def test_tuning_imports_nothing_that_a_device_need_not_hold(
    tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    script = """
import sys
from edge_sharpzo.cli import app
try:
    app(["tune", *sys.argv[1:], "--shots", "6", "--budget", "200"])
except SystemExit as end:
    assert not end.code, end.code
heavy = ("torch", "torchvision", "open_clip", "timm", "transformers", "onnx", "pydantic")
held = [module for module in heavy if module in sys.modules]
assert not held, held
"""
    paths = ["--onnx", tiny_onnx, "--data", photos, "--out", tmp_path / "run"]
    subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        check=True,
        capture_output=True,
        timeout=120,
    )


def test_the_device_package_unpickles_nothing() -> None:
    import edge_sharpzo

    for file in Path(edge_sharpzo.__file__).parent.rglob("*.py"):
        text = file.read_text()
        assert not re.search(
            r"\b(import|from) "
            r"(pickle|dill|joblib|torch)\b|allow_pickle=True|[^_.\w]eval\(|[^_.\w]exec\(",
            text,
        ), file


def test_help_imports_nothing_heavy() -> None:
    script = """
import sys
from edge_sharpzo.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
heavy = ("numpy", "onnx", "onnxruntime", "PIL", "cma", "tokenizers", "rich.progress", "msgspec")
held = [module for module in heavy if module in sys.modules]
assert not held, held
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def test_public_python_surface(tiny_onnx: Path, photos: Path) -> None:
    from edge_sharpzo import ClipOnnx, PromptObjective, SharpZO
    from edge_sharpzo.photos import find_photos

    clip = ClipOnnx(tiny_onnx)
    found = find_photos(photos / "train")
    objective = PromptObjective(
        clip, found.names, clip.encode_images(found.photos.paths), found.photos.labels
    )
    optimizer = SharpZO(objective.dim, seed=0)
    start = objective.losses(optimizer.solution[None], "validation")[0]
    for _ in range(12):
        optimizer.tell(objective.losses(optimizer.ask(), optimizer.kind))
    assert objective.losses(optimizer.solution[None], "validation")[0] < start


@pytest.mark.slow  # `test_resume.py` interrupts a run, too
def test_interrupting_keeps_the_best_prompt(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    arguments = [
        "tune",
        "--onnx",
        tiny_onnx,
        "--data",
        photos,
        "--out",
        tmp_path / "run",
        "--shots",
        6,
        "--minutes",
        0.5,
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_sharpzo", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "loss" in line:
                break
        time.sleep(0.2)
        process.terminate()
        assert process.wait(timeout=60) == 130
    assert (
        json.loads((tmp_path / "run" / "summary.json").read_text())["stopped_because"]
        == "interrupted"
    )


def test_folder_with_val_is_validated_on_it(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "data")
    for name, hue in (("red_things", 0), ("green_things", 90), ("blue_things", 170)):
        write_photos(tmp_path / "data" / "val" / name, hue, 2, seed=9)
    summary = tune(tiny_onnx, tmp_path / "data", tmp_path / "run", "--budget", 60)
    assert (summary["data"]["train"], summary["data"]["val"]) == (18, 6)


def test_gauss_newton_from_python(tiny_onnx: Path, photos: Path) -> None:
    from edge_sharpzo import ClipOnnx, GaussNewton, PromptObjective
    from edge_sharpzo.photos import find_photos

    clip = ClipOnnx(tiny_onnx)
    found = find_photos(photos / "train")
    objective = PromptObjective(
        clip, found.names, clip.encode_images(found.photos.paths), found.photos.labels, dim=None
    )
    optimizer = GaussNewton(objective.dim, objective.loss, seed=0)
    start = objective.losses(optimizer.solution[None], "validation")[0]
    while objective.queries.total() < 200:
        text = objective.text_features(optimizer.ask(), optimizer.kind)
        optimizer.tell(objective.loss.values(text), text)
    assert objective.losses(optimizer.solution[None], "validation")[0] < start
    assert objective.contexts(optimizer.solution[None])[0].shape == objective.initial_context.shape


@pytest.mark.parametrize("found", ["1.21.0", "1.20.1", "1.9.0", "0.5.0", "1.21.0.dev20250101"])
def test_a_release_of_onnxruntime_that_does_not_work_is_refused(
    found: str,
    run: Path,
    tiny_onnx: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edge_sharpzo.system import machine

    monkeypatch.setattr(machine, "versions", lambda: {"onnxruntime": found})
    for command in (
        ["doctor", "--onnx", tiny_onnx],
        ["tune", "--onnx", tiny_onnx, "--data", photos, "--out", tmp_path / "run"],
        ["predict", run, photos],
        ["eval", run, "--data", photos],
    ):
        result = invoke(*command)
        assert result.exit_code == 2
        assert "pip install 'onnxruntime>=1.21.1'" in result.stderr


@pytest.mark.parametrize("found", ["1.21.1", "1.22.0.dev20250101", "1.100.0", "2.0.0", "unknown"])
def test_other_releases_of_onnxruntime_are_tried(
    found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_sharpzo.system import machine

    monkeypatch.setattr(machine, "versions", lambda: {"onnxruntime": found})
    machine.check_device()


def test_the_oldest_onnxruntime_is_the_one_that_the_package_asks_for() -> None:
    from edge_sharpzo.system.machine import OLDEST_ONNXRUNTIME

    wanted = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert f'"onnxruntime>={".".join(map(str, OLDEST_ONNXRUNTIME))}"' in wanted
