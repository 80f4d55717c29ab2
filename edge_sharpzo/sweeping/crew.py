"""The workers of a Dask scheduler, on this machine or elsewhere, and the jobs that they are given.

A job goes to one worker at a time, which is known here: so a worker that dies gives its job back,
and an interrupt reaches the processes that are running.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edge_sharpzo.engines.dask_client import ANSWER_WITHIN, check_extra, connected, within
from edge_sharpzo.events import Listener, Note
from edge_sharpzo.sweeping import task
from edge_sharpzo.sweeping.asking import ask_workers
from edge_sharpzo.sweeping.task import Ended, Job, host_of
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.system.text import some

if TYPE_CHECKING:
    from distributed import Client, Future

WORKERS_WITHIN = 30.0  # seconds until a worker is there
ENDED_WITHIN = 120.0  # seconds that an interrupted process may take to leave its checkpoint
GONE_AFTER = 15.0  # seconds that a machine may be without a worker: one that dies may start anew
TRIES = 3  # times that a job is begun whose process, or worker, dies
Slots = Mapping[str, int]  # processes that a worker takes at once, by its address
Finished = Callable[[Job, Ended], object]


class Crew:
    """Workers that run jobs. `local_crew` and `fleet_crew` open one."""

    def __init__(
        self,
        client: "Client",
        listen: Listener,
        usable: Callable[[list[str]], list[str]] = list,
    ):
        """`usable` gives those of some workers' addresses that may get jobs."""
        self.client = client
        self.listen = listen
        self._usable = usable
        self._empty_since: float | None = None
        self.left_out = set[str]()  # machines whose workers get no jobs, as `host_of` has them

    def slots(self) -> Slots:
        """The workers that there are.

        Raises UserError where the scheduler is gone, or there has been no worker for a while.
        """
        try:
            if self.client.status != "running":
                raise OSError("the connection is closed")
            every: dict[str, int] = within(ANSWER_WITHIN, self.client.nthreads)
            known = [address for address in every if host_of(address) not in self.left_out]
            found = {address: every[address] for address in self._usable(known)}
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"the scheduler does not answer any more ({error or type(error).__name__}): look "
                "whether its machine and the network are up; the same command again goes on"
            ) from error
        now = time.monotonic()
        self._empty_since = None if found else self._empty_since or now
        if self._empty_since and now - self._empty_since > WORKERS_WITHIN:
            raise UserError(
                f"no worker for {WORKERS_WITHIN:.0f} s: start workers again; the same command "
                "again goes on"
            )
        return found

    def run(self, jobs: Iterable[Job], finished: Finished, stop: Stop) -> None:
        """Runs the jobs, as many at once as the workers take; `finished` hears of each end.

        Where `stop` asks for it, the processes end with a checkpoint, `finished` hears of them, and
        Cancelled is raised. Raises UserError as `slots` does.
        """
        work = _Work(self, jobs, finished)
        try:
            while work.left:
                with stop.interruptible():  # raises Cancelled
                    pass
                work.step()
            with stop.interruptible():  # the last one may have ended because of it
                pass
        except BaseException:
            with suppress(OSError, RuntimeError):  # the scheduler is gone: its workers end alone
                work.end()
            raise


class _Work:
    """Jobs that wait, and jobs that workers have."""

    def __init__(self, crew: Crew, jobs: Iterable[Job], finished: Finished):
        self._crew, self._finished = crew, finished
        self._waiting = list(jobs)
        self._given: dict[Future[Any], tuple[Job, str]] = {}  # with the worker's address
        self._ended = threading.Event()  # whether a job may have, since it was last looked for
        self._deaths = Counter[str]()
        self._died_of = dict[str, str]()  # by the name of a job that is to begin again
        self._absent_since = dict[str, float]()  # by the machine that a job is for

    @property
    def left(self) -> bool:
        """Whether there is something to do."""
        return bool(self._waiting or self._given)

    def step(self, seconds: float = 0.5) -> None:
        """Gives jobs to free workers and waits a while for the first end."""
        slots = self._crew.slots()
        for future, (job, address) in list(self._given.items()):
            if address not in slots:
                self._take_back(future)
                self._died(job, f"its worker {address} died")
        self._give(slots)
        self._await(seconds)

    def end(self) -> None:
        """Interrupts what is running and waits for it, but not for workers that hang."""
        self._waiting.clear()
        tokens: dict[str, list[str]] = {}
        for future, (_, address) in self._given.items():
            tokens.setdefault(address, []).append(str(future.key))
        if not tokens:
            return
        running = some([f"{job.name} at {address}" for job, address in self._given.values()], 5)
        self._crew.listen(
            Note(f"waiting until what runs has ended, {ENDED_WITHIN:.0f} s at most: {running}")
        )
        answers = ask_workers(
            self._crew.client, {address: (task.stop, tokens[address]) for address in tokens}
        )
        self._leave({each: why for each, why in answers.items() if isinstance(why, Exception)})
        until = time.monotonic() + ENDED_WITHIN
        while self._given and time.monotonic() < until:
            self._await(0.5)
            alive = within(ANSWER_WITHIN, self._crew.client.nthreads)
            for future, (_, address) in list(self._given.items()):
                if address not in alive:
                    self._take_back(future)
        if self._given:
            late = TimeoutError(f"no end in {ENDED_WITHIN:.0f} s")
            self._leave({address: late for _, address in self._given.values()})

    def _leave(self, whys: Mapping[str, Exception]) -> None:
        """Waits no longer for the workers `whys`, an error each by address."""
        for future, (job, address) in list(self._given.items()):
            if address in whys:
                why = whys[address]
                told = f"{job.name}: its worker {address} did not end it ({why}): left behind"
                self._crew.listen(Note(told, warning=True))
                self._take_back(future)

    def _give(self, slots: Slots) -> None:
        busy = Counter(address for _, address in self._given.values())
        gone = self._gone({host_of(address) for address in slots})
        for job in [job for job in self._waiting if job.machine in gone]:
            self._waiting.remove(job)
            self._finished(job, Ended(-1, "", f"{job.machine} has no worker any more"))
        for address, threads in slots.items():
            for _ in range(threads - busy[address]):
                fits = [job for job in self._waiting if self._fits(job, address)]
                if not fits:
                    break
                job = fits[0]
                self._waiting.remove(job)
                if why := self._died_of.pop(job.name, None):
                    on = "goes on" if job.folder else "begins again"
                    self._crew.listen(Note(f"{job.name}: {why}; it {on} at {address}", True))
                token = f"edge-sharpzo-{uuid4().hex}"
                given = self._crew.client.submit(
                    task.work, job, token, key=token, workers=[address], pure=False
                )
                self._given[given] = job, address
                given.add_done_callback(lambda _: self._ended.set())

    def _fits(self, job: Job, address: str) -> bool:
        """Whether a worker may take a job now."""
        taken = {other.machine for other, _ in self._given.values()}
        return not job.machine or (job.machine == host_of(address) and job.machine not in taken)

    def _gone(self, machines: set[str]) -> set[str]:
        """Machines that jobs wait for, and that are not among those with workers for a while."""
        now, wanted = time.monotonic(), {job.machine for job in self._waiting} - {""}
        absent = wanted - machines
        self._absent_since = {each: self._absent_since.get(each, now) for each in absent}
        late = {each for each, since in self._absent_since.items() if now - since >= GONE_AFTER}
        return late | (absent & self._crew.left_out)

    def _await(self, seconds: float) -> None:
        """Waits for the first end, or so long, and tells of those that have ended."""
        self._ended.wait(seconds)
        self._ended.clear()
        for future in [future for future in self._given if future.done()]:
            job, address = self._given[future]
            how, ended = f"its worker {address} died", None
            try:
                if future.status == "finished":
                    ended = future.result(timeout=ANSWER_WITHIN)
                elif future.status == "error":
                    error = future.exception(timeout=ANSWER_WITHIN)
                    how = f"its worker {address} failed ({type(error).__name__}: {error})"
            except Exception as error:
                how = f"its worker {address} does not answer ({type(error).__name__})"
            self._take_back(future)
            if ended and ended.code < 0:
                how, ended = f"its process was killed by signal {-ended.code} at {address}", None
            if ended:
                self._finished(job, ended)
            else:
                self._died(job, how)

    def _take_back(self, future: "Future[Any]") -> None:
        del self._given[future]
        future.release()

    def _died(self, job: Job, how: str) -> None:
        self._deaths[job.name] += 1
        if self._deaths[job.name] < TRIES:
            self._waiting.insert(0, job)
            self._died_of[job.name] = how
            return
        why = f"{how}, {TRIES} times: memory may have run out; try fewer `workers`, or `max_memory`"
        self._finished(job, Ended(-1, "", why))


@contextmanager
def local_crew(
    workers: int,
    scratch: Path,
    listen: Listener = lambda event: None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Crew]:
    """Workers on this machine, each of which runs a job at a time.

    `scratch` is a folder for what Dask writes; it is deleted. `meanwhile` is called while the
    workers start. Raises UserError.
    """
    check_extra()
    shutil.rmtree(scratch, ignore_errors=True)  # a killed process has left it
    command = [sys.executable, "-m", "edge_sharpzo.sweeping.local", str(workers), str(scratch)]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            start_new_session=True,
        )
        try:
            assert process.stdin
            assert process.stdout
            meanwhile()
            address = process.stdout.readline().decode().strip()
            if not address:
                told.seek(0)
                why = Ended(1, "", told.read().decode(errors="backslashreplace")).why
                raise UserError(f"the workers on this machine did not start ({why})")
            with closing_client(address) as client:
                client.wait_for_workers(workers, timeout=WORKERS_WITHIN)
                yield Crew(client, listen)
        finally:
            _ended_by_itself(process)
            shutil.rmtree(scratch, ignore_errors=True)


def _ended_by_itself(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def closing_client(address: str) -> Iterator["Client"]:
    """A client of the scheduler at `address`, as Dask writes it. Raises UserError."""
    client = connected(address)
    try:
        yield client
    finally:
        with suppress(OSError, RuntimeError):
            client.close(timeout=5)
