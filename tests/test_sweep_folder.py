"""A sweep's folder over several commands: what is in its plan and its table, and what is told."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import invoke, write_photos

import edge_sharpzo
from edge_sharpzo import UserError
from edge_sharpzo.events import Event, RunEnded
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.sweeping.folder import PLAN, record_of
from edge_sharpzo.sweeping.options import SweepOptions
from edge_sharpzo.sweeping.plan import sweep_of

pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("here")
MADE_OF_OTHERS = "it was made of other photos or class names than the sweep began with, and is left"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set of photos with three classes."""
    root = tmp_path / "fruits"
    for label, hue in (("red", 0), ("green", 90), ("blue", 170)):
        write_photos(root / "train" / label, hue, 6, seed=1)
        write_photos(root / "test" / label, hue, 6, seed=2)
    (tmp_path / "names.txt").write_text("red = cherry")
    return root


@pytest.fixture
def sweep(data: Path, tiny_onnx: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs the command in `tmp_path / "out"`."""

    def run(*more: object, on: Path = data) -> Any:
        command = ["--data", on, "--onnx", tiny_onnx, "--out", tmp_path / "out", "--shots", 2]
        done = invoke("sweep", *command, "--threads", 1, "--workers", 1, *more)
        assert "Traceback" not in done.output
        return done

    return run


def run_of(seed: int, budget: int = 60, data: str = "fruits") -> str:
    return f"{data}-gauss-newton-2shots-seed{seed}-{budget}"


def plan(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "out" / PLAN).read_text())  # type: ignore[no-any-return]


def seeds_in_table(tmp_path: Path) -> list[list[int]]:
    return [row["seeds"] for row in plan(tmp_path)["table"]]


# Photos that change while a sweep goes on.


def exchanged(data: Path) -> None:
    red, green, aside = (data / "train" / name for name in ("red", "green", "aside"))
    red.rename(aside)
    green.rename(red)
    aside.rename(green)


def one_more(data: Path) -> None:
    write_photos(data / "train" / "blue", 0, 1, seed=77, start=6)


def one_held_out_less(data: Path) -> None:
    (data / "test" / "red" / "000.png").unlink()


def one_held_out_edited(data: Path) -> None:
    shutil.copy(data / "train" / "red" / "000.png", data / "test" / "blue" / "003.png")


def renamed(data: Path) -> None:
    (data.parent / "names.txt").write_text("red = strawberry")


def changed_meanwhile(
    change: Callable[[Path], None], data: Path, onnx: Path, out: Path
) -> tuple[Any, str]:
    """Two runs; the photos change between them. What came of it, and the name of the second."""

    def hear(event: Event) -> None:
        if isinstance(event, RunEnded) and event.done == 1:
            change(data)

    names = data.parent / "names.txt"
    more: dict[str, Any] = {"shots": 2, "threads": 1, "workers": 1, "budgets": 60, "out": out}
    swept = edge_sharpzo.sweep(
        data, onnx=onnx, seeds="0-1", class_names=names, on_progress=hear, **more
    )
    return swept, run_of(1)


CHANGES = (exchanged, one_more, one_held_out_less, one_held_out_edited, renamed)


@pytest.mark.parametrize("change", CHANGES)
def test_runs_on_photos_that_changed_meanwhile_are_left_out(
    change: Callable[[Path], None], data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    swept, late = changed_meanwhile(change, data, tiny_onnx, tmp_path / "out")
    assert list(swept.failed) == [late]
    assert swept.failed[late].startswith(MADE_OF_OTHERS)
    assert list(swept.runs) == [run_of(0)]
    assert plan(tmp_path)["failed"] == swept.failed
    assert seeds_in_table(tmp_path) == [[0]]


def test_they_are_told_until_they_are_made_anew(
    data: Path, tiny_onnx: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    _, late = changed_meanwhile(exchanged, data, tiny_onnx, tmp_path / "out")
    again = ("--seeds", "0-1", "--budgets", 60, "--class-names", tmp_path / "names.txt")
    done = sweep(*again)
    assert done.exit_code == 2
    assert f"the photos in {data} are not those that" in done.stderr
    exchanged(data)
    done = sweep(*again)
    assert done.exit_code == 2
    assert seeds_in_table(tmp_path) == [[0]]
    assert f"in the plan, and without results: {late} ({MADE_OF_OTHERS}" in done.stderr
    (tmp_path / "out" / late).rename(tmp_path / late)
    done = sweep(*again)
    assert done.exit_code == 0, done.stderr
    assert seeds_in_table(tmp_path) == [[0, 1]]


@pytest.mark.parametrize("broken", ["photos_sha256", "model_sha256"])
def test_a_run_of_something_else_is_left_out(
    broken: str, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    assert sweep("--seeds", "0-1", "--budgets", 60).exit_code == 0
    file = tmp_path / "out" / run_of(1) / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {broken: "7" * 64}))
    done = sweep("--seeds", "0-1", "--budgets", 60)
    assert done.exit_code == 2
    assert re.search("it was made of (another model|other photos) .*than the sweep", done.stderr)
    assert seeds_in_table(tmp_path) == [[0]]


# Names that are too long.


@pytest.mark.parametrize(
    "name", ["x" * 240, "é" * 115, "\N{STRAWBERRY}" * 56, "x" * 221], ids="abcd"
)
def test_a_name_that_is_too_long_is_refused(
    name: str, data: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    """249 bytes are what the folder of a run may have, for one more name is made of it."""
    long = data.rename(tmp_path / name)
    done = sweep("--seeds", "0", "--budgets", 60, on=long)
    assert done.exit_code == 2
    assert "has too long a name: a folder" in done.stderr
    assert "rename it, or give --data a link with a short name" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_longest_name(data: Path, sweep: Callable[..., Any], tmp_path: Path) -> None:
    name = "x" * (249 - len(run_of(0, data="")))
    done = sweep("--seeds", "0", "--budgets", 60, on=data.rename(tmp_path / name))
    assert done.exit_code == 0, done.stderr
    assert len(name) == 220


def test_a_path_that_is_too_long_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path.joinpath(*["d" * 200] * 20)
    done = invoke("sweep", "--data", data, "--out", out, "--seeds", 0)
    assert done.exit_code == 2
    assert "has too long a path" in done.stderr
    assert "choose an --out with a shorter one" in done.stderr
    assert not (tmp_path / ("d" * 200)).exists()


def test_a_run_that_cannot_be_looked_at_leaves_the_table(
    sweep: Callable[..., Any], tmp_path: Path
) -> None:
    assert sweep("--seeds", "0", "--budgets", 60).exit_code == 0
    known = plan(tmp_path)
    long = "x" * 250
    known["sets"][long] = str(tmp_path / long)
    known["photos_sha256"][long] = "0" * 64
    known["runs"].append({**known["runs"][0], "set": long})
    (tmp_path / "out" / PLAN).write_text(json.dumps(known))
    done = sweep("--seeds", "1", "--budgets", 60)
    assert done.exit_code == 2
    assert "File name too long" in done.stderr
    assert seeds_in_table(tmp_path) == [[0, 1]]
    assert list(plan(tmp_path)["failed"]) == [run_of(0, data=long)]


# What earlier commands have left.


def test_failures_of_earlier_commands_are_kept(sweep: Callable[..., Any], tmp_path: Path) -> None:
    assert sweep("--budgets", "1,60", "--seeds", "0").exit_code == 2
    why = plan(tmp_path)["failed"][run_of(0, 1)]
    assert "does not pay for the first step" in why
    for seed in ("1", "1"):
        done = sweep("--budgets", 60, "--seeds", seed, "--json")
        assert done.exit_code == 2
        assert f"in the plan, and without results: {run_of(0, 1)} ({why})" in done.stderr
        assert "1 of the runs failed" in done.stderr
        assert json.loads(done.stdout)["failed"] == plan(tmp_path)["failed"] == {run_of(0, 1): why}
    assert seeds_in_table(tmp_path) == [[0, 1]]


def test_runs_that_were_not_begun_are_told(
    data: Path, tiny_onnx: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    """Until they are done."""
    ended = list[Event]()
    more: dict[str, Any] = {"shots": 2, "threads": 1, "workers": 1, "out": tmp_path / "out"}

    def hear(event: Event) -> None:
        if isinstance(event, RunEnded):
            ended.append(event)
            raise edge_sharpzo.Cancelled

    with pytest.raises(edge_sharpzo.Cancelled):
        edge_sharpzo.sweep(data, onnx=tiny_onnx, seeds="0-1", budgets=60, on_progress=hear, **more)
    waiting = {run_of(1)}
    assert set(plan(tmp_path)["failed"]) == waiting
    done = sweep("--seeds", "7", "--budgets", 60)
    assert done.exit_code == 2
    assert f"without results: {run_of(1)} (it has not come to its end: a sweep that" in done.stderr
    assert set(plan(tmp_path)["failed"]) == waiting
    assert sweep("--seeds", "1", "--budgets", 60).exit_code == 0
    assert plan(tmp_path)["failed"] == {}
    assert seeds_in_table(tmp_path) == [[0, 1, 7]]


def cut(file: Path) -> None:
    file.write_text(file.read_text()[:50])


def emptied(file: Path) -> None:
    file.write_text("")


def no_share(file: Path) -> None:
    found = json.loads(file.read_text())
    found["accuracy"]["tuned"]["test"] = 7
    file.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("seeds", "name", "damage"),
    [
        ("1", "summary.json", cut),
        ("0-1", "summary.json", emptied),
        ("1", "summary.json", no_share),
        ("0-1", "config.json", cut),
        ("1", "config.json", emptied),
    ],
)
def test_a_damaged_run(
    seeds: str,
    name: str,
    damage: Callable[[Path], None],
    data: Path,
    tiny_onnx: Path,
    sweep: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Whether it is asked for again or not: it is counted once, and the cure helps."""
    assert sweep("--seeds", "0", "--budgets", 60).exit_code == 0
    damage(tmp_path / "out" / run_of(0) / name)
    told = list[RunEnded]()

    def hear(event: Event) -> None:
        if isinstance(event, RunEnded):
            told.append(event)

    more: dict[str, Any] = {"shots": 2, "threads": 1, "workers": 1, "out": tmp_path / "out"}
    swept = edge_sharpzo.sweep(
        data, onnx=tiny_onnx, seeds=seeds, budgets=60, on_progress=hear, **more
    )
    asked = 1 if seeds == "1" else 2
    assert [(event.done, event.total) for event in told] == [(n + 1, asked) for n in range(asked)]
    place = tmp_path / "out" / run_of(0)
    cure = f"move {place} away: a sweep that asks for this run then makes it anew"
    assert swept.failed[run_of(0)].endswith(cure)
    assert "tune again" not in swept.failed[run_of(0)]
    assert seeds_in_table(tmp_path) == [[1]]
    if damage is not cut:
        return
    place.rename(tmp_path / "away")
    assert sweep("--seeds", "0", "--budgets", 60).exit_code == 0
    assert seeds_in_table(tmp_path) == [[0, 1]]


# What is refused is not planned.


def one_class(root: Path) -> None:
    write_photos(root / "train" / "red", 0, 3, seed=3)


def no_photos(root: Path) -> None:
    for name in ("red", "green"):
        (root / "train" / name).mkdir(parents=True)


def unreadable(root: Path) -> None:
    one_class(root)
    (root / "train" / "green").mkdir()
    (root / "train" / "green" / "0.png").write_text("no photo")


@pytest.mark.parametrize("make", [one_class, no_photos, unreadable])
@pytest.mark.parametrize("together", [True, False])
def test_a_refused_set_blocks_nothing(
    together: bool,
    make: Callable[[Path], None],
    data: Path,
    sweep: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Neither others, nor the same name elsewhere, nor other options where nothing was done."""
    bad = tmp_path / "bad"
    make(bad)
    more = ("--seeds", "0", "--budgets", 60)
    done = sweep(*more, *(("--data", bad) if together else ()), on=data if together else bad)
    assert done.exit_code == 2
    assert plan(tmp_path)["runs"] == []
    assert plan(tmp_path)["sets"] == {}
    if together:
        return
    done = sweep(*more, "--head", "ridge")
    assert done.exit_code == 0, done.stderr
    assert plan(tmp_path)["failed"] == {}
    good = tmp_path / "elsewhere" / "bad"
    shutil.copytree(data, good)
    done = sweep(*more, "--head", "ridge", on=good)
    assert done.exit_code == 0, done.stderr
    assert plan(tmp_path)["sets"] == {"fruits": str(data), "bad": str(good)}


def test_a_refused_command_leaves_the_plan_as_it_was(
    data: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    assert sweep("--budgets", "1,60", "--seeds", "0").exit_code == 2
    before = plan(tmp_path)
    kept = data / "train" / "red" / "000.png"
    photo = kept.read_bytes()
    kept.unlink()
    assert sweep("--budgets", "60", "--seeds", "0-5").exit_code == 2
    assert plan(tmp_path) == before
    kept.write_bytes(photo)
    assert sweep("--budgets", "60", "--seeds", "0").exit_code == 2
    assert plan(tmp_path) == before


def planned(data: Path, tmp_path: Path) -> dict[str, Any]:
    """What a sweep records before its first run."""
    asked = SweepOptions([data], shots="2", budgets="60", out=tmp_path / "out", threads=1)
    sweep = sweep_of(asked, TuneOptions())
    sweep.out.mkdir()
    record_of(sweep, "0" * 64).write(sweep.out)
    return plan(tmp_path)


def refused(known: dict[str, Any], data: Path, tmp_path: Path) -> str:
    """What a sweep says of what is recorded."""
    file = tmp_path / "out" / PLAN
    file.write_text(json.dumps(known))
    with pytest.raises(UserError) as raised:
        edge_sharpzo.sweep(data, out=tmp_path / "out", shots=2, budgets=60)
    assert json.loads(file.read_text()) == known
    told = str(raised.value)
    assert told.startswith(f"{file} is damaged, or made by another version (")
    return told


@pytest.mark.parametrize("threads", [10**12, 4097, 0, -1, True, 2.5, "4", None])
def test_threads_that_no_sweep_records(threads: object, data: Path, tmp_path: Path) -> None:
    known = planned(data, tmp_path)
    known["options"]["threads"] = threads
    told = refused(known, data, tmp_path)
    assert "its threads are no number of threads" in told
    assert "`threads" not in told


@pytest.mark.parametrize("name", ["../fruits", "nowhere", "a/b", os.sep])
def test_runs_that_no_sweep_records(name: str, data: Path, tmp_path: Path) -> None:
    known = planned(data, tmp_path)
    known["runs"].append({**known["runs"][0], "set": name})
    if name != "nowhere":
        known["sets"][name] = str(tmp_path)
    assert "a run of it is of no set" in refused(known, data, tmp_path)
