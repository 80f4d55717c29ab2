"""One tower on a fleet."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.dask_client import another_version, within
from edge_sharpzo.engines.fleet_worker import Answer, Job
from edge_sharpzo.engines.remote_clip import Shape
from edge_sharpzo.engines.spread import EnginesLostError
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import PACKAGE
from edge_sharpzo.system.text import first_line

if TYPE_CHECKING:
    from distributed import Future

    from edge_sharpzo.engines.fleet import Fleet

PATIENCE = 30.0  # seconds without a worker, or without the scheduler
SILENT = 20.0  # seconds without a sign of life after which a worker's calls go to others


def no_workers(address: Address) -> EnginesLostError:
    """What to tell of a scheduler without workers."""
    return EnginesLostError(
        f"the scheduler at {address} has no worker: start some with `dask worker {address}`, where "
        "edge-sharpzo is installed",
        field="engine",
    )


def scheduler_gone(address: Address) -> EnginesLostError:
    """What to tell of a scheduler that has stopped."""
    return EnginesLostError(
        f"the scheduler at {address} does not answer any more: start it and its workers again",
        field="engine",
    )


class FleetSession:
    """One tower on a fleet; a `TowerSession`."""

    def __init__(self, fleet: "Fleet", job: Job, shape: Shape):
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
                    if future is None:  # their workers hang
                        late, futures = futures, {}
                        for index, began in late.values():
                            futures[self._asked(calls[index], done)] = index, began
                        continue
                    if future not in futures:  # one that was given to others
                        continue
                    index, began = futures.pop(future)
                    answer = self._checked(future.result(), calls[index], began)
                    if answer is None:
                        futures[self._asked(calls[index], done)] = index, time.monotonic()
                    else:
                        found[index] = answer
            finally:
                with suppress(Exception):  # nobody may be there to hear of it
                    within(1, lambda: self._fleet.client.cancel(list(futures)))
        return [found[index] for index in range(len(calls))]

    def _asked(self, feeds: Feeds, done: "SimpleQueue[Future]") -> "Future":
        """A call on its way; it comes back in `done`."""
        future = self._fleet.submit(self._job, feeds)
        future.add_done_callback(done.put)
        return future

    def _next(self, done: "SimpleQueue[Future]") -> "Future | None":
        """The next call that is done; None where workers hang that may have the others.

        Raises EnginesLostError where nobody has been there to compute any.
        """
        alone_since: float | None = None
        seen: dict[str, tuple[float, float]] = {}  # last signs of life, and when they were new here
        while True:
            try:
                return done.get(timeout=1)
            except Empty:
                now, signs = time.monotonic(), self._fleet.signs()
                for worker, sign in signs.items():
                    if seen.get(worker, (None, 0))[0] != sign:
                        seen[worker] = sign, now
                hanging = {w: sign for w, sign in signs.items() if now - seen[w][1] > SILENT}
                if new := {w: s for w, s in hanging.items() if not self._fleet.hangs(w)}:
                    self._fleet.hang(new)
                    return None
                if self._fleet.has_workers():
                    alone_since = None
                    continue
                alone_since = alone_since or now
                if now - alone_since > PATIENCE:
                    raise no_workers(self._fleet.address) from None

    def _checked(self, answer: Answer, feeds: Feeds, began: float) -> np.ndarray | None:
        """The output of an answer to a call that `began` then; None where it is to be made again.

        Raises UserError.
        """
        if answer.package != self._job.package:
            raise UserError(
                another_version(answer.worker, PACKAGE, answer.package, self._job.package), "engine"
            )
        if answer.lacks_model:
            self._fleet.send_model(answer.worker, began)
            return None
        if answer.error:
            raise UserError(
                f"{answer.worker} cannot compute ({answer.error}): look at that machine, or stop "
                "its worker",
                field="engine",
            )
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
        try:
            answer: Answer = self._fleet.submit(self._job, feeds, worker).result(timeout=PATIENCE)
        except TimeoutError:  # it has much to do, or hangs: asked again with its next answer
            self._compared.discard(worker)
            return
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
            raise scheduler_gone(self._fleet.address) from error
