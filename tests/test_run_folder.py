"""A run folder holds one run: never parts of two; and no photo tuned on counts as a fresh one."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Place, invoke, run_tune, write_photos

import edge_sharpzo
from edge_sharpzo import Classifier, UserError
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.events import Note
from edge_sharpzo.runs import checkpoint
from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.runs.folder import FILES, resumed_options, start_afresh
from edge_sharpzo.system.tensors import load_tensors, save_tensors

STOP_AFTER = 100  # queries
Result = Any


class Stopping:
    """Stops a run after so many queries, as a kill does: nothing is finished."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("edge_sharpzo.runs.checkpoint.EVERY", 0.0)

    def tune(self, onnx: Path, data: Path, out: Path, **more: Any) -> None:
        class Killed(BaseException):
            pass

        def kill(event: object) -> None:
            if getattr(event, "used", 0) > STOP_AFTER:
                raise Killed

        options = {"shots": 6, "budget": 300, **more}
        with pytest.raises(Killed):
            edge_sharpzo.tune(data, onnx=onnx, out=out, on_progress=kill, **options)


class After:
    """Asks to stop from the `looks`-th look on."""

    def __init__(self, looks: int):
        self.left = looks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Stopping:
    return Stopping(monkeypatch)


@pytest.fixture
def data(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "data"))


def history(run: Path) -> str:
    return (run / "history.jsonl").read_text()


def resume(run: Path) -> Result:
    return invoke("tune", "--resume", run)


def test_a_new_run_over_an_interrupted_one_is_refused_or_deletes_it(
    tiny_onnx: Path, data: Path, tmp_path: Path, stopping: Stopping
) -> None:
    out = tmp_path / "run"
    stopping.tune(tiny_onnx, data, out)
    refused = run_tune(tiny_onnx, data, out, "--shots", 6, "--budget", 300, "--seed", 1)
    assert refused.exit_code == 2
    assert f"go on with it by --resume {out}, or give --overwrite" in refused.stderr
    assert (out / FILE).exists()
    (out / "mine.txt").write_text("keep me")
    arguments = ("--shots", 6, "--budget", 300, "--seed", 1)
    assert run_tune(tiny_onnx, data, out, *arguments, "--overwrite").exit_code == 0
    assert (out / "mine.txt").read_text() == "keep me"
    assert run_tune(tiny_onnx, data, tmp_path / "alone", *arguments).exit_code == 0
    assert history(out) == history(tmp_path / "alone")


def other_seed(config: dict[str, Any]) -> None:
    config["options"]["seed"] = 5


def other_budget(config: dict[str, Any]) -> None:
    config["options"]["budget"] = 200


def other_template(config: dict[str, Any]) -> None:
    config["options"]["template"] = "{} texture."


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (other_seed, "(in another order)"),  # another draw of the photos
        (other_budget, "belongs to another run than the settings beside it"),
        (other_template, "belongs to another run than the settings beside it"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    edit: Callable[[dict[str, Any]], None],
    words: str,
    tiny_onnx: Path,
    data: Path,
    tmp_path: Path,
    stopping: Stopping,
) -> None:
    out = tmp_path / "run"
    stopping.tune(tiny_onnx, data, out)
    config = json.loads((out / "config.json").read_text())
    edit(config)
    (out / "config.json").write_text(json.dumps(config))
    done = resume(out)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (out / "summary.json").exists()


def test_a_checkpoint_from_elsewhere_is_refused(
    tiny_onnx: Path, data: Path, tmp_path: Path, stopping: Stopping
) -> None:
    stopping.tune(tiny_onnx, data, tmp_path / "a")
    stopping.tune(tiny_onnx, data, tmp_path / "b", seed=1)
    shutil.copy(tmp_path / "a" / FILE, tmp_path / "b" / FILE)
    assert "belongs to another run" in resume(tmp_path / "b").stderr
    (tmp_path / "b" / FILE).unlink()  # as the message says
    assert resume(tmp_path / "b").exit_code == 0
    edge_sharpzo.tune(data, onnx=tiny_onnx, out=tmp_path / "c", shots=6, budget=300, seed=1)
    assert history(tmp_path / "b") == history(tmp_path / "c")


def edited_in_place(data: Path) -> None:
    first = data / "train" / "red_things" / "000.png"
    first.write_bytes((data / "test" / "red_things" / "003.png").read_bytes())


def one_more(data: Path) -> None:
    write_photos(data / "train" / "red_things", 0, 1, seed=9, start=50)


def one_less_held_out(data: Path) -> None:
    (data / "test" / "blue_things" / "001.png").unlink()


def two_swapped(data: Path) -> None:
    a, b = (data / "train" / name / "002.png" for name in ("red_things", "green_things"))
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            edited_in_place,
            "(edited: {data}/train/red_things/000.png; "
            "gone, unreadable or a copy: {data}/test/red_things/003.png)",
        ),
        (one_more, "red_things/"),
        (one_less_held_out, "(gone, unreadable or a copy: {data}/test/blue_things/001.png)"),
        (two_swapped, "(edited: {data}/train/"),
    ],
)
def test_photos_that_changed_are_named(
    change: Callable[[Path], None],
    words: str,
    tiny_onnx: Path,
    data: Path,
    tmp_path: Path,
    stopping: Stopping,
) -> None:
    stopping.tune(tiny_onnx, data, tmp_path / "run")
    change(data)
    done = resume(tmp_path / "run")
    assert done.exit_code == 2
    assert "the photos are not those" in done.stderr
    assert words.format(data=data) in done.stderr


def test_photos_that_only_moved_are_the_same(
    tiny_onnx: Path, data: Path, tmp_path: Path, stopping: Stopping
) -> None:
    stopping.tune(tiny_onnx, data, tmp_path / "run")
    data.rename(tmp_path / "elsewhere")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["options"]["data"] = str(tmp_path / "elsewhere")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert resume(tmp_path / "run").exit_code == 0
    edge_sharpzo.tune(
        tmp_path / "elsewhere", onnx=tiny_onnx, out=tmp_path / "whole", shots=6, budget=300
    )
    assert history(tmp_path / "run") == history(tmp_path / "whole")


HOLD = """
import sys, time
from pathlib import Path
from edge_sharpzo.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A folder that another process holds."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield tmp_path / "run", process
        process.kill()


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_dead(
    held: tuple[Path, "subprocess.Popen[str]"], tiny_onnx: Path, photos: Path
) -> None:
    out, process = held
    arguments = (tiny_onnx, photos, out, "--shots", 6, "--budget", 60)
    for more in ((), ("--overwrite",)):
        refused = run_tune(*arguments, *more)
        assert refused.exit_code == 2
        assert f"another run is going on in {out}" in refused.stderr
    process.kill()
    process.wait()
    assert run_tune(*arguments).exit_code == 0
    assert not (out / ".lock").exists()


def test_two_runs_of_one_second_get_a_folder_each(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "now")
    runs = [
        edge_sharpzo.tune(photos, onnx=tiny_onnx, shots=6, budget=60, seed=seed) for seed in (0, 1)
    ]
    assert [run.folder for run in runs] == [tmp_path / "runs" / name for name in ("now", "now-2")]
    assert [run.summary.seed for run in runs] == [0, 1]


@pytest.fixture(scope="module")
def finished(
    tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> edge_sharpzo.Run:
    out = tmp_path_factory.mktemp("finished") / "run"
    return edge_sharpzo.tune(photos, onnx=tiny_onnx, out=out, shots=6, budget=60)


def renamed(photos: Path, folder: Path) -> Path:
    shutil.copytree(photos / "train", folder)
    for file in list(folder.rglob("*.png")):
        file.rename(file.with_name(f"photo-{file.stem}.png"))
    return folder


def linked(photos: Path, folder: Path) -> Path:
    folder.symlink_to(photos / "train")
    return folder


def copied_with_fresh_ones(photos: Path, folder: Path) -> Path:
    shutil.copytree(photos / "train", folder)
    for name, hue in (("red_things", 0), ("green_things", 90), ("blue_things", 170)):
        write_photos(folder / name, hue, 2, seed=11, start=70)
    return folder


@pytest.mark.parametrize(
    ("make", "fresh"),
    [
        (lambda photos, folder: Path(shutil.copytree(photos / "train", folder)), 0),
        (renamed, 0),
        (linked, 0),
        (copied_with_fresh_ones, 6),
    ],
)
def test_copies_of_photos_that_were_tuned_on_are_not_fresh(
    make: Callable[[Path, Path], Path],
    fresh: int,
    finished: edge_sharpzo.Run,
    photos: Path,
    tmp_path: Path,
) -> None:
    data = make(photos, tmp_path / "data")
    classifier = Classifier.load(finished.folder)
    if not fresh:
        with pytest.raises(
            UserError, match=r"is left to count .*tuned on.*give `data` other photos"
        ):
            classifier.evaluate(data)
        return
    result = classifier.evaluate(data)
    assert (result.photos, result.tuned_on) == (fresh, 18)
    told = invoke("eval", finished.folder, "--data", data).stderr
    assert "18 that the run was tuned on" in told


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_one_flipped_bit_is_noticed(
    bit: int, place: float, finished: edge_sharpzo.Run, tmp_path: Path
) -> None:
    """In what is written as tensors: the numbers of a prompt, as of a checkpoint or a cache."""
    tensors, metadata = load_tensors(finished.folder / "prompt.safetensors")
    save_tensors(tmp_path / "whole", tensors, metadata)
    assert load_tensors(tmp_path / "whole")[1] == metadata
    content = bytearray((tmp_path / "whole").read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (tmp_path / "whole").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - in the numbers or in the header
        load_tensors(tmp_path / "whole")


def test_what_a_killed_process_was_writing_is_deleted_at_the_next_start(
    tiny_onnx: Path, data: Path, tmp_path: Path, stopping: Stopping
) -> None:
    out = tmp_path / "run"
    stopping.tune(tiny_onnx, data, out)
    for name in ("checkpoint.safetensors", "prompt.safetensors", "classifier.onnx"):
        (out / f".{name}.x1y2z3.part").write_bytes(b"half")
    (out / ".notes.part").write_text("not ours")
    assert resume(out).exit_code == 0
    assert [file.name for file in out.glob(".*")] == [".notes.part"]


@pytest.mark.parametrize("moment", ["PhotosEncoded", "TuningStarts", "QueriesSpent"])
@pytest.mark.parametrize("how", ["replaced", "rewritten", "deleted"])
def test_a_model_that_changes_under_a_run_gives_no_results(
    moment: str, how: str, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    model = tmp_path / "clip.onnx"
    shutil.copy(tiny_onnx, model)
    other = bytearray(tiny_onnx.read_bytes())
    other[len(other) // 2] ^= 1  # one bit of a weight

    def meddle(event: object) -> None:
        if type(event).__name__ != moment:
            return
        if how == "deleted":
            model.unlink(missing_ok=True)
        elif how == "replaced":
            (tmp_path / "new.onnx").write_bytes(other)
            (tmp_path / "new.onnx").replace(model)
        else:
            model.write_bytes(other)

    with pytest.raises(UserError, match=r"clip\.onnx") as raised:
        edge_sharpzo.tune(
            photos, onnx=model, out=tmp_path / "run", shots=6, budget=60, on_progress=meddle
        )
    assert "changed while it was in use" in str(raised.value) or how == "deleted"
    for name in ("summary.json", "prompt.safetensors", "classifier.onnx"):
        assert not (tmp_path / "run" / name).exists()


def renamed_away(out: Path) -> None:
    out.rename(out.with_name("elsewhere"))


def deleted(out: Path) -> None:
    shutil.rmtree(out)


def taken(out: Path) -> None:
    """By another run, which has begun there meanwhile."""
    out.rename(out.with_name("elsewhere"))
    out.mkdir()
    (out / ".lock").touch()
    (out / "config.json").write_text("another run's")


@pytest.mark.parametrize(
    ("lose", "moment"),
    [
        (renamed_away, "TuningStarts"),
        (deleted, "QueriesSpent"),
        (taken, "PhotosEncoded"),
        (taken, "TuningStarts"),
        (taken, "QueriesSpent"),
    ],
)
def test_a_folder_that_is_lost_in_mid_run_costs_no_result(
    lose: Callable[[Path], None],
    moment: str,
    tiny_onnx: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They go to a folder of their own, whole; what is in the old place stays as it is."""
    monkeypatch.setattr("edge_sharpzo.runs.checkpoint.EVERY", 0.0)
    out, said, done = tmp_path / "run", list[str](), list[bool]()

    def listen(event: object) -> None:
        if isinstance(event, Note):
            said.append(event.text)
        if type(event).__name__ == moment and not done:
            done.append(True)
            lose(out)

    run = edge_sharpzo.tune(data, onnx=tiny_onnx, out=out, shots=6, budget=300, on_progress=listen)
    assert run.folder == tmp_path / "run-rescued"
    assert f"the results are in {run.folder}" in said[-1]
    alone = edge_sharpzo.tune(data, onnx=tiny_onnx, out=tmp_path / "alone", shots=6, budget=300)
    assert history(run.folder) == history(alone.folder)
    assert {file.name for file in run.folder.iterdir()} == {
        file.name for file in alone.folder.iterdir()
    }
    assert invoke("eval", run.folder, "--data", data).exit_code == 0
    if lose is taken:
        assert (out / "config.json").read_text() == "another run's"
        assert sorted(file.name for file in out.iterdir()) == [".lock", "config.json"]


def test_a_folder_that_is_lost_while_a_checkpoint_is_written(
    tiny_onnx: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, said = checkpoint.save_tensors, list[str]()

    def lost(path: Path, *given: Any) -> None:
        deleted(path.parent)
        save(path, *given)

    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "save_tensors", lost)
    run = edge_sharpzo.tune(
        data,
        onnx=tiny_onnx,
        out=tmp_path / "run",
        shots=6,
        budget=300,
        on_progress=lambda event: said.append(event.text) if isinstance(event, Note) else None,
    )
    assert run.folder == tmp_path / "run-rescued"
    assert sum("the run goes on without checkpoints" in text for text in said) == 1


@pytest.mark.parametrize("out", ["up/run", "."])
def test_results_find_a_place_where_none_is_left_beside_the_folder(
    out: str, tiny_onnx: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said, done = list[str](), list[bool]()

    def listen(event: object) -> None:
        if isinstance(event, Note):
            said.append(event.text)
        if type(event).__name__ == "QueriesSpent" and not done:
            done.append(True)
            if out == ".":
                Path(".lock").unlink()
            else:
                Path("up").rename("away")
                Path("up").write_text("in the way")

    run = edge_sharpzo.tune(
        data, onnx=tiny_onnx, out=Path(out), shots=6, budget=300, on_progress=listen
    )
    assert "the run goes on without checkpoints" in "".join(said)
    assert f"the results are in {run.folder}" in said[-1]
    assert run.folder.parent == tmp_path
    assert run.folder.name.startswith("here-rescued" if out == "." else "run-rescued-")
    assert (run.folder / "report.html").exists()


@pytest.mark.parametrize("damage", [b"", b"no tensors", None])
def test_an_interrupted_run_without_its_checkpoint_starts_over(
    damage: bytes | None, tiny_onnx: Path, data: Path, tmp_path: Path
) -> None:
    """A summary alone does not make it finished."""
    out = tmp_path / "run"
    run = edge_sharpzo.tune(data, onnx=tiny_onnx, out=out, shots=6, budget=300, cancelled=After(45))
    assert run.interrupted
    if damage is not None:
        (out / FILE).write_bytes(damage)
        refused = resume(out)
        assert refused.exit_code == 2
        assert "delete it and resume, which then starts over" in refused.stderr
    (out / FILE).unlink()
    done = resume(out)
    assert done.exit_code == 0, done.stderr
    assert "there is no checkpoint yet: starting over" in done.stderr
    alone = edge_sharpzo.tune(data, onnx=tiny_onnx, out=tmp_path / "alone", shots=6, budget=300)
    assert history(out) == history(alone.folder)
    assert resume(out).exit_code == 2  # now it is


@pytest.mark.parametrize("content", [b"", b"half a pho", None])
def test_a_training_photo_that_is_torn_before_resuming_is_named(
    content: bytes | None, tiny_onnx: Path, data: Path, tmp_path: Path, stopping: Stopping
) -> None:
    out = tmp_path / "run"
    stopping.tune(tiny_onnx, data, out)
    photo = data / "train" / "red_things" / "002.png"
    whole = photo.read_bytes()
    if content is None:
        photo.unlink()
    else:
        photo.write_bytes(content)
    refused = resume(out)
    assert refused.exit_code == 2
    assert f"gone, unreadable or a copy: {photo}" in refused.stderr
    photo.write_bytes(whole)
    assert resume(out).exit_code == 0


def test_a_run_finds_its_embedded_model_in_another_environment(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its contents: not any model that lies where the embedded one does."""
    old, here = tmp_path / "python3.11" / "clip.onnx", tmp_path / "python3.13" / "clip.onnx"
    for place in (old, here):
        place.parent.mkdir()
        shutil.copy(EMBEDDED_MODEL, place)
    monkeypatch.setattr("edge_sharpzo.clip.embedded.EMBEDDED_MODEL", here)
    out = tmp_path / "run"
    edge_sharpzo.tune(data, onnx=old, out=out, shots=6, budget=300, cancelled=After(45))
    old.unlink()
    assert resume(out).exit_code == 0
    before = invoke("predict", out, data / "test" / "red_things" / "000.png")
    assert before.exit_code == 0, before.stderr
    here.write_bytes(here.read_bytes() + b"\0")
    assert invoke("eval", out, "--data", data).exit_code == 2


@pytest.mark.parametrize("deleted", range(8))
def test_a_kill_while_an_earlier_run_is_deleted(
    deleted: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is a run that goes on, or nothing; what is advised can be done."""
    run, unlink, left = Path(shutil.copytree(place.run, place.tmp / "run")), Path.unlink, deleted
    (run / FILE).write_bytes(b"")

    class Killed(BaseException):
        pass

    def killed(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if path.parent == run and path.name in FILES:
            if not left:
                raise Killed
            left -= 1
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(Killed):
        start_afresh(run, overwrite=True)
    monkeypatch.undo()
    remains = [name for name in FILES if (run / name).exists()]
    assert len(remains) == 8 - deleted
    assert "config.json" in remains
    with pytest.raises(UserError, match="already holds a run") as raised:
        start_afresh(run, overwrite=False)
    assert f"go on with it by `resume={run}`" in str(raised.value)
    resumed_options(run)


@pytest.mark.parametrize("name", ["classifier.onnx", "report.html", FILE, "summary.json"])
def test_what_has_no_settings_cannot_go_on(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="already holds a run") as raised:
        start_afresh(tmp_path, overwrite=False)
    assert "resume" not in str(raised.value)
    start_afresh(tmp_path, overwrite=True)
    assert not list(tmp_path.iterdir())
