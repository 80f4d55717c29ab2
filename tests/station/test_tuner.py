"""Tuning behind the page: as the command does it, into the same folder, one at a time."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from helpers import invoke, rest_slow, slow_unless, write_photos
from stations import MARKED, Station, picture, station
from test_resume import same

from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.station import run_state, tuner
from edge_sharpzo.system.errors import Cancelled

# The station as the command starts it, with a checkpoint after every step.
SCRIPT = """
import sys
import edge_sharpzo.runs.checkpoint as checkpoint
from edge_sharpzo.cli import app
checkpoint.EVERY = 0.03
app(sys.argv[1:])
"""
OPTIONS = {"budget": 3000, "shots": 6}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def served(tiny_onnx: Path, data: Path, run: Path) -> Iterator[Station]:
    with station(tiny_onnx, data, run, **OPTIONS) as running:
        running.settled()
        yield running


@pytest.fixture
def brief(tiny_onnx: Path, data: Path, run: Path) -> Iterator[Station]:
    """Whose runs nobody needs to meet in the middle."""
    with station(tiny_onnx, data, run, **{**OPTIONS, "budget": 300}) as running:
        running.settled()
        yield running


@pytest.fixture(scope="module")
def whole(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody interrupted, by the command."""
    return by_command(tiny_onnx, photos / "train", tmp_path_factory.mktemp("whole") / "run")


def by_command(onnx: Path, data: Path, out: Path) -> Path:
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    made = invoke("tune", "--onnx", onnx, "--data", data, "--out", out, "--threads", 1, *options)
    assert made.exit_code == 0, made.output
    return out


def ended(served: Station) -> dict[str, Any]:
    going = ("encoding", "tuning")
    state = served.until(lambda state: state["learn"]["state"] not in going, most=120)
    learn: dict[str, Any] = state["learn"]
    return learn


def interrupted(served: Station, again: bool = False) -> dict[str, Any]:
    """Begins, and stops once some queries are spent."""
    served.post("/api/learn", {"again": again})
    served.until(lambda state: state["learn"]["state"] == "tuning")
    served.until(lambda state: state["learn"]["queries"] > 100 or state["learn"]["state"] == "done")
    served.post("/api/learn/stop")
    learn = ended(served)
    assert (learn["state"], learn["resumable"]) == ("idle", True), learn
    assert learn["queries"] < OPTIONS["budget"]
    return learn


def told_history(served: Station) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = served.get("/api/learn").json()["history"]
    return history


def written_history(run: Path) -> list[dict[str, Any]]:
    records = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    return [{name: each[name] for name in ("queries", "loss", "val_accuracy")} for each in records]


def test_a_run_of_the_page_is_that_of_the_command(served: Station, whole: Path, run: Path) -> None:
    assert served.post("/api/learn", {}).status_code == 200
    learn = ended(served)
    assert (learn["state"], learn["up_to_date"], learn["resumable"]) == ("done", True, False)
    assert same(run, whole)
    assert told_history(served) == written_history(run)
    assert learn["queries"] == json.loads((run / "summary.json").read_text())["queries"]["total"]


def test_of_a_stopped_run_every_page_says_the_same(served: Station, run: Path) -> None:
    interrupted(served)
    look, take = served.get("/api/look").json(), served.get("/api/take").json()
    scores = json.loads((run / "summary.json").read_text())
    for ours, theirs in (("prompt", "tuned"), ("classifier", "classifier")):
        assert look["tuned_validation"][ours] == scores["accuracy"][theirs]["val"]
    assert look["why_not"] != "no prompt is tuned yet"
    assert (take["ready"], take["up_to_date"], take["finished"]) == (True, True, False)
    answer = served.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert answer["by"] == "run"
    assert served.get("/api/learn").json()["queries"] == scores["queries"]["total"]
    served.post("/api/classes", {"name": "more"})
    served.post("/api/template", {"template": "a drawing of {}"})
    served.settled()
    assert served.get("/api/take").json()["up_to_date"] is False
    answer = served.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert answer["by"] == "heads"


def test_stopped_and_gone_on_by_the_page(served: Station, whole: Path, run: Path) -> None:
    interrupted(served)
    begun = told_history(served)
    served.post("/api/learn", {})
    assert ended(served)["state"] == "done"
    assert same(run, whole)
    assert told_history(served)[: len(begun)] == begun
    assert told_history(served) == written_history(run)


def test_stopped_by_the_page_and_gone_on_by_the_command(
    served: Station, whole: Path, run: Path
) -> None:
    interrupted(served)
    assert invoke("tune", "--resume", run).exit_code == 0
    assert served.until(lambda state: state["learn"]["state"] == "done")["learn"]["up_to_date"]
    assert same(run, whole)
    assert told_history(served) == written_history(run)


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("number", rest_slow([signal.SIGKILL, signal.SIGTERM]))
def test_begun_by_the_command_and_gone_on_by_the_page(
    number: signal.Signals, tiny_onnx: Path, data: Path, whole: Path, run: Path
) -> None:
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    given = ["--onnx", tiny_onnx, "--data", data, "--out", run, "--threads", 1, *options]
    with start("tune", *given) as process:
        while not (run / FILE).exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        process.wait(timeout=60)
    with station(tiny_onnx, data, run, **OPTIONS) as served:
        served.settled()
        learn = served.get("/api/learn").json()
        assert (learn["state"], learn["resumable"]) == ("idle", True)
        assert learn["history"]
        served.post("/api/learn", {})
        assert ended(served)["state"] == "done"
        assert told_history(served) == written_history(run)
    assert same(run, whole)


@pytest.mark.parametrize("number", rest_slow([signal.SIGTERM, signal.SIGINT, signal.SIGKILL]))
def test_a_station_that_ends_leaves_a_run_that_goes_on(
    number: signal.Signals, tiny_onnx: Path, data: Path, run: Path, tmp_path: Path
) -> None:
    given = ["--data", data, "--run", run, "--onnx", tiny_onnx, "--threads", 1, "--port", 0]
    with start("station", *given) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=url, headers=MARKED, trust_env=False, timeout=60) as client:
            client.post("api/learn", json={})
            while not (run / FILE).exists():
                time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=60) == (-9 if number == signal.SIGKILL else 130)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert (run / FILE).exists()
    assert (run / "summary.json").exists() == (number != signal.SIGKILL)
    wanted = tmp_path / "wanted"
    made = invoke("tune", "--onnx", tiny_onnx, "--data", data, "--out", wanted, "--threads", 1)
    assert made.exit_code == 0
    with station(tiny_onnx, data, run) as served:
        served.settled()
        assert served.get("/api/learn").json()["resumable"]
        served.post("/api/learn", {})
        assert ended(served)["state"] == "done"
    assert same(run, wanted)


def test_the_page_goes_on_under_the_commands_options(
    photos: Path, tiny_onnx: Path, run: Path, tmp_path: Path
) -> None:
    """Parts of its own, fewer shots, another seed and budget: in the next run too."""
    data = Path(shutil.copytree(photos, tmp_path / "parts"))
    options = ["--shots", 4, "--seed", 3, "--budget", 400, "--template", "one {}"]
    given = ["--onnx", tiny_onnx, "--data", data, "--out", run, *options]
    assert invoke("tune", *given).exit_code == 0
    with station(None, data, run) as served:
        state = served.settled()
        assert (state["learn"]["state"], state["learn"]["up_to_date"]) == ("done", True)
        assert state["template"] == "one {}"
        served.send("/api/photos?class=red_things", ("a", picture(2, 3)))
        served.post("/api/learn", {"again": True})
        assert ended(served)["up_to_date"]
    config = json.loads((run / "config.json").read_text())
    chosen = [config["options"][name] for name in ("shots", "seed", "budget", "template")]
    assert chosen == [4, 3, 400, "one {}"]


def test_one_at_a_time(served: Station, tiny_onnx: Path, data: Path, run: Path) -> None:
    served.post("/api/learn", {})
    answer = served.post("/api/learn", {})
    assert (answer.status_code, "goes on" in answer.text) == (409, True)
    served.until(lambda state: state["learn"]["state"] == "tuning")
    refused = invoke("tune", "--onnx", tiny_onnx, "--data", data, "--out", run)
    assert (refused.exit_code, "another run is going on" in refused.stderr) == (2, True)
    assert ended(served)["state"] == "done"


def test_another_process_holds_the_run(served: Station, run: Path) -> None:
    code = "import sys, time; from pathlib import Path; from edge_sharpzo.runs.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    given = [sys.executable, "-c", code, str(run)]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert served.get("/api/learn").json()["state"] == "elsewhere"
        answer = served.post("/api/learn", {})
        assert (answer.status_code, "another process" in answer.text) == (409, True)
        assert "being tuned" in served.get("/api/take").json()["why"]
        process.kill()
    assert served.get("/api/learn").json()["state"] == "idle"


def test_photos_added_meanwhile_join_the_next_one(served: Station, data: Path, run: Path) -> None:
    served.post("/api/learn", {})
    served.until(lambda state: state["learn"]["state"] == "tuning")
    assert served.send("/api/photos?class=red_things", ("a", picture(2, 3))).json()["added"] == 1
    learn = ended(served)
    assert (learn["state"], learn["up_to_date"]) == ("done", False)
    assert json.loads((run / "summary.json").read_text())["data"]["train"] == 15
    assert len(told_of(run)) == 18
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    served.settled()
    answer = served.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert answer["by"] == "heads"  # the run is of other photos
    served.post("/api/learn", {})
    learn = ended(served)
    assert (learn["state"], learn["up_to_date"]) == ("done", True)
    assert len(told_of(run)) == 19
    put_away = run.with_name("run-1")
    assert {path.name: path.read_bytes() for path in put_away.iterdir()} == before
    assert any(f"{run.parent.name}/run-1" in text for text in learn["told"])
    answer = served.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert answer["by"] == "run"
    assert data.exists()


def told_of(run: Path) -> list[str]:
    config = json.loads((run / "config.json").read_text())
    return [*config["tuned_on"], *config["held_out"]]


def test_nothing_changed_nothing_to_do(brief: Station, run: Path) -> None:
    brief.post("/api/learn", {})
    ended(brief)
    stamp = (run / "summary.json").stat().st_mtime_ns
    brief.post("/api/learn", {})
    learn = ended(brief)
    assert learn["state"] == "done"
    assert learn["told"] == ["the run is of these photos already: nothing has changed"]
    assert (run / "summary.json").stat().st_mtime_ns == stamp
    brief.post("/api/learn", {"again": True})
    assert ended(brief)["state"] == "done"
    assert (run / "summary.json").stat().st_mtime_ns > stamp
    assert run.with_name("run-1").is_dir()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("end", ["stopped", "failed", "replaced"])
def test_a_finished_run_is_there_until_another_is(
    end: str, served: Station, run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.post("/api/learn", {})
    ended(served)
    before = contents(run)
    write_photos(data / "red_things", 0, 1, seed=9, start=70)
    served.settled()
    if end != "replaced":
        error = Cancelled() if end == "stopped" else OSError(errno.ENOSPC, "No space left")

        def fails(**_: Any) -> None:
            raise error

        monkeypatch.setattr(tuner.api, "tune", fails)
    served.post("/api/learn", {})
    if end == "replaced":  # a kill would leave what is there now
        served.until(lambda state: state["learn"]["state"] == "tuning")
        assert contents(run) == before
        assert (run.with_name("run-next") / "config.json").exists()
        assert served.get("/api/take").json()["ready"]
    learn = ended(served)
    if end == "replaced":
        assert learn["up_to_date"]
        assert contents(run.with_name("run-1")) == before
        assert not run.with_name("run-next").exists()
        return
    assert learn["state"] == ("failed" if end == "failed" else "done")
    assert contents(run) == before
    assert served.get("/api/take").json()["ready"]
    assert not run.with_name("run-1").exists()


@pytest.mark.parametrize(
    "change",
    slow_unless(lambda change: change in ("name", "photo"), ["label", "name", "template", "photo"]),
)
def test_a_stopped_run_of_other_photos_is_put_away(
    change: str, served: Station, run: Path, data: Path
) -> None:
    interrupted(served)
    photo = served.get("/api/photos?class=red_things").json()["photos"][0]["id"]
    match change:
        case "label":
            body = {"ids": [photo], "to": {"class": "blue_things"}}
            served.post("/api/photos/move", body)
        case "name":
            served.post("/api/classes/red_things/display", {"display": "red stuff"})
        case "template":
            served.post("/api/template", {"template": "one {}"})
        case "photo":
            write_photos(data / "red_things", 0, 1, seed=9, start=70)
    learn = served.settled()["learn"]
    changed = "photos have changed" if change in ("label", "photo") else "words have changed"
    assert learn["resumable"] is False
    assert changed in learn["why_not_resumable"]
    assert learn["told"] == []
    served.post("/api/learn", {})
    learn = ended(served)
    assert (learn["state"], learn["up_to_date"]) == ("done", True), learn
    assert learn["why_not_resumable"] is None
    assert "the run of before is in" in " ".join(learn["told"])
    assert str(run.parent.parent) not in " ".join(learn["told"])
    assert (run.with_name("run-1") / FILE).exists()  # it can still go on, with its photos
    config = json.loads((run / "config.json").read_text())
    assert ("red stuff" in config["names"]) == (change == "name")
    wanted = "one {}" if change == "template" else "a photo of a {}."
    assert config["options"]["template"] == wanted


def test_photos_that_change_while_they_are_read(
    brief: Station, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run begins again with the photos as they are then; it never mixes two states."""
    inner, changed = tuner.api.tune, []

    def tune(**options: Any) -> Any:
        hear = options.pop("on_progress")

        def heard(event: Any) -> None:
            if isinstance(event, tuner.TuningStarts) and not changed:
                changed.append(brief.send("/api/photos?class=red_things", ("a", picture(2, 3))))
            hear(event)

        return inner(on_progress=heard, **options)

    monkeypatch.setattr(tuner.api, "tune", tune)
    brief.post("/api/learn", {})
    learn = ended(brief)
    assert (learn["state"], learn["up_to_date"]) == ("done", True)
    assert len(told_of(run)) == 19
    assert not run.with_name("run-1").exists()


def test_what_fails_is_said_and_the_page_goes_on(
    brief: Station, data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_sharpzo import run as tuning

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tuning.run_folder, "finish", full)
        brief.post("/api/learn", {})
        learn = ended(brief)
    assert learn["state"] == "failed"
    assert "No space left" in learn["why"]
    shutil.move(data / "red_things", data.parent / "gone")
    shutil.move(data / "blue_things", data.parent / "gone too")
    brief.post("/api/learn", {})
    learn = ended(brief)
    assert (learn["state"], "only the class" in learn["why"]) == ("failed", True)
    shutil.move(data.parent / "gone", data / "red_things")
    shutil.move(data.parent / "gone too", data / "blue_things")
    brief.settled()
    brief.post("/api/learn", {})
    assert ended(brief)["state"] == "done"
    assert (run / "summary.json").exists()


def deleted(place: Path) -> None:
    """At once: what is written into it meanwhile would keep a part of it."""
    shutil.rmtree(place.rename(place.with_name("going")))


def renamed(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))


def replaced(place: Path) -> None:
    deleted(place)
    place.mkdir()
    (place / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("lose", "has_results"), [(deleted, False), (renamed, False), (deleted, True), (replaced, True)]
)
def test_a_folder_that_is_lost_in_mid_run_is_said_at_once_and_costs_no_result(
    lose: Any, has_results: bool, served: Station, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sharpzo.runs.checkpoint.EVERY", 0.0)
    if has_results:
        served.post("/api/learn", {})
        ended(served)
    place = run.with_name("run-next") if has_results else run
    goes_on = Event()

    def held(*_: object) -> bool:  # between two steps, so that there is time to look
        goes_on.wait(0.02)
        return False

    monkeypatch.setattr(served.desk.tuner._stop, "is_set", held)
    served.post("/api/learn", {"again": True})
    served.until(lambda state: state["learn"]["queries"] > 100)
    lose(place)
    state = served.until(lambda state: any("deleted" in text for text in state["learn"]["told"]))
    assert state["learn"]["state"] == "tuning"
    lost = f"{place} was deleted, renamed or replaced: the run goes on"
    assert [text for text in state["learn"]["told"] if text.startswith(lost)]
    goes_on.set()
    monkeypatch.undo()
    learn = ended(served)
    beside = place.with_name(f"{place.name}-rescued")
    told = [text for text in learn["told"] if "results" in text]
    assert told[1] == f"the results are in {beside}"
    if lose is replaced:
        assert told[2].startswith(f"the results stay there, since {place} is something else's now")
        assert f"rename {beside} to {place}" in told[2]
        assert any(str(beside) in line for line in served.log)
        assert (beside / "summary.json").exists()
        assert [file.name for file in place.iterdir()] == ["notes.txt"]
    else:
        assert told[2] == f"{place} was free again: the results were moved there"
        assert not beside.exists()
        assert (run / "summary.json").exists()
    assert (learn["state"], learn["up_to_date"], learn["resumable"]) == ("done", True, False)
    assert told_history(served) == written_history(run)
    assert served.get("/api/take").json()["ready"] is True
    assert (run.with_name("run-1").exists()) is (has_results and lose is not replaced)


def test_a_full_disk_says_what_to_press_and_offers_no_going_on(
    brief: Station, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("edge_sharpzo.runs.checkpoint.save_tensors", full)
        patched.setattr("edge_sharpzo.run.run_folder.finish", full)
        brief.post("/api/learn", {})
        learn = ended(brief)
    assert not (run / FILE).exists()
    assert (learn["state"], learn["resumable"]) == ("failed", False)
    assert "make room there" in learn["why"]
    assert "press Learn again" in learn["why"]
    assert "resume" not in learn["why"]
    assert [line for line in brief.log if "make room" in line] == [
        f"learning failed: {learn['why']}"
    ]


@pytest.mark.parametrize("moved", [None, "red_things", "green_things"])
def test_a_stop_is_gone_on_with_only_by_the_photos_it_began_with(
    moved: str | None, served: Station, data: Path
) -> None:
    interrupted(served)
    if moved:
        first = min((data / moved).iterdir())
        first.rename(data / "blue_things" / f"by-hand-{moved}.png")
    learn = served.settled()["learn"]
    assert learn["resumable"] is (moved is None)
    assert (learn["why_not_resumable"] is None) is (moved is None)


def test_a_finished_run_is_judged_as_its_summary_says(
    photos: Path, tiny_onnx: Path, run: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "parts"))
    by_command(tiny_onnx, data, run)
    accuracy = json.loads((run / "summary.json").read_text())["accuracy"]
    with station(tiny_onnx, data, run) as served:
        served.settled()
        look = served.get("/api/look").json()
    for ours, theirs in (("prompt", "tuned"), ("classifier", "classifier")):
        assert look["tuned"][ours]["share"] == pytest.approx(accuracy[theirs]["test"])
        assert look["tuned"][ours]["photos"] == 18
        assert look["tuned_validation"][ours] == accuracy[theirs]["val"]
    assert (look["why_not"], look["lists_of"]) == (None, "heads")


def test_why_no_figure_of_the_tuned_run_is_there(brief: Station) -> None:
    look = brief.get("/api/look").json()
    assert (look["tuned"], look["why_not"]) == (None, "no prompt is tuned yet")
    assert look["tuned_validation"] is None
    brief.post("/api/learn", {})
    ended(brief)
    look = brief.get("/api/look").json()
    assert (look["how"], look["tuned"]) == ("judged-by-others", None)
    assert "15 of each class" in look["why_not"]
    assert look["tuned_validation"]["photos"] == 3


def test_by_itself_once_photos_stay_as_they_are(
    tiny_onnx: Path, data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "QUIET", 0.5)
    with station(tiny_onnx, data, run, **{**OPTIONS, "budget": 300}) as served:
        served.settled()
        time.sleep(1.5)
        assert served.get("/api/learn").json()["state"] == "idle"  # not before it is asked for
        served.post("/api/learn/auto", {"on": True})
        assert served.get("/api/learn").json()["auto"] is True
        served.until(lambda state: state["learn"]["up_to_date"])
        served.send("/api/photos?class=red_things", ("a", picture(2, 3)))
        served.until(lambda state: not state["learn"]["up_to_date"])
        served.until(lambda state: state["learn"]["up_to_date"], most=120)
        assert len(told_of(run)) == 19
        served.post("/api/learn/auto", {"on": False})
        served.send("/api/photos?class=red_things", ("a", picture(2, 4)))
        served.settled()
        time.sleep(1.5)
        assert served.get("/api/learn").json()["up_to_date"] is False


def test_photos_that_are_set_aside_do_not_put_it_off(
    brief: Station, data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "QUIET", 0.9)
    stop = Event()

    def set_aside() -> None:
        (data / ".set-aside" / "unsure").mkdir(parents=True)
        for number in range(1000):
            name = data / ".set-aside" / "unsure" / f"{number}.png"
            name.write_bytes(picture(number % 250, number))
            brief.desk.changed()
            if stop.wait(0.2):
                return

    coming = Thread(target=set_aside)
    coming.start()
    try:
        brief.post("/api/learn/auto", {"on": True})
        brief.until(lambda state: state["learn"]["up_to_date"], most=60)
    finally:
        stop.set()
        coming.join()
    assert len(told_of(run)) == 18


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: (run / "config.json").write_text("{"),
        lambda run: (run / "summary.json").write_text("[]"),
        lambda run: (run / "prompt.safetensors").write_bytes(b"x" * 50),
        lambda run: (run / "history.jsonl").write_text("{}\n"),
    ],
)
def test_a_run_that_is_damaged_is_said(spoil: Any, brief: Station, run: Path) -> None:
    brief.post("/api/learn", {})
    ended(brief)
    spoil(run)
    learn = brief.get("/api/learn").json()
    assert (learn["state"], bool(learn["why"])) == ("idle", True)
    answer = brief.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert answer["by"] == "heads"


def cut_short(run: Path, kept: set[str]) -> Path:
    """The next run, as a station that was killed in the middle of it leaves it."""
    coming = run.with_name("run-next")
    for each in coming.iterdir():
        if each.name not in {"config.json", *kept}:
            each.unlink()
    (coming / ".lock").touch()
    return coming


@pytest.mark.parametrize("kept", [{FILE}, {"worker.log"}])
def test_a_second_run_that_was_cut_short_goes_on_or_begins_anew(
    kept: set[str], served: Station, run: Path
) -> None:
    served.post("/api/learn", {})
    assert ended(served)["state"] == "done"
    interrupted(served, again=True)
    coming = cut_short(run, kept)
    if FILE not in kept:
        (coming / "worker.log").touch()
    learn = served.get("/api/learn").json()
    assert (learn["state"], learn["resumable"]) == ("idle", FILE in kept)
    assert learn["stopped"] == str(coming)
    assert (learn["why_not_resumable"] is None) is (FILE in kept)
    take = served.get("/api/take").json()
    assert (take["up_to_date"], take["finished"]) == (True, True)  # the first one is there still
    served.post("/api/learn", {"again": False})
    learn = ended(served)
    assert (learn["state"], learn["stopped"], learn["up_to_date"]) == ("done", None, True)
    assert not coming.exists()
    assert run.with_name("run-1").exists()


def test_a_second_run_that_was_killed_before_its_first_checkpoint_leaves_nothing(
    served: Station, run: Path
) -> None:
    served.post("/api/learn", {})
    ended(served)
    interrupted(served, again=True)
    coming = cut_short(run, set())
    learn = served.get("/api/learn").json()
    assert (learn["state"], learn["stopped"], learn["up_to_date"]) == ("done", None, True)
    assert not coming.exists()


def test_a_run_that_is_stopped_takes_no_finished_ones_place(served: Station, run: Path) -> None:
    """But that of one on other photos."""
    served.post("/api/learn", {})
    ended(served)
    before = contents(run)
    interrupted(served, again=True)
    assert contents(run) == before
    assert served.get("/api/take").json()["finished"] is True
    assert served.get("/api/learn").json()["resumable"]
    served.send("/api/photos?class=red_things", ("a", picture(2, 3)))
    served.settled()
    interrupted(served)
    take = served.get("/api/take").json()
    assert (take["up_to_date"], take["finished"]) == (True, False)


def test_what_is_not_learnt_yet_is_up_to_date_nowhere(
    brief: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief.post("/api/learn", {})
    assert ended(brief)["up_to_date"]

    def looks_on(_: object) -> None:
        brief.desk.closing.wait()
        raise Cancelled

    monkeypatch.setattr(brief.desk.learner, "_looked", looks_on)
    brief.send("/api/photos?class=red_things", ("a", picture(2, 3)))
    state = brief.get("/api/state").json()
    assert state["learn"]["up_to_date"] is False
    assert brief.get("/api/take").json()["up_to_date"] is False
    answer = brief.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert (answer["by"], answer["up_to_date"]) == ("run", False)
    look = brief.get("/api/look").json()
    assert (look["tuned_up_to_date"], look["tuned_finished"]) == (False, True)


def test_nothing_learnable_is_still_answered_and_said_to_be_of_before(
    brief: Station, data: Path
) -> None:
    brief.post("/api/learn", {})
    ended(brief)
    for name in ("red_things", "green_things"):
        shutil.rmtree(data / name)
    assert brief.settled()["look"]["state"] == "none"
    answer = brief.send("/api/try", ("a.png", picture(0)), field="photo").json()
    assert (answer["by"], answer["up_to_date"]) == ("run", False)


def test_it_learns_by_itself_after_the_next_start_too(
    tiny_onnx: Path, data: Path, run: Path
) -> None:
    for on in (True, False):
        with station(tiny_onnx, data, run) as served:
            assert served.get("/api/learn").json()["auto"] is not on
            served.post("/api/learn/auto", {"on": on})
            assert served.get("/api/learn").json()["auto"] is on


@pytest.mark.parametrize("lost", [pytest.param("before", marks=pytest.mark.slow), "meanwhile"])
def test_a_run_folder_that_is_none_any_more_costs_no_result(
    lost: str, brief: Station, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief.post("/api/learn", {})
    ended(brief)
    inner = tuner.api.tune

    def tune(**options: Any) -> Any:
        (run / "config.json").unlink(missing_ok=True)
        return inner(**options)

    if lost == "before":
        (run / "config.json").unlink()
    else:
        monkeypatch.setattr(tuner.api, "tune", tune)
    brief.send("/api/photos?class=red_things", ("a", picture(2, 3)))
    brief.post("/api/learn", {})
    learn = ended(brief)
    assert (learn["state"], "config.json is not there" in learn["why"]) == ("failed", True)
    assert (run.with_name("run-next") / "summary.json").exists() is (lost == "meanwhile")
    run.rename(run.with_name("elsewhere"))
    monkeypatch.setattr(tuner.api, "tune", inner)
    if lost == "before":
        brief.post("/api/learn", {})
    learn = ended(brief)
    assert (learn["state"], learn["up_to_date"]) == ("done", True)


def test_what_was_stopped_does_not_begin_again_by_itself(
    served: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "QUIET", 0.3)
    interrupted(served)
    served.post("/api/learn/auto", {"on": True})
    time.sleep(1.2)
    assert served.get("/api/learn").json()["state"] == "idle"
    served.send("/api/photos?class=red_things", ("a", picture(2, 3)))
    served.until(lambda state: state["learn"]["up_to_date"], most=120)


def test_two_that_adopt_at_once_put_nothing_new_away(
    served: Station, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page asks for the state, which adopts what the command has ended."""
    served.post("/api/learn", {})
    ended(served)
    shutil.copytree(run, run.with_name("run-next"))
    inner = run_state.is_locked

    def slowly(folder: Path) -> bool:
        found = inner(folder)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(run_state, "is_locked", slowly)
    both = [Thread(target=served.desk.tuner.folder.adopt) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sorted(each.name for each in run.parent.glob("run*")) == ["run", "run-1"]
