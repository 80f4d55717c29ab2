"""What the documents show is run: every `$ edge-sharpzo` command, every Python block, every make
target.
"""

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import invoke, tune, write_photos

from benchmarks import (
    base_to_new,
    fleet_tables,
    gradient_table,
    near_duplicates,
    shots,
    suspects,
    unknown,
    wanting,
)
from benchmarks.accuracy import FROM_WORDS, Cell, read_results
from edge_sharpzo.clip import ClipOnnx, TextTower
from edge_sharpzo.tuning.loss import cross_entropy
from edge_sharpzo.tuning.methods.registry import METHODS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN_ELSEWHERE = ("make demo", "…")  # the demo and its output: continuous integration runs it


def blocks(document: Path, kind: str) -> list[str]:
    return [
        content
        for name, content in BLOCK.findall(document.read_text(encoding="utf8"))
        if name == kind
    ]


@pytest.fixture
def device(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `imgs/`, `clip.onnx` and a photo, and no more than 300 queries per run."""
    for name, hue in (("red_things", 0), ("green_things", 90)):
        write_photos(tmp_path / "imgs" / name, hue, 24, seed=1)
    (tmp_path / "clip.onnx").write_bytes(tiny_onnx.read_bytes())
    (tmp_path / "photo.jpg").write_bytes(
        (tmp_path / "imgs" / "red_things" / "000.png").read_bytes()
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge_sharpzo.tuning.methods.plan.DEFAULT_BUDGET", 300)
    runs = (f"run-{i}" for i in count())
    monkeypatch.setattr("edge_sharpzo.runs.folder.time.strftime", lambda _: next(runs))
    return tmp_path


def as_shells_do(word: str) -> list[str]:
    """The names that a word with `*` stands for."""
    return [str(path) for path in sorted(Path().glob(word))] if "*" in word else [word]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands(document: Path, device: Path) -> None:
    lines = [
        line[2:]
        for block in blocks(document, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    for line in lines:
        if any(mark in line for mark in RUN_ELSEWHERE) or line.startswith("make "):
            continue
        program, *arguments = shlex.split(line.replace("<time>", "run-0"))
        assert program.removeprefix(".venv/bin/") == "edge-sharpzo", line
        done = invoke(*(each for word in arguments for each in as_shells_do(word)))
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert device.exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_shell_blocks_say_that_they_are_not_run(document: Path) -> None:
    for block in [*blocks(document, "bash"), *blocks(document, "ini")]:
        assert block.startswith("# not run by the tests"), block


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for target in re.findall(
            r"`make ([a-z0-9-]+)|^(?:\$ )?make ([a-z0-9-]+)",
            document.read_text(encoding="utf8"),
            re.MULTILINE,
        ):
            assert f"\n{target[0] or target[1]}:" in makefile, target


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(
            r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf8")
        ):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


RESULTS = ROOT / "benchmarks" / "results"
SETS = {
    "clothing": "clothing",
    "textures": "dtd10",
    "groceries": "grocery",
    "waste": "trashnet",
    "aerial": "ucmerced",
}


@pytest.fixture(scope="module")
def measured() -> dict[Cell, dict[str, Any]]:
    return read_results(RESULTS / "accuracy.jsonl")


def by_set(
    measured: dict[Cell, dict[str, Any]], method: str, budget: int, key: str = "held_out"
) -> list[float]:
    """In per cent, the mean of three seeds for each of `SETS`, and the mean of those."""
    means = [
        statistics.mean(100 * measured[Cell(method, name, seed, budget)][key] for seed in range(3))
        for name in SETS.values()
    ]
    return [*means, statistics.mean(means)]


def shown(document: Path, title: str, count: int) -> list[str]:
    """The percentages of the row of `document` that has `count` of them and begins with `title`."""
    row = re.search(
        rf"^\| {title}[^%\n]*?((?:\| [\d.]+ % ){{{count}}})\|",
        document.read_text(encoding="utf8"),
        re.MULTILINE,
    )
    assert row, title
    return re.findall(r"[\d.]+", row[1])


def rounded(values: Iterable[float]) -> list[str]:
    return [f"{value:.1f}" for value in values]


def test_the_accuracies_shown_were_measured(measured: dict[Cell, dict[str, Any]]) -> None:
    """In the table of results, and in the README's shorter one, which has no 20,000 queries."""
    columns = [
        by_set(measured, "zero-shot", 0),
        by_set(measured, "sharpzo-paper", 150_000),
        by_set(measured, "gauss-newton", 5000),
        by_set(measured, FROM_WORDS, 20_000),
        by_set(measured, "gradient", 0),
        by_set(measured, "gauss-newton", 5000, "fused_held_out"),
        by_set(measured, "gauss-newton", 5000, "head_held_out"),
    ]
    results = ROOT / "docs" / "results.md"
    for title, *figures in zip([*SETS, "mean"], *columns, strict=True):
        assert shown(results, title, len(figures)) == rounded(figures), title
        short = figures[:3] + figures[4:]
        assert shown(README, title, len(short)) == rounded(short), title


def test_the_accuracies_over_shots_were_measured() -> None:
    measured = shots.table(read_results(RESULTS / "shots.jsonl"), sorted(SETS.values()))
    section = (ROOT / "docs" / "results.md").read_text(encoding="utf8").split("## Few photos")[1]
    rows = re.findall(r"^\| .*\|$", section.split("## ")[0], re.MULTILINE)
    assert len(rows) > 10
    assert set(rows) <= set(measured.splitlines())


def test_the_accuracies_of_classes_without_photos_were_measured() -> None:
    results = read_results(RESULTS / "base_to_new.jsonl")
    section = (ROOT / "docs" / "results.md").read_text(encoding="utf8")
    section = section.split("\n## Classes without photos")[1].split("\n## ")[0]
    found = re.findall(r"^\|(?: .*|---.*)\|$", section, re.MULTILINE)
    names = sorted(SETS.values())
    shown = [
        row for shots in (16, 4) for row in base_to_new.table(results, shots, names).split("\n")
    ]
    assert len(found) > 10
    assert found == [row for row in shown if row]


def test_what_is_found_of_photos_that_hurt_was_measured() -> None:
    section = (ROOT / "docs" / "results.md").read_text(encoding="utf8")
    section = section.split("\n## Photos that hurt")[1].split("\n## ")[0]
    found = re.findall(r"^\|(?: .*|---.*)\|$", section, re.MULTILINE)
    tables = [
        suspects.tables(suspects.read_rows(RESULTS / "suspects.json")),
        near_duplicates.table(suspects.read_rows(RESULTS / "near_duplicates.json")),
        wanting.table(suspects.read_rows(RESULTS / "wanting.json")),
    ]
    lines = "\n".join(tables).split("\n")
    assert len(found) > 30
    assert set(found) <= set(lines)


def test_what_tells_photos_of_none_of_the_classes_was_measured() -> None:
    section = (ROOT / "docs" / "results.md").read_text(encoding="utf8")
    section = section.split("\n## None of these")[1].split("\n## ")[0]
    lines = unknown.tables(suspects.read_rows(RESULTS / "unknown.json")).split("\n")
    found = re.findall(r"^\|(?: .*|---.*)\|$", section, re.MULTILINE)
    assert found == [line for line in lines if line.startswith("|")]
    assert lines[-2] in section


def test_the_costs_of_gradients_were_measured() -> None:
    result = json.loads((RESULTS / "gradient_cost.json").read_text(encoding="utf8"))
    rows = [row for row in gradient_table.tables(result).splitlines() if row.startswith("|")]
    section = (ROOT / "docs" / "performance.md").read_text(encoding="utf8").split("## Why not")[1]
    assert len(rows) > 30
    assert set(rows) <= set(section.splitlines())


def test_the_fleets_rounds_were_measured() -> None:
    """And the tables are those of today's model and of today's calls."""
    pytest.importorskip("open_clip")
    results = (fleet_tables.read_result(f"{name}.json") for name in ("query_cost", "fleet_check"))
    *lines, summary = fleet_tables.tables(*results).strip().splitlines()
    guide = (ROOT / "docs" / "fleet.md").read_text(encoding="utf8")
    assert " ".join(summary.split()) in " ".join(guide.split())
    rows = [line for line in lines if line]
    section = guide.split("\n## What a round costs")[1]
    assert re.findall(r"^\|.*\|$", section, re.MULTILINE) == rows
    assert len(rows) > 30


def test_the_cost_of_a_service_was_measured() -> None:
    pytest.importorskip("open_clip")
    from benchmarks import remote_cost

    rows = remote_cost.table(fleet_tables.read_result("remote_cost.json")["results"])
    assert rows in (ROOT / "docs" / "service.md").read_text(encoding="utf8")
    assert len(rows.splitlines()) == 4


def test_what_the_guide_to_watching_shows_was_measured() -> None:
    pytest.importorskip("av")
    pytest.importorskip("paho.mqtt")
    from benchmarks import video_readers, watch_soak

    guide = (ROOT / "docs" / "watch.md").read_text(encoding="utf8")
    soak, readers = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf8"))
        for name in ("watch_soak", "video_readers")
    )
    assert watch_soak.told(soak) in " ".join(guide.split())
    assert video_readers.table(readers["results"]) in guide


def test_what_the_guide_to_the_station_shows_was_measured() -> None:
    pytest.importorskip("httpx")
    from benchmarks import station_cost

    guide = (ROOT / "docs" / "station.md").read_text(encoding="utf8")
    measured = json.loads((RESULTS / "station_cost.json").read_text(encoding="utf8"))
    assert station_cost.told(measured) in " ".join(guide.split())


def test_the_methods_guide_shows_what_was_measured(measured: dict[Cell, dict[str, Any]]) -> None:
    guide = ROOT / "docs" / "methods.md"
    rows = {name: (name, (1000, 5000, 20_000)) for name in METHODS}
    rows["gauss-newton"] = "gauss-newton", (1000, 5000)
    rows["gauss-newton --start words"] = FROM_WORDS, (1000, 5000, 20_000)
    for title, (method, budgets) in rows.items():
        means = (by_set(measured, method, budget)[-1] for budget in budgets)
        assert shown(guide, f"`{title}`", len(budgets)) == rounded(means), title
    ablations = (RESULTS / "ablations.md").read_text(encoding="utf8")
    row = re.compile(
        r"^\|[^|]+(\| [\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ \|) ?([-+\d.± ]*)\|$", re.MULTILINE
    )
    rows = row.findall(guide.read_text(encoding="utf8"))
    assert len(rows) > 40
    for accuracies, difference in rows:
        assert accuracies in ablations
        assert difference.strip() in ablations


def test_the_api_guide_runs(device: Path) -> None:
    script = device / "guide.py"
    script.write_text("".join(blocks(ROOT / "docs" / "python-api.md", "python")), encoding="utf8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") > 40


def test_the_snippet_for_the_classifier_runs(device: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "own-photos.md", "python")
    tune(device / "clip.onnx", device / "imgs", device / "run", "--budget", 50)
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(invoke("predict", "run", "photo.jpg", "--json").stdout)
    label, probability = done.stdout.split()
    assert label == told["class"]
    assert float(probability) == pytest.approx(told["probability"], abs=0.01)


@pytest.mark.skipif(not find_spec("tritonclient"), reason="the extra `remote` is not installed")
def test_the_guide_to_services_runs(device: Path) -> None:
    """Against a service that holds the photos' features and gives losses and logits."""
    from http_service import Model, Tensors, models

    clip = ClipOnnx(device / "clip.onnx")
    photos = sorted((device / "imgs").glob("*/*.png"))
    labels = np.array([int(photo.parent.name == "red_things") for photo in photos])
    features = clip.encode_images(photos)
    prompt = clip.prompts.for_tuning(["green things", "red things"], "a photo of a {}.")
    tower = TextTower(clip, prompt.classes, len(prompt.context))
    scale = clip.card.logit_scale

    def run(given: Tensors) -> Tensors:
        text = tower(given["ctx"])
        logits = np.stack([scale * features @ each.T for each in text])
        losses = cross_entropy(text, features, labels, scale)
        return {"logits": logits.astype(np.float32), "losses": losses.astype(np.float32)}

    np.save(device / "start.npy", clip.token_embeddings(prompt.context))
    np.save(device / "labels.npy", labels)
    script = device / "service.py"
    served = Model({"ctx": "FP32"}, {"losses": "FP32", "logits": "FP32"}, run)
    with models({"prompt-scores": served}) as server:
        code = "".join(blocks(ROOT / "docs" / "service.md", "python"))
        script.write_text(code.replace("localhost:8000", f"127.0.0.1:{server.server_port}"))
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
        assert {path for path, _ in server.asked} == {"/v2/models/prompt-scores/infer"}
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, *_ in told] == ["sharpzo", "gauss-newton"]
    first = cross_entropy(tower(np.load("start.npy")[None]), features, labels, scale)[0]
    for _, before, after in told:
        assert float(before) == pytest.approx(first, rel=1e-5)
        assert float(after) < 0.98 * first
    last = run({"ctx": np.load("context.npy")[None]})["losses"][0]
    assert last == pytest.approx(float(told[1][2]), rel=1e-5)


def test_the_readme_example_runs(device: Path) -> None:
    (block,) = blocks(README, "python")
    script = device / "readme.py"
    script.write_text(block.replace("5000", "300"), encoding="utf8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Prediction(label=" in done.stdout


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf8").split()) < 900


def example(name: str, *arguments: object) -> str:
    command = [sys.executable, ROOT / "examples" / name, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "QUERIES": "300"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_with_an_own_folder(device: Path) -> None:
    told = example("own_folder.py", device / "clip.onnx", device / "imgs", device / "prompt.npy")
    assert told.endswith("of 32 right\n")
    assert np.load(device / "prompt.npy").shape == (3, 32)


def test_the_example_that_resumes() -> None:
    assert example("resume.py").startswith("the same end: True")
