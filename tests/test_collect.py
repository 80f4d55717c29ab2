"""The results of many runs in one table: what belongs together, stands out, or is left out."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from helpers import invoke

from edge_sharpzo.cli import terminal
from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.runs.collecting import collect
from edge_sharpzo.runs.outliers import Outlier
from edge_sharpzo.system.errors import UserError

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def make(finished_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a run in `fleet/`, by name: a copy whose summary, and set, are others."""
    summary = json.loads((finished_run / "summary.json").read_text())
    config = json.loads((finished_run / "config.json").read_text())

    numbers = count()

    def run(
        name: str,
        edit: Edit = lambda found: None,
        data: str = "imgs",
        options: dict[str, Any] | None = None,
        **more: Any,
    ) -> Path:
        folder = tmp_path / "fleet" / name
        folder.mkdir(parents=True)
        found = json.loads(json.dumps(summary))
        set_accuracy(found, 0.8)
        found["seconds"]["tuning"] = 20.0
        found["peak_rss_mb"] = 200.0
        found["seconds"]["total"] = 30.0 + next(numbers)  # no copies
        edit(found)
        (folder / "summary.json").write_text(json.dumps(found))
        asked = {**config["options"], "data": f"/home/pi/{data}", **(options or {})}
        known = {**config, "options": asked, **more}
        (folder / "config.json").write_text(json.dumps(known))
        return folder

    return run


def set_accuracy(found: dict[str, Any], value: float) -> None:
    found["accuracy"]["classifier"]["test"] = value


def test_the_runs_of_a_fleet(make: Callable[..., Path], tmp_path: Path) -> None:
    """500 at any depth; one of them has a dirty lens, one an old version, one little memory."""
    for number in range(500):
        value = 0.8 + 0.001 * (number % 11 - 5)
        make(f"site{number % 7}/pi-{number:03}", lambda found, v=value: set_accuracy(found, v))

    def dirty(found: dict[str, Any]) -> None:
        set_accuracy(found, 0.55)
        found["data"]["skipped"] = 12
        found["known"]["kept"] = 0.25

    def old(found: dict[str, Any]) -> None:
        found["seconds"]["tuning"] = 61.0
        found["versions"]["onnxruntime"] = "1.20.0"

    make("site1/dirty", dirty)
    make("site2/old", old)
    make("site3/large", lambda found: found.update(peak_rss_mb=900.0))
    collected = collect([tmp_path / "fleet"])
    assert len(collected.rows) == 503
    assert collected.left_out == {}
    (group,) = collected.groups
    assert (group["set"], group["runs"], group["classes"]) == ("imgs", 503, 3)
    assert group["classifier, held-out"] == {
        "median": pytest.approx(0.8),
        "least": 0.55,
        "most": pytest.approx(0.805),
    }
    assert group["refused most"] == str(tmp_path / "fleet" / "site1" / "dirty")
    assert group["versions"]["onnxruntime 1.20.0"] == 1
    found = {(Path(each.run).name, each.figure): each for each in collected.outliers}
    assert set(found) == {
        ("dirty", "classifier, held-out"),
        ("dirty", "refused, held-out"),
        ("old", "tuning seconds"),
        ("large", "peak memory, MB"),
    }
    bad = found["dirty", "classifier, held-out"]
    assert (bad.value, bad.median, bad.mad) == (0.55, pytest.approx(0.8), pytest.approx(0.003))
    assert "photos that cannot be read: 12, most have 0" in bad.why
    assert found["old", "tuning seconds"].why[0].startswith("onnxruntime: 1.20.0, most have 1.")
    told = found["large", "peak memory, MB"].told()
    assert "peak memory, MB 900.0, median of 503 runs 200.0 (MAD 0.0); nothing else that " in told
    assert told.endswith("differs: its device, and what else ran there, is not recorded")


def test_what_is_no_outlier(make: Callable[..., Path], tmp_path: Path) -> None:
    """Few runs, small differences where all others are equal, a wide spread."""
    for number, value in enumerate((0.1, 0.8, 0.8, 0.8)):
        make(f"few/{number}", lambda found, v=value: set_accuracy(found, v), "few")
    for number, value in enumerate((0.79, 0.8, 0.8, 0.8, 0.8, 0.8)):
        make(f"alike/{number}", lambda found, v=value: set_accuracy(found, v), "alike")
    for number in range(9):
        value = 0.1 + 0.1 * number
        make(f"wide/{number}", lambda found, v=value: set_accuracy(found, v), "wide")
    collected = collect([tmp_path / "fleet"])
    assert collected.outliers == []
    assert [(group["set"], group["runs"]) for group in collected.groups] == [
        ("alike", 6),
        ("few", 4),
        ("wide", 9),
    ]


OTHER: dict[str, tuple[Edit, dict[str, Any]]] = {
    "another model": (lambda found: found["model"].update(sha256="a" * 64), {}),
    "more classes": (lambda found: found["data"].update(classes=4), {}),
    "other classes": (lambda found: None, {"names": ["a", "b", "c"]}),
    "another method": (lambda found: found.update(method="cge"), {}),
    "another start": (lambda found: found.update(start="learned"), {}),
    "more shots": (lambda found: found["data"].update(shots=99), {}),
    "another head": (lambda found: found["accuracy"]["head"].update(name="ridge"), {}),
    "another set": (lambda found: None, {"data": "others"}),
    "another budget": (lambda found: None, {"preset": {"budget": 7, "context_tokens": 8}}),
    "no budget": (lambda found: None, {"preset": {"budget": None, "context_tokens": 8}}),
    "by time": (lambda found: None, {"options": {"minutes": 5.0}}),
}


@pytest.mark.parametrize(("edit", "more"), OTHER.values(), ids=list(OTHER))
def test_runs_that_differ_are_no_group(
    edit: Edit, more: dict[str, Any], make: Callable[..., Path], tmp_path: Path
) -> None:
    make("a")
    make("b")
    make("c", edit, **more)
    collected = collect([tmp_path / "fleet"])
    assert [group["runs"] for group in collected.groups] == [2, 1]


def cut(run: Path) -> None:
    text = (run / "summary.json").read_text()
    (run / "summary.json").write_text(text[: len(text) // 2])


def foreign(run: Path) -> None:
    (run / "summary.json").write_text('{"accuracy": 0.9, "epochs": 3}')


def binary(run: Path) -> None:
    (run / "summary.json").write_bytes(b"\xff\xfe\x00")


def newer(run: Path) -> None:
    found = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**found, "schema_version": 99}))


def impossible(run: Path) -> None:
    found = json.loads((run / "summary.json").read_text())
    found["accuracy"]["tuned"]["test"] = 1.5
    (run / "summary.json").write_text(json.dumps(found))


def unfinished(run: Path) -> None:
    (run / "summary.json").unlink()


def interrupted(run: Path) -> None:
    found = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**found, "stopped_because": "interrupted"}))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut, "is damaged, or made by another version"),
        (foreign, "is damaged, or made by another version"),
        (binary, "is damaged, or made by another version"),
        (newer, "a newer version of edge-sharpzo wrote it"),
        (impossible, "an accuracy is above 100 %"),
        (unfinished, "it ended before its first checkpoint: `edge-sharpzo tune --resume` begins"),
        (interrupted, "it was interrupted"),
    ],
)
def test_what_is_left_out_is_told(
    spoil: Callable[[Path], None], why: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    good, bad = make("good"), make("deep/down/bad")
    spoil(bad)
    collected = collect([tmp_path / "fleet"])
    assert [row["run"] for row in collected.rows] == [str(good)]
    assert list(collected.left_out) == [str(bad)]
    assert why in collected.left_out[str(bad)]
    done = invoke("collect", good, bad)
    assert done.exit_code == 0
    assert "folders that are left out: 1" in done.stderr
    with pytest.raises(UserError, match="there is no finished run"):
        collect([bad])


def test_no_run_counts_twice(make: Callable[..., Path], tmp_path: Path) -> None:
    run = make("a")
    shutil.copytree(run, tmp_path / "fleet" / "synced again")
    (tmp_path / "fleet" / "link").symlink_to(run)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    places = [run, tmp_path / "fleet", run, tmp_path / "fleet" / "link"]
    more = [tmp_path / "empty", tmp_path / "file", tmp_path / "nowhere"]
    collected = collect([*places, *more])
    assert [row["run"] for row in collected.rows] == [str(run)]
    whys = [
        f"it is a copy of {run}, to the last digit",
        "it holds no run (no summary.json)",
        "it is a file: give the folder",
        "it is not there",
    ]
    assert list(collected.left_out.values()) == whys


def test_runs_of_the_first_version(make: Callable[..., Path], tmp_path: Path) -> None:
    def as_before(found: dict[str, Any]) -> None:
        for name in ("schema_version", "known", "photo_check", "without_photos", "start"):
            found.pop(name)
        found["data"].pop("left_out")

    make("new", lambda found: found.update(start="words"))
    old = make("old", as_before)
    (old / "config.json").unlink()
    collected = collect([tmp_path / "fleet"])
    rows = {Path(row["run"]).name: row for row in collected.rows}
    assert rows["old"]["refused, held-out"] is None
    assert rows["old"]["set"] is None
    assert rows["new"]["set"] == "imgs"
    assert {group["runs"] for group in collected.groups} == {1}  # nobody knows of which photos


def test_what_the_command_shows(make: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(6):
        make(f"pi-{number}", lambda found, n=number: set_accuracy(found, 0.7 + n / 1000))
    odd = make("=cmd\x1b[31m", lambda found: set_accuracy(found, 0.2), names=["a", "b", "c"])
    far = make("far\x1b[2J", lambda found: set_accuracy(found, 0.3))
    file = tmp_path / "table.csv"
    done = invoke("collect", tmp_path / "fleet", "--csv", file)
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("median (least to most) of the runs that can be held against")
    told = next(line for line in lines if "far" in line and "classifier, held-out" in line)
    assert told.startswith(
        f"  {tmp_path}/fleet/far\\x1b[2J: classifier, held-out 30.0 %, median of 7"
    )
    assert "18 held-out photos: one is 5.6 points" in told
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert len(rows) == 8
    assert {row["onnxruntime"] for row in rows} != {""}
    assert rows[0]["run"].startswith(str(tmp_path / "fleet" / "=cmd\\x1b"))
    found = json.loads(invoke("collect", odd, far, "--json").stdout)
    assert [row["run"] for row in found["runs"]] == [str(odd), str(far)]
    assert set(found) == {"runs", "groups", "outliers", "left_out"}


@pytest.mark.parametrize("given", [[], ["nowhere"], ["nowhere", "--csv", "x.csv"]])
def test_nothing_to_collect(given: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("collect", *given)
    assert done.exit_code == 2
    assert not Path("x.csv").exists()


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("a/summary.json/x", "there is no folder {fleet}/a/summary.json; make it, or choose"),
        ("no/x.csv", "there is no folder {fleet}/no; make it, or choose another place"),
        ("no/such/x.csv", "there is no folder {fleet}/no/such; make it"),
        ("a", "--csv {fleet}/a is a folder: name a file in it"),
        ("", "--csv {fleet} is a folder: name a file in it"),
    ],
)
def test_a_file_that_cannot_be_written(
    place: str, told: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    run, fleet = make("a"), tmp_path / "fleet"
    before = sorted(tmp_path.rglob("*"))
    done = invoke("collect", run, "--csv", fleet / place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told.format(fleet=fleet) in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("outlier", "told"),
    [
        (
            Outlier("pi", "queries", 4000, 5000.5, 10, 9, ["stopped: time, most have budget"]),
            "pi: queries 4,000, median of 9 runs 5,000 (MAD 10); stopped: time, most have budget",
        ),
        (
            Outlier("pi", "queries", 4000, 12000, 0, 9, []),
            "pi: queries 4,000, median of 9 runs 12,000 (MAD 0); nothing else that is recorded "
            "differs",
        ),
        (
            Outlier("pi", "tuning seconds", 81.25, 20.0, 0.5, 7, []),
            "pi: tuning seconds 81.2, median of 7 runs 20.0 (MAD 0.5); nothing else that is "
            "recorded differs: its device, and what else ran there, is not recorded",
        ),
        (
            Outlier("pi", "refused, held-out", 0.5, 0.05, 0.01, 7, []),
            "pi: refused, held-out 50.0 %, median of 7 runs 5.0 % (MAD 1.0 %); nothing else that "
            "is recorded differs: look at its photos with `edge-sharpzo check`",
        ),
    ],
)
def test_an_outlier_in_words(outlier: Outlier, told: str) -> None:
    assert outlier.told() == told


REASONS: dict[str, tuple[Edit, dict[str, Any], dict[str, Any], str]] = {
    "engine": (lambda _: None, {"engine": "kserve://pi:1/m"}, {}, "engine: kserve://pi:1/m"),
    "photos sent": (
        lambda _: None,
        {"send_photos": True},
        {},
        "send_photos: True, most have False",
    ),
    "template": (lambda _: None, {"template": "{}!"}, {}, "template: {}!, most have a photo of"),
    "limit": (lambda _: None, {"max_memory": 90}, {}, "max_memory: 90, most have none"),
    "seed": (lambda found: found.update(seed=8), {}, {}, "seed: 8, most have 0"),
    "threads": (lambda found: found.update(threads=99), {}, {}, "threads: 99, most have "),
    "provider": (lambda found: found.update(provider="X"), {}, {}, "provider: X, most have CPU"),
    "package": (lambda found: found["versions"].update(numpy="9"), {}, {}, "numpy: 9, most have"),
    "no package": (lambda found: found["versions"].pop("numpy"), {}, {}, "numpy: none, most have"),
    "other photos": (
        lambda _: None,
        {},
        {"tuned_on_sha256": ["b" * 64]},
        "contents of photos tuned on: ",
    ),
    "held-out photos": (
        lambda _: None,
        {},
        {"held_out": ["x"], "held_out_sha256": ["b" * 64]},
        "contents of held-out photos: ",
    ),
}


@pytest.mark.parametrize(("edit", "options", "more", "why"), REASONS.values(), ids=list(REASONS))
def test_all_that_is_recorded_may_be_the_reason(
    edit: Edit,
    options: dict[str, Any],
    more: dict[str, Any],
    why: str,
    make: Callable[..., Path],
    tmp_path: Path,
) -> None:
    def slow(found: dict[str, Any]) -> None:
        found["seconds"]["tuning"] = 90.0
        edit(found)

    for number in range(6):
        make(f"{number}")
    make("slow", slow, options=options, **more)
    collected = collect([tmp_path / "fleet"])
    (outlier,) = collected.outliers
    assert (outlier.figure, len(outlier.why)) == ("tuning seconds", 1)
    assert outlier.why[0].startswith(why)
    (group,) = collected.groups
    name = why.partition(":")[0]
    assert name == "numpy" or list(group["differing"]) == [name]


def test_what_most_runs_do_not_share_is_no_reason_and_told(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(6):
        make(f"{number}", lambda found, n=number: found.update(seed=n))

    def slow(found: dict[str, Any]) -> None:
        found.update(seed=9)
        found["seconds"]["tuning"] = 90.0

    make("slow", slow)
    (outlier,) = collect([tmp_path / "fleet"]).outliers
    assert outlier.why == ["the runs differ among themselves in seed"]


def test_budgets_and_engines_are_shown(make: Callable[..., Path], tmp_path: Path) -> None:
    config = json.loads((make("a") / "config.json").read_text())["preset"]
    for name, budget in (("b", 2989), ("c", 7984)):
        make(name, preset={**config, "budget": budget})
    make("d", preset={**config, "budget": 7984}, options={"engine": "dask://pi:8786"})
    make("e", options={"minutes": 2.5}, preset={**config, "budget": None})
    made = [{"held_out": ["x"], "held_out_sha256": [letter * 64]} for letter in "ab"]
    for number, more in enumerate(made):
        make(f"f{number}", data="other", **more)
    file = tmp_path / "table.csv"
    lines = invoke("collect", tmp_path / "fleet", "--csv", file).stdout.splitlines()
    assert lines[1].split()[5:10] == ["budget", "classes", "head", "minutes", "engines"]
    told = [line.split(":")[0] for line in lines if "budget " in line and "shots, " in line]
    budgets = [line.partition("budget ")[2] for line in told]
    own = f"{config['budget']:,}"
    assert budgets == [
        f"{own}, 1 run",
        "2,989, 1 run",
        "7,984, 2 runs",
        "-, 1 run",
        f"{own}, 2 runs",
    ]
    assert "  not the same in all of them: engine (local: 1, dask://pi:8786: 1)" in lines
    assert not any("the same for each seed" in line for line in lines)
    assert sum("their held-out photos differ" in line for line in lines) == 1
    rows = {Path(row["run"]).name: row for row in csv.DictReader(io.StringIO(file.read_text()))}
    assert (rows["c"]["budget"], rows["c"]["engine"]) == ("7984", "local")
    assert (rows["d"]["engine"], rows["e"]["minutes"]) == ("dask://pi:8786", "2.5")


def digests(*letters: str) -> dict[str, Any]:
    """Of photos tuned on, and held out."""
    return {
        "tuned_on_sha256": [letters[0] * 64],
        "held_out": ["x"],
        "held_out_sha256": [letters[1] * 64],
    }


TUNED, HELD = "contents of photos tuned on", "contents of held-out photos"
SWEEPS: dict[str, tuple[list[tuple[int, dict[str, Any]]], list[str], bool]] = {
    # seeds with photos; what differs; whether seeds explain it
    "seeds": ([(0, {}), (1, {}), (2, {})], ["seed"], True),
    "shots": ([(0, digests("a", "a")), (1, digests("b", "a"))], ["seed", TUNED], True),
    "held out": ([(0, digests("a", "b")), (1, digests("b", "a"))], ["seed", TUNED, HELD], True),
    "same seeds": (
        [(0, digests("a", "b")), (1, digests("b", "a")), (0, digests("a", "b"))],
        ["seed", TUNED, HELD],
        True,
    ),
    "other photos": ([(0, digests("a", "b")), (0, digests("b", "b"))], [TUNED], False),
    "other photos of a seed": (
        [(0, digests("a", "b")), (1, digests("b", "a")), (0, digests("a", "c"))],
        ["seed", TUNED, HELD],
        False,
    ),
    "engines too": (
        [(0, {}), (1, {"options": {"engine": "dask://pi:1"}})],
        ["seed", "engine"],
        False,
    ),
}


@pytest.mark.parametrize(("runs", "differs", "alone"), SWEEPS.values(), ids=list(SWEEPS))
def test_what_seeds_explain_is_told_once(
    runs: list[tuple[int, dict[str, Any]]],
    differs: list[str],
    alone: bool,
    make: Callable[..., Path],
    tmp_path: Path,
) -> None:
    for group in ("imgs", "others"):
        for number, (seed, more) in enumerate(runs):
            make(f"{group}{number}", lambda found, s=seed: found.update(seed=s), group, **more)
    collected = collect([tmp_path / "fleet"])
    assert [list(group["differing"]) for group in collected.groups] == [differs, differs]
    assert [group["seeds alone"] for group in collected.groups] == [alone, alone]
    shown = invoke("collect", tmp_path / "fleet").stdout
    assert shown.count("not the same in all of them") == (0 if alone else 2)
    told = f"in 2 of 2 groups the runs differ in {', '.join(differs)} alone, the same for each seed"
    assert shown.count(told) == (1 if alone else 0)
    times = (1 if alone else 2) if HELD in differs else 0
    assert shown.count("their held-out photos differ: so their accuracies do") == times


def test_nobody_is_named_where_nothing_was_refused(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(3):
        make(f"{number}", lambda found: found["known"].update(kept=1.0))
    assert collect([tmp_path / "fleet"]).groups[0]["refused most"] is None
    assert "refused most" not in invoke("collect", tmp_path / "fleet").stdout


def test_an_unfinished_run_with_a_checkpoint(make: Callable[..., Path], tmp_path: Path) -> None:
    make("good")
    for name in ("begun", "not begun"):
        (make(name) / "summary.json").unlink()
    (tmp_path / "fleet" / "begun" / FILE).touch()
    whys = {Path(run).name: why for run, why in collect([tmp_path / "fleet"]).left_out.items()}
    assert whys["begun"] == "it is not finished: go on with `edge-sharpzo tune --resume`"
    assert whys["not begun"].startswith("it ended before its first checkpoint: ")


TABLE = [["set", "tuned accuracy", "queries"], ["日本語のセット", "80.1 ± 0.3", "2,989"]]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            None,
            [" set             tuned accuracy  queries", " 日本語のセット  80.1 ± 0.3      2,989"],
        ),
        (
            41,
            [" set             tuned accuracy  queries", " 日本語のセット  80.1 ± 0.3      2,989"],
        ),
        (
            40,
            [
                "                 tuned",
                " set             accuracy    queries",
                " 日本語のセット  80.1 ± 0.3  2,989",
            ],
        ),
        (36, ["set: 日本語のセット", "  tuned accuracy: 80.1 ± 0.3", "  queries: 2,989"]),
        (9, ["set: 日本語のセット", "  tuned accuracy: 80.1 ± 0.3", "  queries: 2,989"]),
    ],
)
def test_a_table_is_never_cut_off(
    width: int | None,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda _: width is not None)
    monkeypatch.setenv("COLUMNS", str(width or 20))
    terminal.out_table(TABLE)
    assert capsys.readouterr().out.splitlines() == lines
