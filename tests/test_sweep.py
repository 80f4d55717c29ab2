"""Many runs at once: their plan, interrupts and kills, workers here and on a fleet."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import invoke, write_photos

import edge_sharpzo
from edge_sharpzo import UserError
from edge_sharpzo.engines import dask_client
from edge_sharpzo.engines.dask_client import dask_address, scheduler_of
from edge_sharpzo.events import Event, Note, RunEnded
from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.runs.folder import clear_dead
from edge_sharpzo.runs.lock import locked
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.sweeping import crew, fleet
from edge_sharpzo.sweeping.encode_there import encode_on_machines
from edge_sharpzo.sweeping.folder import put, record_of
from edge_sharpzo.sweeping.options import SweepOptions
from edge_sharpzo.sweeping.plan import as_arguments, numbers, sweep_of
from edge_sharpzo.sweeping.sweep import _Sweeping, _threads
from edge_sharpzo.sweeping.task import Ended, Job, host_of
from edge_sharpzo.system.stopping import StopWhen

pytest.importorskip("distributed")
# Runs that take long enough to be met in the middle.
LONG = ("--methods", "sharpzo", "--budgets", 2000)
LONG_NAME = "fruits-sharpzo-4shots-seed0-2000"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sets of photos."""
    root = tmp_path_factory.mktemp("sets")
    for seed, name in enumerate(("fruits", "toys")):
        for label, hue in (("red", 0), ("green", 90), ("blue", 170)):
            write_photos(root / name / "train" / label, hue, 6, seed=seed)
            write_photos(root / name / "test" / label, hue, 6, seed=10 + seed)
    return root


@pytest.fixture(scope="module")
def alone(sets: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long run of seed 0 by `tune`, which nobody interrupted."""
    out = tmp_path_factory.mktemp("alone") / "run"
    tuned(sets / "fruits", tiny_onnx, out, "--method", "sharpzo", "--budget", 2000)
    return out


def words(data: Path, onnx: Path, out: Path, *more: object) -> list[object]:
    return ["--data", data, "--onnx", onnx, "--out", out, "--shots", 4, "--threads", 1, *more]


def tuned(data: Path, onnx: Path, out: Path, *more: object) -> None:
    done = invoke("tune", *words(data, onnx, out, *more))
    assert done.exit_code == 0, done.output


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_sharpzo", "sweep", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    return process.returncode, errors


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(process: int) -> bool:
    return Path(f"/proc/{process}/cmdline").exists()


def in_the_middle(run: str, process: subprocess.Popen[str]) -> int:
    """Waits until a run searches, which takes some seconds; returns its process."""

    def searching() -> list[int]:
        """A run says how long it will take as its search begins."""
        with suppress(OSError):  # it has ended
            return [
                each
                for each in processes("sweeping.child", run)
                if " queries at " in Path(f"/proc/{each}/fd/2").read_text()
            ]
        return []

    wait_for(searching, process)
    (found,) = searching()
    since = cpu_seconds(found)
    wait_for(lambda: cpu_seconds(found) > since + 0.1, process)
    return found


def processes(*marks: str) -> list[int]:
    """Those whose command line has all of `marks`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if folder.name.isdigit() and all(mark in line for mark in marks):
            found.append(int(folder.name))
    return found


def parent(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("PPid:")))


def same(run: Path, other: Path) -> bool:
    texts = [(each / "history.jsonl").read_text() for each in (run, other)]
    queries = [json.loads((each / "summary.json").read_text())["queries"] for each in (run, other)]
    return texts[0] == texts[1] and len(texts[0]) > 100 and queries[0] == queries[1]


# What is asked for.


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0-4", [0, 1, 2, 3, 4]),
        ("1,4,16", [1, 4, 16]),
        ("0-2, 7", [0, 1, 2, 7]),
        ("3-3", [3]),
        (5, [5]),
        (range(2), [0, 1]),
        ((4, 1), [4, 1]),
    ],
)
def test_numbers(given: Any, expected: list[int]) -> None:
    assert numbers(given, "seeds", "seed") == expected


SWEEP = {"data": "fruits"}
BAD: dict[str, tuple[dict[str, object], str]] = {
    "downwards": ({"seeds": "4-0"}, "`seeds=4-0`: 4-0 goes downwards; write 0-4"),
    "a letter": ({"seeds": "a"}, "`seeds=a`: write numbers as 0-4 or 1,4,16"),
    "half a range": ({"seeds": "0-"}, "`seeds=0-`: write numbers"),
    "nothing": ({"seeds": ""}, "`seeds=`: write numbers"),
    "a gap": ({"shots": "1,,4"}, "`shots=1,,4`: write numbers"),
    "below zero": ({"seeds": "-3"}, "`seeds=-3`: write numbers"),
    "a negative number": ({"seeds": [-3]}, "`seeds=-3`: use 0 or a positive number"),
    "a fraction": ({"budgets": [0.5]}, "`budgets=[0.5]`: write numbers"),
    "a truth": ({"shots": True}, "`shots=True`: write numbers"),
    "other digits": ({"seeds": "٣"}, "`seeds=٣`: write numbers"),
    "fewer than no shots": ({"shots": [-1]}, "`shots=-1`: ask for at least one photo per class"),
    "no queries": ({"budgets": "1000,0"}, "`budgets=0`: give the number of queries"),
    "a seed twice": ({"seeds": "0-3,2"}, "`seeds`: 2 is there twice; name it once"),
    "a method twice": ({"methods": "cge,sharpzo,cge"}, "`methods`: cge is there twice"),
    "no such method": ({"methods": "sharpzo,adam"}, "`methods=adam`: choose one of gauss-newton"),
    "a million runs": (
        {"seeds": "0-999", "shots": "1-100", "budgets": "1-10"},
        "that is 1,000,000 runs: a sweep has 10,000 at most",
    ),
    "a million seeds": ({"seeds": "0-999999"}, "1,000,000 numbers, and a sweep has 10,000"),
    "no folder": ({"data": "fruit"}, "fruit is not a folder"),
    "the same name": ({"data": ["fruits", "other/fruits"]}, "are both called 'fruits'"),
    "the same folder": ({"data": ["fruits", "fruits"]}, "`data`: fruits is there twice; name it"),
    "the same, as typed": ({"data": ["fruits", "./fruits/"]}, "`data`: fruits is there twice"),
    "by a link": ({"data": ["fruits", "other/linked"]}, "`data`: other/linked is there twice"),
    "among the photos": ({"out": "fruits/runs"}, "lies among the photos of"),
    "fewer than no workers": ({"workers": -1}, "`workers=-1`: give the number of runs at once"),
    "their workers": (
        {"workers": 2, "engine": "dask://h:1"},
        "`workers` is for runs on this machine, and dask://h:1 has its own",
    ),
    "no method of the paper": ({"preset": "paper", "methods": "cge"}, "belongs to SharpZO"),
    "no such head": ({"head": "gdb", "threads": 9999}, "`threads=9999`"),
}


@pytest.mark.parametrize(("given", "told"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_swept(
    given: dict[str, object], told: str, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sets / "fruits", tmp_path / "fruits")
    (tmp_path / "other" / "fruits").mkdir(parents=True)
    (tmp_path / "other" / "linked").symlink_to(tmp_path / "fruits")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        edge_sharpzo.sweep(**{**SWEEP, **given})  # type: ignore[arg-type]
    assert told in str(raised.value)
    assert not (tmp_path / "runs").exists()


def test_the_command_names_flags(sets: Path, tmp_path: Path) -> None:
    done = invoke("sweep", "--data", sets / "toys", "--seeds", "9-1", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr == "edge-sharpzo: --seeds 9-1: 9-1 goes downwards; write 1-9\n"


@pytest.mark.parametrize("name", ["seed", "method", "budget", "resume", "colour"])
def test_an_option_that_sweeps_lack(name: str, sets: Path) -> None:
    with pytest.raises(TypeError, match=rf"sweep\(\) has no option '{name}'. It has: data, seeds"):
        edge_sharpzo.sweep(sets / "fruits", **{name: 1})


@pytest.mark.parametrize(
    ("engine", "address"),
    [
        ("dask://10.0.0.7:99", "tcp://10.0.0.7:99"),
        ("dask://pi", "tcp://pi:8786"),
        ("dask://[::1]:4", "tcp://[::1]:4"),
        ("dask://pi:99999", None),
        ("dask://", None),
        ("dask:/pi", None),
        ("tcp://pi:8786", None),
        ("dask://a:1/model", None),
        ("remote", None),
    ],
)
def test_addresses(engine: str, address: str | None) -> None:
    if address:
        assert dask_address(scheduler_of(engine)) == address
        return
    with pytest.raises(UserError, match="engine"):
        scheduler_of(engine)


def test_each_run_is_told_its_options_as_they_are(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a command line, and back."""
    (tmp_path / "=names, 1.txt").write_text("red = cherry")
    shared = TuneOptions(
        onnx=tmp_path / "clip.onnx",
        template="-- a photo, `of` {}.",
        class_names=tmp_path / "=names, 1.txt",
        keep_known=0.9,
        minutes=0.1 + 0.2,
        provider="cpu",
        head="ridge",
        plain_classifier=True,
        max_memory=900,
        start="words",
        context_tokens=3,
    )
    asked = SweepOptions([sets / "toys"], seeds="7", budgets="90", out=tmp_path / "o", threads=2)
    sweep = sweep_of(asked, shared)
    (cell,) = sweep.cells
    heard = list[TuneOptions]()

    def hear(options: TuneOptions, *_: object, **__: object) -> None:
        heard.append(options)
        raise UserError("heard")

    monkeypatch.setattr("edge_sharpzo.run.tune", hear)
    invoke("tune", *as_arguments(sweep.options(cell)), f"--out={tmp_path / 'o' / cell.name}")
    assert heard[0].checked() == sweep.options(cell).checked()
    assert heard[0].minutes == 0.1 + 0.2
    assert cell.name == "toys-gauss-newton-16shots-seed7-90"


# On this machine.


def test_a_sweep_is_what_tune_does_run_by_run(sets: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    """Nothing runs twice; what is asked for later is added; other options are refused."""
    out, cache = tmp_path / "out", Path(os.environ["EDGE_SHARPZO_CACHE"])
    told, kept = list[RunEnded](), list[dict[Path, int]]()

    def hear(event: Event) -> None:
        if "runs at once" in getattr(event, "text", ""):
            kept.append(times())
        if isinstance(event, RunEnded):
            told.append(event)

    def times() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in cache.iterdir()}

    def sweep(seeds: object, **more: Any) -> Any:
        return edge_sharpzo.sweep(
            [sets / "fruits", sets / "toys"],
            onnx=tiny_onnx,
            out=out,
            shots=[4],
            seeds=seeds,
            budgets=300,
            workers=2,
            on_progress=hear,
            **{"threads": 1, **more},
        )

    swept = sweep("0")
    assert len(kept[0]) == 2, "the photos of each set are encoded before the runs"
    assert times() == kept[0], "and not again"
    assert not swept.failed
    assert [(event.done, event.total, event.failed) for event in told] == [
        (1, 2, False),
        (2, 2, False),
    ]
    names = {f"{name}-gauss-newton-4shots-seed0-300" for name in ("fruits", "toys")}
    assert set(swept.runs) == names == {path.name for path in out.iterdir() if path.is_dir()}
    for name in ("fruits", "toys"):
        alone = tmp_path / name
        tuned(sets / name, tiny_onnx, alone, "--budget", 300)
        assert same(out / f"{name}-gauss-newton-4shots-seed0-300", alone)
    files = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    again = sweep([1, 0], threads=0)  # as it began
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(told) == 4
    assert [(row["set"], row["seeds"]) for row in again.table] == [
        ("fruits", [0, 1]),
        ("toys", [0, 1]),
    ]
    held = [again.runs[f"toys-gauss-newton-4shots-seed{seed}-300"] for seed in (0, 1)]
    scores = [summary.accuracy.zero_shot.test for summary in held]
    assert again.table[1]["zero-shot"]["mean"] == pytest.approx(sum(scores) / 2)  # type: ignore[arg-type]
    assert json.loads((out / "sweep.json").read_text())["table"] == again.table
    assert "| toys | gauss-newton | 4 | 300 | 2 |" in (out / "sweep.md").read_text()
    with pytest.raises(UserError, match=r"could not be compared.*`head` was 'text-gda' and is 'r"):
        sweep("0-5", head="ridge")
    with pytest.raises(UserError, match=r"`threads` was '1' and is '2'"):
        sweep("0", threads=2)
    assert invoke("compare", *sorted(out.glob("toys*"))).exit_code == 0


def test_a_run_that_fails_is_told_and_the_others_go_on(
    sets: Path, tiny_onnx: Path, finished_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs = [out / f"fruits-gauss-newton-4shots-seed{seed}-60" for seed in range(5)]
    shutil.copytree(finished_run, runs[0])
    runs[1].write_text("mine")
    runs[2].mkdir()
    (runs[2] / "config.json").write_text('{"options": 3}')
    runs[3].mkdir()
    shutil.copy(finished_run / "summary.json", runs[3])
    more = ("--seeds", "0-4", "--budgets", 60, "--workers", 2, "--json")
    done = invoke("sweep", *words(sets / "fruits", tiny_onnx, out, *more))
    assert done.exit_code == 2
    found = json.loads(done.stdout)
    whys = ("holds another run", "cannot write to", "cannot read", "already holds a run")
    assert set(found["failed"]) == {run.name for run in runs[:4]}
    for run, why in zip(runs[:4], whys, strict=True):
        assert why in found["failed"][run.name]
        assert f"{run.name}: failed: {found['failed'][run.name][:20]}" in done.stderr
    assert "edge-sharpzo: 4 of the runs failed, as told: fruits-gauss" in done.stderr
    assert found["runs"] == [runs[4].name]
    assert found["table"][0]["seeds"] == [4]
    assert json.loads((out / "sweep.json").read_text())["failed"] == found["failed"]


def test_whatever_ends_a_run_it_comes_to_the_same_end(
    sets: Path, tiny_onnx: Path, alone: Path, tmp_path: Path
) -> None:
    """The sweep is killed; started again, its worker is, then it is interrupted; it goes on."""
    out = tmp_path / "out"
    run = out / LONG_NAME
    command = words(sets / "fruits", tiny_onnx, out, *LONG)

    def is_interrupted() -> bool:
        return (run / FILE).exists() and not processes("sweeping.", str(out))

    process = started(*command)
    in_the_middle(str(run), process)
    process.kill()
    ended(process)
    wait_for(is_interrupted)

    process = started(*command)
    middle = in_the_middle(str(run), process)
    os.kill(parent(middle), signal.SIGKILL)
    wait_for(lambda: not is_alive(middle))
    in_the_middle(str(run), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of its processes
    exit_code, errors = ended(process)
    assert exit_code == 130
    assert errors.endswith("\ninterrupted; the same command goes on with what has begun\n")
    assert re.search(rf"{LONG_NAME}: its worker tcp://\S+ .*; it goes on at tcp://127", errors)
    assert is_interrupted()
    assert json.loads((run / "summary.json").read_text())["stopped_because"] == "interrupted"

    exit_code, errors = ended(started(*command))
    assert exit_code == 0, errors
    assert same(run, alone)
    assert json.loads((out / "sweep.json").read_text())["table"][0]["seeds"] == [0]
    assert [path.name for path in out.iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize(
    ("cores", "workers", "engine", "given", "began_with", "expected"),
    [
        (2, 0, "local", 0, None, 1),
        (16, 0, "local", 0, None, 1),
        (16, 4, "local", 0, None, 4),
        (6, 4, "local", 0, None, 1),
        (2, 1, "local", 0, None, 2),
        (2, 8, "local", 0, None, 1),
        (16, 4, "local", 2, None, 2),
        (16, 4, "local", 0, 3, 3),
        (16, 0, "dask://pi", 0, None, 1),
        (16, 0, "dask://pi", 0, 5, 5),
    ],
)
def test_threads(
    cores: int,
    workers: int,
    engine: str,
    given: int,
    began_with: int | None,
    expected: int,
    sets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `--threads` says of itself in the help; the number of runs has no part in it."""
    for module in ("sweeping.sweep", "runs.options"):
        monkeypatch.setattr(f"edge_sharpzo.{module}.usable_cores", lambda: cores, raising=False)
    asked = {"out": tmp_path / "out", "workers": workers, "engine": engine, "threads": given}
    sweep = sweep_of(SweepOptions([sets / "toys"], **asked), TuneOptions())  # type: ignore[arg-type]
    before = record_of(sweep, "0" * 64)
    before = replace(before, options={**before.options, "threads": began_with})
    assert _threads(sweep, before if began_with else None) == expected


def one_deleted(data: Path) -> None:
    (data / "train" / "red" / "000.png").unlink()


def one_more(data: Path) -> None:
    number = len(list((data / "train" / "red").iterdir()))
    write_photos(data / "train" / "red", 0, 1, seed=70 + number, start=number)


def one_edited(data: Path) -> None:
    shutil.copy(data / "train" / "red" / "000.png", data / "train" / "blue" / "003.png")


def one_renamed(data: Path) -> None:
    (data / "train" / "red" / "000.png").rename(data / "train" / "red" / "zzz.png")


def one_held_out_deleted(data: Path) -> None:
    (data / "test" / "green" / "001.png").unlink()


CHANGES = (one_deleted, one_more, one_edited, one_renamed, one_held_out_deleted)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("change", CHANGES)
def test_other_photos_are_refused(
    change: Callable[[Path], None], sets: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    """Unless no run was made of those before."""
    data, out = tmp_path / "fruits", tmp_path / "out"
    shutil.copytree(sets / "fruits", data)

    def sweep(seeds: str, budget: int = 60) -> Any:
        more: dict[str, Any] = {"shots": 2, "threads": 1, "workers": 1, "out": out}
        return edge_sharpzo.sweep(data, onnx=tiny_onnx, seeds=seeds, budgets=budget, **more)

    assert "does not pay for the first step" in next(iter(sweep("0", budget=2).failed.values()))
    assert [path for path in out.iterdir() if path.is_dir()] == [], "nothing could go on"
    one_more(data)
    assert len(sweep("0").runs) == 1
    before = (out / "sweep.json").read_text()
    change(data)
    for seeds in ("0-1", "0"):  # also where nothing is left to run
        with pytest.raises(UserError) as raised:
            sweep(seeds)
        assert str(raised.value) == (
            f"the photos in {data} are not those that {out}/fruits-gauss-newton-2shots-seed0-60 "
            "was made of: results could not be compared; put the photos back, or choose another "
            "`out`"
        )
        known = [json.loads(text) for text in (before, (out / "sweep.json").read_text())]
        assert known[0]["photos_sha256"] == known[1]["photos_sha256"]
        assert known[0]["table"] == known[1]["table"]


def finished(sets: Path, onnx: Path, tmp_path: Path) -> tuple[list[Path], list[object]]:
    """Two sets whose runs are finished, and the options of that sweep."""
    data = [tmp_path / name for name in ("fruits", "toys")]
    for folder in data:
        shutil.copytree(sets / folder.name, folder)
    more = ["--data", data[1], "--budgets", 60, "--workers", 1]
    command = words(data[0], onnx, tmp_path / "out", *more)
    done = invoke("sweep", *command)
    assert done.exit_code == 0, done.stderr
    return data, command


@pytest.mark.usefixtures("here")
def test_a_finished_sweep_is_told_again(
    sets: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker."""
    _, command = finished(sets, tiny_onnx, tmp_path)
    table = (tmp_path / "out" / "sweep.md").read_text()
    monkeypatch.setattr("edge_sharpzo.sweeping.sweep.local_crew", None)
    done = invoke("sweep", *command)
    assert done.exit_code == 0, done.stderr
    assert "2 of 2 runs are there already" in done.stderr
    assert (tmp_path / "out" / "sweep.md").read_text() == table


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("change", [one_more, one_edited, one_held_out_deleted])
def test_other_photos_of_a_finished_set_are_refused(
    change: Callable[[Path], None], sets: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    """Whether nothing is left to run, here or on a fleet, or only runs of the other set."""
    data, command = finished(sets, tiny_onnx, tmp_path)
    change(data[1])

    def refused(*command: object) -> None:
        done = invoke("sweep", *command)
        assert done.exit_code == 2
        assert f"the photos in {data[1]} are not those that" in done.stderr

    refused(*command)
    refused(*command[: command.index("--workers")], "--engine", "dask://127.0.0.1:9")
    shutil.rmtree(tmp_path / "out" / "fruits-gauss-newton-4shots-seed0-60")
    refused(*command)


FEW = "16 photos of 2 classes were learnt from, for some have no more, or too few to validate with"
NONE = "no photos are held out, so there are no accuracies: take fewer --shots, or put photos"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("shots", "held_out", "notes"),
    [
        (100, False, [f"{FEW} others", NONE]),
        (20, False, [f"{FEW} others", NONE]),
        (8, True, []),
        (100, True, [f"{FEW} others"]),
        (3, False, []),
    ],
)
def test_what_photos_do_not_suffice_for_is_told(
    shots: int, held_out: bool, notes: list[str], tiny_onnx: Path, tmp_path: Path
) -> None:
    for label, hue in (("red", 0), ("green", 90)):
        write_photos(tmp_path / "toys" / "train" / label, hue, 10, seed=0)
        if held_out:
            write_photos(tmp_path / "toys" / "test" / label, hue, 3, seed=9)
    command = words(tmp_path / "toys", tiny_onnx, tmp_path / "out", "--shots", shots)
    more = ("--seeds", "0-1", "--budgets", 60, "--workers", 1)
    done = invoke("sweep", *command, *more, "--methods", "gauss-newton,random")
    assert done.exit_code == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith(f"toys, {shots} shots: ")]
    assert len(told) == len(notes), "once for both methods"
    for line, note in zip(told, notes, strict=True):
        assert line.startswith(f"toys, {shots} shots: {note}")
    markdown = (tmp_path / "out" / "sweep.md").read_text()
    assert markdown.count(f"toys, {shots} shots: ") == len(notes)
    assert done.stderr.count("nothing is held out") == (4 if NONE in notes else 0)


@pytest.mark.usefixtures("here")
def test_budgets_that_are_too_small_leave_no_runs(
    sets: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    """Before the search, at its first step, and after its starting points, of which 10 are paid."""
    command = words(sets / "fruits", tiny_onnx, tmp_path / "out", "--budgets", "2,11,20")
    for _ in range(2):
        done = invoke("sweep", *command)
        assert done.exit_code == 2
        assert done.stderr.count("does not pay for the first step") == 3
        assert [path for path in (tmp_path / "out").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("names", "stays"),
    [
        (["config.json"], False),
        (["config.json", FILE], True),
        (["config.json", "summary.json"], True),
        (["config.json", ".lock"], False),  # it was killed
        (["config.json", "mine.txt"], True),
        (["mine.txt"], True),
        ([], True),
    ],
)
def test_what_is_left_of_a_run_that_failed(names: list[str], stays: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in names:
        (run / name).touch()
    clear_dead(run)
    assert run.exists() == stays
    assert not stays or {path.name for path in run.iterdir()} == set(names)
    clear_dead(tmp_path / "nowhere")


def test_a_run_that_has_just_begun_is_not_dead(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with locked(run):
        (run / "config.json").touch()
        clear_dead(run)
        assert (run / "config.json").exists()
    clear_dead(run)
    assert not run.exists()


def test_two_sweeps_in_one_folder(sets: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    from edge_sharpzo.runs.lock import locked

    with locked(tmp_path / "out"):
        done = invoke("sweep", *words(sets / "fruits", tiny_onnx, tmp_path / "out"))
    assert done.exit_code == 2
    assert "another run is going on in" in done.stderr


def test_without_dask(
    sets: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_client, "find_spec", lambda _: None)
    done = invoke("sweep", *words(sets / "fruits", tiny_onnx, tmp_path / "out"))
    assert done.exit_code == 2
    assert "pip install 'edge-sharpzo[fleet]'" in done.stderr


# The workers.


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[crew.Crew]:
    with crew.local_crew(1, tmp_path_factory.mktemp("scratch") / "dask") as made:
        yield made


def python(name: str, statement: str) -> Job:
    """A job that runs a statement, by a module that does so."""
    return Job(name, "timeit", ("-n1", "-r1", statement))


def test_how_jobs_end(workers: crew.Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "GONE_AFTER", 0.1)
    jobs = [
        python("right", "print('here', flush=True)"),
        python("wrong", "import sys; sys.exit('\\nedge-sharpzo: no such thing')"),
        python("dies", "import os; os.kill(os.getpid(), 9)"),
        Job("elsewhere", "timeit", (), machine="tcp://10.1.2.3"),
    ]
    found = dict[str, Ended]()
    workers.run(jobs, lambda job, end: found.update({job.name: end}), StopWhen())
    assert (found["right"].code, found["right"].out.split()[0]) == (0, "here")
    assert (found["wrong"].code, found["wrong"].why) == (1, "no such thing")
    assert "killed by signal 9 at tcp://127.0.0.1:" in found["dies"].why
    assert found["elsewhere"].why == "tcp://10.1.2.3 has no worker any more"


def test_a_stopped_crew_ends_its_processes(workers: crew.Crew, tmp_path: Path) -> None:
    mark = str(tmp_path)
    wish = StopWhen(lambda: bool(processes("sweeping.child", mark)))
    job = python("sleeps", f"import time; time.sleep(1000); '{mark}'")
    with pytest.raises(edge_sharpzo.Cancelled):
        workers.run([job], lambda job, end: None, wish)
    assert not processes("sweeping.child", mark)


def test_an_interrupt_at_the_last_end_is_one(workers: crew.Crew) -> None:
    ended = list[Job]()
    with pytest.raises(edge_sharpzo.Cancelled):
        workers.run(
            [python("quick", "pass")],
            lambda job, end: ended.append(job),
            StopWhen(lambda: bool(ended)),
        )
    assert len(ended) == 1


# A fleet.


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Callable[[int], tuple[str, subprocess.Popen[str]]]]:
    """Starts a scheduler with so many workers, which know nothing of this process."""
    begun = list[subprocess.Popen[str]]()

    def start(count: int) -> tuple[str, subprocess.Popen[str]]:
        command = ["-m", "edge_sharpzo.sweeping.local", str(count), str(tmp_path / "dask")]
        process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        begun.append(process)
        assert process.stdout
        return process.stdout.readline().strip().replace("tcp://", "dask://"), process

    yield start
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream
            stream.close()


Start = Callable[[int], tuple[str, subprocess.Popen[str]]]


@pytest.mark.slow
def test_a_fleet_brings_whole_runs(
    scheduler: Start, sets: Path, tiny_onnx: Path, alone: Path, tmp_path: Path
) -> None:
    """A worker dies in the middle, an interrupt comes: the end is the same."""
    engine, _ = scheduler(2)
    out = tmp_path / "out"
    run, place = out / LONG_NAME, str(tmp_path / "dask")
    command = words(sets / "fruits", tiny_onnx, out, *LONG, "--engine", engine)
    process = started(*command)
    middle = in_the_middle(place, process)
    os.kill(parent(middle), signal.SIGKILL)
    wait_for(lambda: not is_alive(middle), process)
    in_the_middle(place, process)
    process.send_signal(signal.SIGINT)
    exit_code, errors = ended(process)
    assert exit_code == 130
    assert re.search(rf"{LONG_NAME}: its worker tcp://\S+ .*; it begins again at tcp://", errors)
    assert (run / FILE).exists()
    exit_code, errors = ended(started(*command))
    assert exit_code == 0, errors
    assert same(run, alone)
    assert {path.name for path in run.iterdir()} == {path.name for path in alone.iterdir()}
    assert list((tmp_path / "dask").rglob("config.json")) == []
    assert invoke("predict", run, sets / "toys" / "test" / "red" / "000.png").exit_code == 0


def test_a_scheduler_that_dies(
    scheduler: Start, sets: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    engine, dask = scheduler(1)
    out = tmp_path / "out"
    process = started(*words(sets / "fruits", tiny_onnx, out, *LONG, "--engine", engine))
    wait_for(lambda: processes("sweeping.child", str(tmp_path)), process)
    dask.kill()
    exit_code, errors = ended(process)
    assert exit_code == 2, errors
    assert "the scheduler does not answer any more" in errors
    assert "the same command again goes on" in errors


def refused(engine: str, needs: Sequence[Path] = ()) -> str:
    with (
        pytest.raises(UserError) as raised,
        fleet.fleet_crew(engine, needs, lambda event: None, StopWhen()),
    ):
        pass
    return str(raised.value)


def test_workers_that_cannot_take_part(
    scheduler: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = scheduler(1)
    lacks = refused(engine, [tmp_path, tmp_path / "imgs"])
    assert f"lacks {tmp_path / 'imgs'}: every worker needs" in lacks
    assert "the worker tcp://127.0.0.1:" in lacks
    real = fleet.versions
    for package in ("onnxruntime", "edge-sharpzo"):
        monkeypatch.setattr(fleet, "versions", lambda: {**real(), package: "0.0.7"})  # noqa: B023
        other_version = refused(engine)
        assert f"has {package} {real()[package]}, and this machine 0.0.7" in other_version
        assert f"pip install '{package}==0.0.7' there" in other_version
    monkeypatch.setattr(fleet, "SAME", ("edge-sharpzo-of-nobody",))
    monkeypatch.setattr(fleet, "versions", lambda: {"edge-sharpzo-of-nobody": "2"})
    assert "has no edge-sharpzo-of-nobody, and this machine 2" in refused(engine)


def test_no_worker_and_no_scheduler(
    scheduler: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fleet, "WORKERS_WITHIN", 0.5)
    monkeypatch.setattr(crew, "ANSWER_WITHIN", 1.0)
    engine, dask = scheduler(0)
    assert "no worker has joined the scheduler at tcp://127.0.0.1:" in refused(engine)
    dask.kill()
    dask.wait()
    assert "no Dask scheduler answers at tcp://127.0.0.1:" in refused(engine)
    assert tmp_path.exists()


@pytest.mark.parametrize("alike", [True, False])
def test_machines_with_other_photos(alike: bool, sets: Path, tmp_path: Path) -> None:
    asked = SweepOptions([sets / "fruits"], out=tmp_path / "out", engine="dask://pi")
    sweep = sweep_of(asked, TuneOptions())
    asked.out.mkdir()  # type: ignore[union-attr]

    class Two:
        def slots(self) -> dict[str, int]:
            return {"tcp://10.0.0.1:5": 1, "tcp://10.0.0.2:5": 1, "tcp://10.0.0.2:6": 1}

        left_out = frozenset[str]()

        def run(self, jobs: list[Job], finished: Callable[[Job, Ended], object], _: object) -> None:
            assert [job.machine for job in jobs] == ["tcp://10.0.0.1", "tcp://10.0.0.2"]
            for number, job in enumerate(jobs):
                photos = "alike" if alike else f"of {number}"
                seen = {"model_sha256": "a model", "photos_sha256": photos}
                finished(job, Ended(0, json.dumps(seen), ""))

    work = _Sweeping(sweep, record_of(sweep, "0" * 64), lambda event: None, StopWhen())
    if alike:
        work._encode_there(Two())  # type: ignore[arg-type]
        known = json.loads((tmp_path / "out" / "sweep.json").read_text())
        assert known["photos_sha256"] == {"fruits": "alike"}
        return
    with pytest.raises(UserError, match="do not have the same model and photos in"):
        work._encode_there(Two())  # type: ignore[arg-type]


def test_a_worker_that_dies_while_it_encodes(
    scheduler: Start, sets: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one of its machine encodes."""
    engine, _ = scheduler(2)
    killed = list[int]()
    real = crew._Work.step

    def step(work: Any) -> None:
        """Kills the first worker that encodes."""
        real(work, seconds=0.05)
        for process in () if killed else processes("sweeping.child", "sweeping.encode"):
            killed.append(parent(process))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(crew._Work, "step", step)
    more = ("--budgets", 60, "--engine", engine)
    done = invoke("sweep", *words(sets / "toys", tiny_onnx, tmp_path / "out", *more))
    assert done.exit_code == 0, done.stderr
    assert len(killed) == 1
    assert re.search(r"toys on tcp://127.0.0.1: its worker .* died; it begins again", done.stderr)


class Fleet(crew.Crew):
    """Machines, of which each ends all of its jobs alike."""

    def __init__(self, ends: dict[str, Ended]):
        self.ends, self.left_out = ends, set()

    def slots(self) -> dict[str, int]:
        return {f"{machine}:{port}": 1 for machine in self.ends for port in (1, 2)}

    def run(self, jobs: Any, finished: crew.Finished, _: object) -> None:
        for job in jobs:
            finished(job, self.ends[job.machine])


SEEN = Ended(0, json.dumps({"model_sha256": "a model", "photos_sha256": "photos"}), "")
DEAD, GONE = (Ended(-1, "", why) for why in ("its worker died, 3 times", "it has no worker"))
WRONG = Ended(2, "", "edge-sharpzo: no photos there")


@pytest.mark.parametrize(
    ("ends", "left_out", "error"),
    [
        ([SEEN, DEAD], {"tcp://1"}, None),
        ([GONE, SEEN, DEAD], {"tcp://0", "tcp://2"}, None),
        ([SEEN, SEEN], set(), None),
        ([GONE], {"tcp://0"}, "on tcp://0 could not be encoded (it has no worker), and no other"),
        ([DEAD, GONE], {"tcp://0", "tcp://1"}, "and no other machine is left: start workers"),
        ([DEAD, WRONG], {"tcp://0"}, "on tcp://1: no photos there"),
    ],
)
def test_a_machine_whose_workers_die_takes_no_part(
    ends: list[Ended], left_out: set[str], error: str | None, sets: Path
) -> None:
    told = list[Note]()
    machines = Fleet({f"tcp://{number}": end for number, end in enumerate(ends)})
    options = {name: TuneOptions(sets / name) for name in ("fruits", "toys")}

    def encoded() -> Any:
        return encode_on_machines(machines, options, told.append, StopWhen())  # type: ignore[arg-type]

    if error:
        with pytest.raises(UserError) as raised:
            encoded()
        assert error in str(raised.value)
    else:
        assert {each.photos_sha256 for each in encoded().values()} == {"photos"}
        warnings = [note.text for note in told if note.warning]
        assert len(warnings) == len(left_out), "each machine is told once"
        assert all("takes no part" in text for text in warnings)
    assert machines.left_out == left_out


def test_workers_of_a_machine_that_takes_no_part(workers: crew.Crew) -> None:
    address = next(iter(workers.slots()))
    workers.left_out.add(host_of(address))
    try:
        assert dict(workers.slots()) == {}
    finally:
        workers.left_out.clear()
        assert list(workers.slots()) == [address]


def test_what_a_worker_brings_is_put_whole(tmp_path: Path) -> None:
    run = tmp_path / "out" / "run"
    run.mkdir(parents=True)
    (run / FILE).write_bytes(b"old")
    put(run, {"config.json": b"1", "summary.json": b"2", "../evil": b"3", "evil.py": b"4"})
    assert {path.name: path.read_bytes() for path in run.iterdir()} == {
        "config.json": b"1",
        "summary.json": b"2",
    }
    assert [path.name for path in tmp_path.rglob("*evil*")] == []
    put(run, {})  # it had not begun
    assert (run / "summary.json").exists()
    assert [path.name for path in run.parent.iterdir()] == ["run"]
