"""A fleet: workers of a Dask scheduler that each hold the model and share a round's calls."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.dask_client import another_version, connected, dask_address, within
from edge_sharpzo.engines.fleet_session import (
    PATIENCE,
    SILENT,
    FleetSession,
    no_workers,
    scheduler_gone,
)
from edge_sharpzo.engines.fleet_worker import Job, computed, take_part, take_whole
from edge_sharpzo.engines.remote_clip import Shape
from edge_sharpzo.engines.spread import EnginesLostError, Tell
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import PACKAGE, package_version, sums_bytes_exactly
from edge_sharpzo.system.text import first_line, some

if TYPE_CHECKING:
    from distributed import Client, Future

    from edge_sharpzo.clip.clip_file import ClipOnnx

Answers = dict[str, Any]  # of workers, by their addresses
PART = 8_000_000  # bytes of a model that are sent at once


def _with_workers(address: Address, tell: Tell) -> "Client":
    """A client of the scheduler at `address`; `tell` hears that it waits for a worker.

    Raises UserError where none comes.
    """
    client = connected(dask_address(address))
    try:
        if not client.scheduler_info(n_workers=-1).get("workers"):
            tell(f"the scheduler at {address} has no worker yet: waiting {PATIENCE:.0f} s", False)
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        client.close()
        raise no_workers(address) from error
    return client


class Fleet:
    """The workers of a scheduler; an `Engine`."""

    def __init__(self, address: Address, file: "ClipOnnx", tell: Tell):
        """`file` is the model; a worker that lacks it is sent it. Raises UserError."""
        self.address, self.file, self.tell = address, file, tell
        self.client = _with_workers(address, tell)
        self._fit: set[str] = set()  # workers that have this version of the package
        self._sent: dict[str, float] = {}  # when workers were sent the model
        self._sender = uuid4().hex
        self._silent: dict[str, float] = {}  # workers that hang, and their last sign of life

    @property
    def where(self) -> str:
        """See `Engine`."""
        return f"{self.address}, {self.file.path.name}"

    def session(self, tower: Tower, integer: bool, sha256: str, shape: Shape) -> "FleetSession":
        """See `Engine`."""
        integer = integer and self.in_integers(tower)
        job = Job(sha256, self.file.path.name, tower, integer, self.file.threads, package_version())
        return FleetSession(self, job, shape)

    def in_integers(self, tower: Tower) -> bool:  # noqa: ARG002 - exports store all alike
        """See `Engine`: where all workers can that there are at first; where some cannot is told.

        One that joins later and cannot is refused. Raises UserError.
        """
        return self.file.has_bytes and self._workers_sum_exactly

    @cached_property
    def _workers_sum_exactly(self) -> bool:
        try:
            self.check_workers()
            found = self._answers(sorted(self._fit & self.signs().keys()), sums_bytes_exactly)
        except (OSError, TimeoutError) as error:
            raise scheduler_gone(self.address) from error
        cannot = [worker for worker, exactly in found.items() if exactly is not True]
        if cannot and len(cannot) < len(found):
            self.tell(
                f"products of 8-bit integers do not fit the processor of {some(cannot)}: all "
                "workers multiply in floating point, which is slower",
                True,
            )
        return not cannot

    def send_model(self, worker: str, lacked_at: float) -> None:
        """Sends the model to a worker that lacked it, unless that has happened since.

        One that hangs meanwhile is done without, see `hang`. Raises UserError.
        """
        if self._sent.get(worker, -math.inf) > lacked_at:
            return
        name = self.file.path.name
        self.tell(f"{worker} has no {name} yet: it is sent there, once", False)
        for file in self.file.files:
            with file.open("rb") as stream:
                for offset in range(0, max(1, file.stat().st_size), PART):
                    part = stream.read(PART)
                    if not self._took(worker, take_part, file.name, offset, part):
                        return
        if self._took(worker, take_whole, name):
            self._sent[worker] = time.monotonic()

    def _took(self, worker: str, what: Callable[..., None], *given: Any) -> bool:
        """Whether a worker has taken a part of the model: not where it hangs, or is gone.

        Raises UserError.
        """
        sign = self.signs().get(worker, 0.0)
        try:
            answers = self._run(PATIENCE, worker, what, self.file.sha256, self._sender, *given)
        except TimeoutError:
            self.hang({worker: sign})
            return False
        error = answers.get(worker)
        if isinstance(error, Exception) and worker in self.signs():
            raise UserError(
                f"{worker} cannot take the model ({first_line(error, 200)}): make room there, or "
                f"copy {self.file.path} there yourself",
                field="engine",
            ) from error
        return error is None

    def check_workers(self) -> None:
        """Raises UserError for a worker without this package, or with another version of it.

        By a function of Python itself: a worker cannot even read a call of a package that it lacks.
        """
        here = package_version()
        new = self.signs().keys() - self._fit - self._silent.keys()
        for worker, there in self._answers(sorted(new), version, PACKAGE).items():
            if there != here:
                raise UserError(another_version(worker, PACKAGE, there, here), "engine")
            self._fit.add(worker)

    def _answers(self, workers: Sequence[str], what: Callable[..., Any], *given: Any) -> Answers:
        """What `what` gives, or raises, on workers; each is asked alone, all at once.

        One that does not answer hangs, see `hang`.
        """
        if not workers:
            return {}

        def ask(worker: str) -> Answers:
            try:
                return self._run(SILENT, worker, what, *given)
            except TimeoutError:
                return {}

        signs = self.signs()
        with ThreadPoolExecutor(len(workers)) as pool:
            every = [pair for each in pool.map(ask, workers) for pair in each.items()]
        # The scheduler says OSError where it does not reach one.
        found = {worker: answer for worker, answer in every if not isinstance(answer, OSError)}
        there = self.signs()
        if late := {w: signs.get(w, there[w]) for w in workers if w in there and w not in found}:
            self.hang(late)
        return found

    def signs(self) -> dict[str, float]:
        """The workers that there are, each with its last sign of life on the scheduler's clock.

        Raises TimeoutError where the scheduler does not answer.
        """
        told = within(PATIENCE, lambda: self.client.scheduler_info(n_workers=-1))
        found = told.get("workers", {})
        signs = {worker: float(info["last_seen"]) for worker, info in found.items()}
        for worker, last in list(self._silent.items()):
            if signs.get(worker) != last:  # it is gone, or lives again
                del self._silent[worker]
        return signs

    def submit(self, job: Job, feeds: Feeds, worker: str = "") -> "Future":
        """Gives a call to a worker, or to any that does not hang."""
        places = {worker} if worker else self.signs().keys() - self._silent.keys()
        some = {"workers": sorted(places), "allow_other_workers": False}
        return self.client.submit(
            computed, job, feeds, pure=False, retries=0, **(some if worker or self._silent else {})
        )

    def hangs(self, worker: str) -> bool:
        """Whether a worker is known to hang."""
        return worker in self._silent

    def hang(self, workers: Mapping[str, float]) -> None:
        """Notes that workers hang, with their last signs of life.

        Raises EnginesLostError where no other one is there.
        """
        if not self.signs().keys() - workers.keys() - self._silent.keys():
            raise EnginesLostError(
                f"no worker of {self.address} has given a sign of life for {SILENT:.0f} s, nor has "
                "the scheduler told of one: look at their machines",
                field="engine",
            )
        self._silent.update(workers)
        for worker in workers:
            self.tell(f"{worker} hangs: others take its calls", True)

    def _run(self, seconds: float, worker: str, what: Any, *given: Any) -> Answers:
        """What a worker answers, or the error that it raises; nothing where it is gone.

        Raises TimeoutError where that takes longer.
        """
        found: Answers = within(
            seconds, lambda: self.client.run(what, *given, workers=[worker], on_error="return")
        )
        return found

    @property
    def size(self) -> int:
        """How many workers there are, at least one."""
        return max(1, len(self.signs()))

    def has_workers(self) -> bool:
        """Whether any worker is there."""
        return self.client.status == "running" and bool(self.signs())
