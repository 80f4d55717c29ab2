"""Workers of a fleet that hang: they are named and done without, and hold up no interrupt."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from helpers import rest_slow, write_photos
from servers import dask_fleet

import edge_sharpzo
from edge_sharpzo import UserError
from edge_sharpzo.events import Event, Note
from edge_sharpzo.sweeping import asking, crew, fleet
from edge_sharpzo.sweeping.asking import each_within
from edge_sharpzo.sweeping.task import Ended, Job
from edge_sharpzo.system.stopping import StopWhen

AT_ONCE = 5.0  # seconds, on a machine that has much else to do
WITHIN = 2.0  # seconds in which a worker has to answer, in these tests
SLEEP = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
pathlib.Path({mark!r}).touch()
time.sleep(1000)
"""


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_WITHIN", WITHIN)


@contextmanager
def workers_of(port: int, count: int) -> Iterator[list[str]]:
    """Waits until so many workers have joined; their addresses."""
    with crew.closing_client(f"tcp://127.0.0.1:{port}") as client:
        client.wait_for_workers(count, timeout=60)
        yield list(client.nthreads())


def joined(port: int, count: int) -> list[str]:
    with workers_of(port, count) as addresses:
        return addresses


def stopped(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGSTOP)


def crew_at(
    port: int, listen: Callable[[Event], object] = lambda event: None, stop: object = None
) -> object:
    engine = f"dask://127.0.0.1:{port}"
    return fleet.fleet_crew(engine, [], listen, stop or StopWhen())  # type: ignore[arg-type]


def texts(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Note)]


def test_what_takes_long_holds_up_no_other() -> None:
    began = time.monotonic()
    found = each_within(
        0.5, {"a": lambda: 1, "b": lambda: time.sleep(60), "c": lambda: 1 // 0, "d": lambda: 0}
    )
    assert time.monotonic() - began < AT_ONCE
    assert (found["a"], found["d"]) == (1, 0)
    assert isinstance(found["b"], TimeoutError)
    assert isinstance(found["c"], ZeroDivisionError)


@pytest.mark.usefixtures("quickly")
def test_one_that_hangs_at_the_start_is_named_and_left_out(tmp_path: Path) -> None:
    told = list[Event]()
    with dask_fleet(tmp_path) as (port, _, processes):
        every = joined(port, 2)
        stopped(processes[0])
        began = time.monotonic()
        with crew_at(port, told.append) as made:  # type: ignore[attr-defined]
            assert time.monotonic() - began < WITHIN + AT_ONCE
            (left,) = made.slots()
            (gone,) = set(every) - {left}
            why = f"the worker {gone} hangs (no answer in 2 s): start it again; it is left out"
            assert texts(told) == [why]
            found = list[Ended]()
            job = Job("quick", "timeit", ("-n1", "-r1", "pass"))
            made.run([job], lambda job, end: found.append(end), StopWhen())
            assert [end.code for end in found] == [0]
        stopped(processes[1])
        with (
            pytest.raises(UserError, match=f"{gone} hangs .*{left} hangs|{left} .*{gone} hangs"),
            crew_at(port),  # type: ignore[attr-defined]
        ):
            pass


@pytest.mark.parametrize("number", rest_slow([signal.SIGINT, signal.SIGTERM]))
def test_an_interrupt_while_workers_are_asked(number: int, tmp_path: Path) -> None:
    for label, hue in (("red", 0), ("green", 90)):
        write_photos(tmp_path / "imgs" / label, hue, 3, seed=1)
    with dask_fleet(tmp_path, workers=1) as (port, _, processes):
        joined(port, 1)
        stopped(processes[0])
        command = [
            "sweep",
            "--data",
            "imgs",
            "--out",
            "out",
            "--engine",
            f"dask://127.0.0.1:{port}",
        ]
        with subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "edge_sharpzo", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(edge_sharpzo.__file__).parents[1])},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            until = time.monotonic() + 60
            while not established(port, process.pid) and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(2)  # it asks now, for ten seconds
            assert process.poll() is None
            began = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert time.monotonic() - began < AT_ONCE
        assert process.returncode == 130
        assert errors.endswith("interrupted; the same command goes on with what has begun\n")
        assert "hangs" not in errors


def established(port: int, process: int) -> bool:
    """Whether a process has a connection to the port."""
    inodes = set()
    for handle in Path(f"/proc/{process}/fd").iterdir():
        try:
            inodes.add(str(handle.readlink()))
        except OSError:
            continue
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    remote = f":{port:04X}"
    return any(each[2].endswith(remote) and f"socket:[{each[9]}]" in inodes for each in lines)


@pytest.mark.usefixtures("quickly")
def test_one_that_comes_later_and_hangs_holds_up_nothing(tmp_path: Path) -> None:
    told = list[Event]()
    with dask_fleet(tmp_path, workers=3) as (port, _, processes):
        every = joined(port, 3)
        with crew.closing_client(f"tcp://127.0.0.1:{port}") as client:
            members = fleet._Fleet(client, [], told.append)
            members.begin_with(every[:1], StopWhen())
            pids = client.run(os.getpid)
            stopped(next(each for each in processes if each.pid == pids[every[1]]))
            longest, until = 0.0, time.monotonic() + 30
            while len(members._seen) < 3:
                began = time.monotonic()
                assert began < until
                usable = members.usable(every)
                assert every[0] in usable
                assert every[1] not in usable
                longest = max(longest, time.monotonic() - began)
                time.sleep(0.1)
            assert longest < WITHIN / 2
            assert members.usable(every) == [every[0], every[2]], "the third has been looked at"
    assert texts(told) == [f"the worker {every[1]} hangs (no answer in 2 s): start it again"]


@pytest.mark.usefixtures("quickly")
def test_an_interrupt_does_not_wait_for_one_that_hangs(tmp_path: Path) -> None:
    """Others may take their time to end."""
    told, ended, marks = list[Event](), list[str](), [tmp_path / "a", tmp_path / "b"]

    def arguments(mark: Path) -> tuple[str, ...]:
        return ("-n1", "-r1", SLEEP.format(mark=str(mark)))

    with dask_fleet(tmp_path) as (port, _, processes):
        joined(port, 2)
        with crew_at(port, told.append) as made:  # type: ignore[attr-defined]
            work = crew._Work(
                made,
                [Job(mark.name, "timeit", arguments(mark)) for mark in marks],
                lambda job, end: ended.append(job.name),
            )
            work.step()
            until = time.monotonic() + 60
            while not all(mark.exists() for mark in marks) and time.monotonic() < until:
                time.sleep(0.05)
            pids = made.client.run(os.getpid)
            (hung,) = [where for where, pid in pids.items() if pid == processes[0].pid]
            jobs = {address: job.name for job, address in work._given.values()}
            stopped(processes[0])
            began = time.monotonic()
            work.end()
            assert time.monotonic() - began < WITHIN + AT_ONCE
            assert not work.left
    (other,) = set(jobs) - {hung}
    assert ended == [jobs[other]]
    first, last = texts(told)
    assert first.startswith("waiting until what runs has ended, 120 s at most: a at tcp://")
    assert last == (
        f"{jobs[hung]}: its worker {hung} did not end it (no answer in 2 s): left behind"
    )
