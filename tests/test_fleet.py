"""A real scheduler of Dask with real workers: the numbers of a run here, whoever comes and goes."""

import signal
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from threading import Event as Flag
from typing import Any

import numpy as np
import pytest

if not find_spec("distributed"):
    pytest.skip("the extra `fleet` is not installed", allow_module_level=True)

from helpers import invoke, rest_slow, run_tune
from servers import dask_fleet, free_ports

import edge_sharpzo
from edge_sharpzo.clip import ClipOnnx
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines import dask_client, fleet, fleet_session
from edge_sharpzo.engines.address import addresses
from edge_sharpzo.engines.fleet_worker import Answer, Job, _place, take_part, take_whole
from edge_sharpzo.events import Event, Note, QueriesSpent
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import package_version, sums_bytes_exactly

BUDGET = 400
FEW = ("--shots", 6, "--budget", BUDGET, "--json")


@pytest.fixture(scope="module")
def local(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the model here."""
    folder = tmp_path_factory.mktemp("local") / "run"
    assert run_tune(tiny_onnx, photos, folder, *FEW).exit_code == 0
    return folder


def history(run: Path) -> str:
    return (run / "history.jsonl").read_text()


def tuned(photos: Path, onnx: Path, out: Path, port: int, hear: Any) -> Path:
    return edge_sharpzo.tune(
        photos,
        onnx=onnx,
        out=out,
        shots=6,
        budget=BUDGET,
        engine=f"dask://127.0.0.1:{port}",
        on_progress=hear,
    ).folder


def test_workers_come_and_go(tiny_onnx: Path, photos: Path, local: Path, tmp_path: Path) -> None:
    """Workers that have no model are sent it; one that is killed in mid-run is done without; with
    none left the run ends, and goes on with others.
    """
    told: list[str] = []
    with dask_fleet(tmp_path) as (port, scheduler, workers):

        def hear(event: Event) -> None:
            if isinstance(event, Note):
                told.append(event.text)
            if isinstance(event, QueriesSpent) and event.used > 100:
                workers[0].kill()

        run = tuned(photos, tiny_onnx, tmp_path / "run", port, hear)
        assert history(run) == history(local)
        assert workers[0].wait(10) < 0
        assert sum("it is sent there, once" in text for text in told) in (1, 2)
        kept = list(tmp_path.glob("cache?/models/*/clip.onnx"))
        assert kept
        assert all(ClipOnnx(file).sha256 == ClipOnnx(tiny_onnx).sha256 for file in kept)
        assert not list(tmp_path.glob("cache?/models/*.part"))

        def end(event: Event) -> None:
            if isinstance(event, QueriesSpent) and event.used > 100:
                scheduler.kill()

        with pytest.raises(UserError, match=r"does not answer any more|has no worker") as caught:
            tuned(photos, tiny_onnx, tmp_path / "ended", port, end)
        assert "`resume=" in str(caught.value)
        assert (tmp_path / "ended" / "checkpoint.safetensors").exists()
    assert invoke("tune", "--resume", tmp_path / "ended", "--engine", "local").exit_code == 0
    assert history(tmp_path / "ended") == history(local)


def test_photos_may_be_encoded_there(
    tiny_onnx: Path, photos: Path, local: Path, tmp_path: Path
) -> None:
    with dask_fleet(tmp_path, workers=1) as (port, _, _):
        more = ("--engine", f"dask://127.0.0.1:{port}", "--send-photos")
        result = run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, *more)
    assert result.exit_code == 0, result.output
    assert f"warning: photos leave this device: the workers of 127.0.0.1:{port}" in result.stderr
    assert (tmp_path / "run" / "classifier.onnx").exists()
    assert history(tmp_path / "run") == history(local)


OTHER_VERSION = """
import edge_sharpzo.engines.fleet_worker as worker
worker.package_version = lambda: "9.9.9"
"""
NO_PACKAGE = """
import importlib.metadata
def version(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
"""
FULL_DISK = """
import edge_sharpzo.engines.fleet_worker as worker
def full(*what):
    raise OSError(28, "No space left on device")
worker.take_part.__code__ = full.__code__
"""
NO_DISK = """
import edge_sharpzo.engines.fleet_worker as worker
def full(*what):
    raise OSError(28, "No space left on device")
worker._place = full
"""
NO_MEMORY = NO_DISK.replace('OSError(28, "No space left on device")', "MemoryError")
WRONG_SHAPE = """
import edge_sharpzo.engines.fleet_worker as worker
right = worker.computed
class Session:
    def run_all(self, calls):
        import numpy
        return [numpy.zeros((1, 2), numpy.float32)]
worker._session = lambda *what: Session()
"""


@pytest.mark.parametrize(
    ("before", "why"),
    # The others are refused below, too, by workers in this process.
    rest_slow(
        [
            (WRONG_SHAPE, "gives something else"),
            (NO_DISK, "cannot compute (OSError"),
            (NO_MEMORY, "cannot compute (MemoryError"),
            (OTHER_VERSION, "has edge-sharpzo 9.9.9"),
            (NO_PACKAGE, "has no edge-sharpzo"),
            (FULL_DISK, "cannot take the model"),
        ],
        2,
    ),
    ids=["wrong-shape", "no-disk", "no-memory", "other-version", "no-package", "full-disk"],
)
def test_a_worker_that_does_not_fit_is_refused(
    before: str, why: str, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "before.py").write_text(before)
    with dask_fleet(tmp_path, workers=1, before="before") as (port, _, _):
        engine = ("--engine", f"dask://127.0.0.1:{port}")
        result = run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, *engine)
    assert result.exit_code == 2, result.output
    assert why in result.stderr
    assert "Traceback" not in result.output
    assert "--resume" in result.stderr


def test_nobody_is_there(
    tiny_onnx: Path,
    photos: Path,
    local: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet, "PATIENCE", 1.0)
    monkeypatch.setattr(dask_client, "ANSWER_WITHIN", 2.0)
    (free,) = free_ports(1)
    engine = ("--engine", f"dask://127.0.0.1:{free}")
    result = run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, *engine)
    assert result.exit_code == 2
    assert "no Dask scheduler answers" in result.stderr
    with dask_fleet(tmp_path, workers=0) as (port, _, _):
        monkeypatch.setattr(dask_client, "ANSWER_WITHIN", 10.0)
        engine = ("--engine", f"dask://127.0.0.1:{port}")
        results = [
            run_tune(tiny_onnx, photos, tmp_path / "run", *FEW, *engine),
            invoke("doctor", "--onnx", tiny_onnx, *engine),
            invoke("predict", local, photos, *engine),
        ]
    for result in results:
        assert result.exit_code == 2
        waits, error = result.stderr.splitlines()
        told = f"the scheduler at 127.0.0.1:{port} has no worker"
        assert waits.removeprefix("note: ") == f"{told} yet: waiting 1 s"
        assert error.startswith(f"edge-sharpzo: {told}: start some with")


def test_a_model_in_parts(tiny_onnx: Path, tmp_path: Path) -> None:
    clip = ClipOnnx(tiny_onnx)
    data = tiny_onnx.read_bytes()
    half = len(data) // 2
    take_part(clip.sha256, "a", "clip.onnx", 0, data[:half])
    with pytest.raises(ValueError, match="another order"):
        take_part(clip.sha256, "a", "clip.onnx", half + 1, data[half:])
    take_part(clip.sha256, "a", "clip.onnx", half, data[half:])
    take_whole(clip.sha256, "a", "clip.onnx")
    (file,) = (tmp_path / "cache").glob("models/*/clip.onnx")
    assert file.read_bytes() == data
    take_part(clip.sha256, "a", "clip.onnx", 0, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises((ValueError, UserError)):
        take_whole(clip.sha256, "a", "clip.onnx")
    assert file.read_bytes() == data
    # Two senders at once do not disturb each other, and a damaged model is as good as missing.
    file.write_bytes(b"garbage")
    _place.cache_clear()
    assert _place(clip.sha256, "clip.onnx") is None
    for offset, part in ((0, data[:half]), (half, data[half:])):
        for sender in ("a", "b"):
            take_part(clip.sha256, sender, "clip.onnx", offset, part)
    for sender in ("a", "b"):
        take_whole(clip.sha256, sender, "clip.onnx")
    assert _place(clip.sha256, "clip.onnx") == file
    assert not list((tmp_path / "cache" / "models").glob("*.part"))
    _place.cache_clear()


def _as_folder(place: Path) -> None:
    (place / "deep").mkdir(parents=True)
    (place / "clip.onnx").write_bytes(b"garbage")


def _as_link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    (place.parent / "elsewhere" / "kept").touch()
    place.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "occupy",
    [
        Path.touch,
        _as_folder,
        _as_link,
        lambda place: place.symlink_to(place),
        lambda place: place.symlink_to("nowhere"),
    ],
    ids=["file", "folder", "link-to-folder", "link-to-itself", "dangling-link"],
)
def test_a_model_takes_its_place_whatever_is_there(
    occupy: Callable[[Path], object], tiny_onnx: Path, tmp_path: Path
) -> None:
    clip, models = ClipOnnx(tiny_onnx), tmp_path / "cache" / "models"
    models.mkdir(parents=True)
    occupy(models / clip.sha256[:32])
    take_part(clip.sha256, "a", "clip.onnx", 0, tiny_onnx.read_bytes())
    take_whole(clip.sha256, "a", "clip.onnx")
    file = models / clip.sha256[:32] / "clip.onnx"
    assert not file.parent.is_symlink()
    assert file.read_bytes() == tiny_onnx.read_bytes()
    assert occupy is not _as_link or (models / "elsewhere" / "kept").exists()
    _place.cache_clear()


@pytest.mark.slow
def test_a_worker_that_hangs_is_done_without(
    tiny_onnx: Path,
    photos: Path,
    local: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet_session, "SILENT", 6.0)
    told: list[str] = []
    with dask_fleet(tmp_path) as (port, _, workers):

        def hear(event: Event) -> None:
            if isinstance(event, Note):
                told.append(event.text)
            if isinstance(event, QueriesSpent) and event.used > 100:
                workers[0].send_signal(signal.SIGSTOP)

        run = tuned(photos, tiny_onnx, tmp_path / "run", port, hear)
        workers[0].send_signal(signal.SIGCONT)
    assert history(run) == history(local)
    assert any("hangs: others take its calls" in text for text in told)


@pytest.mark.slow  # below, by workers in this process
def test_a_worker_that_hangs_from_the_start_is_done_without(
    tiny_onnx: Path, photos: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "SILENT", 6.0)
    told: list[str] = []
    with dask_fleet(tmp_path) as (port, _, workers):
        with_workers = fleet._with_workers

        def stopped(*given: Any) -> Any:
            client = with_workers(*given)
            client.wait_for_workers(2, timeout=30)
            workers[1].send_signal(signal.SIGSTOP)
            return client

        def hear(event: Event) -> None:
            if isinstance(event, Note):
                told.append(event.text)

        monkeypatch.setattr(fleet, "_with_workers", stopped)
        run = tuned(photos, tiny_onnx, tmp_path / "run", port, hear)
        workers[1].send_signal(signal.SIGCONT)
    assert history(run) == history(local)
    # Twice where a sign of life was on its way when the worker stopped, but of that one alone.
    assert len({text for text in told if "hangs: others take its calls" in text}) == 1


OURS, LATE, UNREACHABLE, GONE = package_version(), "late", OSError("Timed out"), "gone"


class Workers:
    """A client of a scheduler whose workers are these, by what they say of the package."""

    status = "running"

    def __init__(self, **says: object):
        self.says = says

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:  # noqa: ARG002
        return {"workers": {worker: {"last_seen": 1.0} for worker in self.says}}

    def run(self, what: Any, *given: Any, workers: list[str], on_error: str) -> dict[str, Any]:  # noqa: ARG002
        (worker,) = workers
        says = self.says[worker]
        if says is LATE:
            Flag().wait(3)
        if says is GONE:
            del self.says[worker]
            return {worker: OSError("connection closed")}
        return {worker: says}


def fleet_of(
    workers: Workers, onnx: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> fleet.Fleet:
    for name in ("SILENT", "PATIENCE"):
        monkeypatch.setattr(fleet, name, 0.3)
    monkeypatch.setattr(fleet, "_with_workers", lambda *_: workers)
    (address,) = addresses("dask://127.0.0.1:1")
    return fleet.Fleet(address, ClipOnnx(onnx), lambda text, _: told.append(text))


@pytest.mark.parametrize(
    ("says", "hanging"),
    [
        ({"a": OURS, "b": OURS, "c": OURS}, []),
        ({"a": LATE, "b": OURS}, ["a"]),
        ({"a": OURS, "b": LATE, "c": OURS, "d": LATE}, ["b", "d"]),
        ({"a": UNREACHABLE, "b": OURS}, ["a"]),
        ({"a": OURS, "b": GONE}, []),
    ],
)
def test_who_hangs_before_the_first_call_is_named(
    says: dict[str, object], hanging: list[str], tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever joins later, too."""
    workers, told = Workers(z=OURS), list[str]()
    there = fleet_of(workers, tiny_onnx, told, monkeypatch)
    there.check_workers()
    workers.says |= says
    for _ in range(2):  # once is enough
        there.check_workers()
    assert told == [f"{worker} hangs: others take its calls" for worker in hanging]
    assert all(there.hangs(worker) == (worker in hanging) for worker in says)
    assert there._fit == {"z", *(worker for worker in says if says[worker] is OURS)}


@pytest.mark.parametrize(
    ("exactly", "towers", "told"),
    [
        ({"a": True, "b": True}, True, []),
        ({"a": False, "b": False}, False, []),
        ({"a": False, "b": True, "c": False}, False, ["processor of a, c: all workers multiply"]),
        ({"a": True, "b": True, "c": False}, False, ["the processor of c: all workers multiply"]),
    ],
)
def test_integers_are_for_workers_that_all_can(
    exactly: dict[str, bool],
    towers: bool,
    told: list[str],
    eight_bits: Path,
    tiny_onnx: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Processors(Workers):
        def run(self, what: Any, *given: Any, workers: list[str], on_error: str) -> dict[str, Any]:
            if what is not sums_bytes_exactly:
                return super().run(what, *given, workers=workers, on_error=on_error)
            return {worker: exactly[worker] for worker in workers}

    for onnx, wanted, news in ((eight_bits, towers, told), (tiny_onnx, False, [])):
        heard: list[str] = []
        there = fleet_of(Processors(**dict.fromkeys(exactly, OURS)), onnx, heard, monkeypatch)
        for integer in (True, False):
            session = there.session(Tower.TEXT, integer, "0" * 64, lambda feeds: (1, 1))
            assert session._job.integer == (wanted and integer)
        assert len(heard) == len(news)
        assert all(part in text for part, text in zip(news, heard, strict=True))


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"a": LATE}, "no worker of 127.0.0.1:1 has given a sign of life"),
        ({"a": LATE, "b": UNREACHABLE, "c": LATE}, "no worker of 127.0.0.1:1"),
        ({"a": "9.9.9", "b": LATE, "c": OURS}, "the worker a has edge-sharpzo 9.9.9"),
        ({"a": PackageNotFoundError("edge-sharpzo"), "b": OURS}, "the worker a has no edge"),
    ],
)
def test_who_does_not_fit_is_refused_before_the_first_call(
    says: dict[str, object], why: str, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = fleet_of(Workers(**says), tiny_onnx, [], monkeypatch)
    with pytest.raises(UserError, match=why):
        there.check_workers()


@pytest.mark.parametrize(
    ("says", "why"),
    [(LATE, "a hangs: others take its calls"), (GONE, None), (UNREACHABLE, "cannot take the")],
)
def test_who_hangs_while_the_model_is_sent_is_done_without(
    says: object, why: str | None, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    there = fleet_of(Workers(a=says, b=OURS), tiny_onnx, told, monkeypatch)
    try:
        there.send_model("a", 0.0)
    except UserError as error:
        told.append(str(error))
    assert len(told) == (1 if why is None else 2)
    assert why is None or why in told[-1]


def test_a_scheduler_that_hangs_is_told(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(a=OURS)
    there = fleet_of(workers, tiny_onnx, [], monkeypatch)
    job = Job("0" * 64, "clip.onnx", "text", False, 1, OURS)
    session = fleet_session.FleetSession(there, job, lambda feeds: (1, 1))
    monkeypatch.setattr(workers, "scheduler_info", lambda **_: Flag().wait(3))
    with pytest.raises(UserError, match=r"scheduler at 127\.0\.0\.1:1 does not answer"):
        session.run_all([{}])


def test_other_digits_of_a_worker_are_told() -> None:
    told: list[tuple[str, bool]] = []

    class Future:
        def result(self, timeout: float) -> Answer:  # noqa: ARG002
            return Answer("w1", "1", np.ones((1, 1), np.float32) + 1e-7)

    class Fleet:
        def submit(self, *what: object) -> Future:  # noqa: ARG002
            return Future()

        def tell(self, text: str, warning: bool) -> None:
            told.append((text, warning))

    job = Job("0" * 64, "clip.onnx", "text", False, 1, "1")
    session = fleet_session.FleetSession(Fleet(), job, lambda feeds: (1, 1))  # type: ignore[arg-type]
    for worker in ("w0", "w1", "w1"):
        session._checked(Answer(worker, "1", np.ones((1, 1), np.float32)), {}, 0)
    assert len(told) == 1
    assert "w1 computes other last digits" in told[0][0]
