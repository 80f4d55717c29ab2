"""A fleet: workers of a Dask scheduler that each hold the model and share a round's calls."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.dask_client import connected, dask_address
from edge_sharpzo.engines.fleet_worker import Answer, Job, computed, take_part, take_whole
from edge_sharpzo.engines.remote_clip import Shape
from edge_sharpzo.engines.spread import EnginesLostError, Tell
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import package_version
from edge_sharpzo.system.text import first_line

if TYPE_CHECKING:
    from distributed import Client, Future

    from edge_sharpzo.clip.clip_file import ClipOnnx

PATIENCE = 30.0  # seconds without a worker, or without the scheduler
PART = 8_000_000  # bytes of a model that are sent at once


def _with_workers(address: Address) -> "Client":
    """A client of the scheduler at `address`. Raises UserError where it has no worker."""
    client = connected(dask_address(address))
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        client.close()
        raise _no_workers(address) from error
    return client


def _no_workers(address: Address) -> EnginesLostError:
    return EnginesLostError(
        f"the scheduler at {address} has no worker: start some with `dask worker {address}`, where "
        "edge-sharpzo is installed",
        field="engine",
    )


class Fleet:
    """The workers of a scheduler; an `Engine`."""

    def __init__(self, address: Address, file: "ClipOnnx", tell: Tell):
        """`file` is the model; a worker that lacks it is sent it. Raises UserError."""
        self.address, self.file, self.tell = address, file, tell
        self.client = _with_workers(address)
        self._fit: set[str] = set()  # workers that have this version of the package
        self._sent: dict[str, float] = {}  # when workers were sent the model

    @property
    def where(self) -> str:
        """See `Engine`."""
        return f"{self.address}, {self.file.path.name}"

    def session(self, tower: Tower, integer: bool, sha256: str, shape: Shape) -> "FleetSession":
        """See `Engine`."""
        job = Job(sha256, self.file.path.name, tower, integer, self.file.threads, package_version())
        return FleetSession(self, job, shape)

    def send_model(self, worker: str, lacked_at: float) -> None:
        """Sends the model to a worker that lacked it, unless that has happened since.

        Raises UserError.
        """
        if self._sent.get(worker, -math.inf) > lacked_at:
            return
        sha256, name = self.file.sha256, self.file.path.name
        self.tell(f"{worker} has no {name} yet: it is sent there, once", False)
        for file in self.file.files:
            with file.open("rb") as stream:
                for offset in range(0, max(1, file.stat().st_size), PART):
                    self._run(worker, take_part, sha256, file.name, offset, stream.read(PART))
        self._run(worker, take_whole, sha256, name)
        self._sent[worker] = time.monotonic()

    def check_workers(self) -> None:
        """Raises UserError for a worker without this package, or with another version of it.

        By a function of Python itself: a worker cannot even read a call of a package that it lacks.
        """
        here = package_version()
        new = sorted(self._workers() - self._fit)
        found = self.client.run(version, "edge-sharpzo", workers=new, on_error="return")
        for worker, there in found.items() if new else ():
            if there != here:
                raise another_version(worker, there if isinstance(there, str) else "none", here)
        self._fit.update(new)

    def _workers(self) -> set[str]:
        return set(self.client.scheduler_info(n_workers=-1)["workers"])

    def _run(self, worker: str, what: Any, *arguments: Any) -> None:
        try:
            self.client.run(what, *arguments, workers=[worker])
        except Exception as error:  # whatever the worker raises
            raise UserError(
                f"{worker} cannot take the model ({first_line(error, 200)}): make room there, or "
                f"copy {self.file.path} there yourself",
                field="engine",
            ) from error

    @property
    def size(self) -> int:
        """How many workers there are, at least one."""
        return max(1, len(self._workers()))

    def has_workers(self) -> bool:
        """Whether any worker is there."""
        return self.client.status == "running" and bool(self._workers())


def another_version(worker: str, there: str, here: str) -> UserError:
    """What to tell of a worker with another version of this package, or `none`."""
    return UserError(
        f"{worker} has edge-sharpzo {there}, and here is {here}: install the same version there",
        field="engine",
    )


class FleetSession:
    """One tower on a fleet; a `TowerSession`."""

    def __init__(self, fleet: Fleet, job: Job, shape: Shape):
        self._fleet, self._job, self._shape = fleet, job, shape
        self._first: tuple[Feeds, np.ndarray] | None = None  # a call, and its answer
        self._compared: set[str] = set()  # workers that have been asked the same

    @property
    def at_once(self) -> int:
        """See `TowerSession`."""
        return 2 * self._fleet.size

    def run_all(self, calls: Sequence[Feeds]) -> list[np.ndarray]:
        """See `TowerSession`. Workers may come and go meanwhile."""
        found: dict[int, np.ndarray] = {}
        done: SimpleQueue[Future] = SimpleQueue()
        with self._errors():
            self._fleet.check_workers()
            began = time.monotonic()
            futures = {self._asked(f, done): (i, began) for i, f in enumerate(calls)}
            try:
                while futures:
                    future = self._next(done)
                    index, began = futures.pop(future)
                    answer = self._checked(future.result(), calls[index], began)
                    if answer is None:
                        futures[self._asked(calls[index], done)] = index, time.monotonic()
                    else:
                        found[index] = answer
            finally:
                self._fleet.client.cancel(list(futures))
        return [found[index] for index in range(len(calls))]

    def _asked(self, feeds: Feeds, done: "SimpleQueue[Future]") -> "Future":
        """A call on its way; it comes back in `done`."""
        future = self._fleet.client.submit(computed, self._job, feeds, pure=False, retries=0)
        future.add_done_callback(done.put)
        return future

    def _next(self, done: "SimpleQueue[Future]") -> "Future":
        """The next call that is done.

        Raises EnginesLostError where nobody has been there to compute any.
        """
        alone_since: float | None = None
        while True:
            try:
                return done.get(timeout=1)
            except Empty:
                if self._fleet.has_workers():
                    alone_since = None
                    continue
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > PATIENCE:
                    raise _no_workers(self._fleet.address) from None

    def _checked(self, answer: Answer, feeds: Feeds, began: float) -> np.ndarray | None:
        """The output of an answer to a call that `began` then; None where it is to be made again.

        Raises UserError.
        """
        if answer.package != self._job.package:
            raise another_version(answer.worker, answer.package, self._job.package)
        if answer.lacks_model:
            self._fleet.send_model(answer.worker, began)
            return None
        found, shape = answer.output, self._shape(feeds)
        if found is None or found.dtype != np.float32 or found.shape != shape:
            raise UserError(
                f"{answer.worker} gives something else than the tower's output: update "
                "edge-sharpzo there",
                field="engine",
            )
        if self._first is None:
            self._first = feeds, found
        if answer.worker not in self._compared:
            self._compare(answer.worker)
        return found

    def _compare(self, worker: str) -> None:
        """Tells, once for each worker, where it computes other numbers than the first."""
        assert self._first
        self._compared.add(worker)
        if len(self._compared) == 1:
            return
        feeds, wanted = self._first
        asked = self._fleet.client.submit(
            computed, self._job, feeds, pure=False, workers=[worker], allow_other_workers=False
        )
        answer: Answer = asked.result(timeout=PATIENCE)
        if answer.output is not None and not np.array_equal(answer.output, wanted):
            self._fleet.tell(
                f"{worker} computes other last digits than the workers before it: two runs on this "
                "fleet may differ in them",
                True,
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises UserError for whatever happens to scheduler and workers."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            yield
        except UserError:
            raise
        except KilledWorker as error:
            raise EnginesLostError(
                f"one call has ended worker after worker ({first_line(error, 200)}): look at their "
                "memory",
                field="engine",
            ) from error
        except (CommClosedError, CancelledError, TimeoutError, OSError) as error:
            raise EnginesLostError(
                f"the scheduler at {self._fleet.address} does not answer any more: start it and "
                "its workers again",
                field="engine",
            ) from error
