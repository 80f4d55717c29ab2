"""The workers of somebody's Dask scheduler: which of them may take part, and why not."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sharpzo.engines.dask_client import another_version, dask_address, scheduler_of
from edge_sharpzo.events import Listener, Note
from edge_sharpzo.sweeping import task
from edge_sharpzo.sweeping.crew import WORKERS_WITHIN, Crew, closing_client
from edge_sharpzo.sweeping.task import host_of
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import PACKAGE, versions
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.system.text import listed, some

if TYPE_CHECKING:
    from distributed import Client

SAME = (PACKAGE, "onnxruntime")  # packages whose versions decide a run's numbers


@contextmanager
def fleet_crew(engine: str, needs: Sequence[Path], listen: Listener, stop: Stop) -> Iterator[Crew]:
    """The workers of the scheduler at `engine`, all of which have `needs` under the same paths.

    Waits for the first one. Raises UserError where none comes, or one cannot take part; Cancelled
    where `stop` asks for it meanwhile.
    """
    address = dask_address(scheduler_of(engine))
    with closing_client(address) as client:
        fleet = _Fleet(client, needs, listen)
        if not client.nthreads():
            listen(Note(f"waiting {WORKERS_WITHIN:.0f} s for workers of {address}"))
        until = time.monotonic() + WORKERS_WITHIN
        while not (there := list(client.nthreads())):
            if time.monotonic() > until:
                raise UserError(
                    f"no worker has joined the scheduler at {address}: start `dask worker "
                    f"{address} --nthreads 1` on each machine",
                    field="engine",
                )
            with stop.interruptible():
                time.sleep(0.2)
        fleet.begin_with(there)
        yield Crew(client, listen, fleet.usable)


class _Fleet:
    """Who takes part: workers that were looked at, on machines that were there at the start."""

    def __init__(self, client: "Client", needs: Sequence[Path], listen: Listener):
        self._client, self._needs, self._listen = client, list(needs), listen
        self._hosts = set[str]()
        self._seen = dict[str, bool]()  # by address: whether it takes part

    def begin_with(self, addresses: list[str]) -> None:
        """Raises UserError where one of them cannot take part."""
        if refused := self._refused(addresses):
            raise UserError(some(list(refused.values()), 5), field="engine")
        self._hosts = {host_of(address) for address in addresses}
        self._seen = dict.fromkeys(addresses, True)

    def usable(self, addresses: list[str]) -> list[str]:
        """Those that take part; a new one is looked at first, and what hinders it is told."""
        for address in (each for each in addresses if each not in self._seen):
            why = self._refused([address])
            if not why and host_of(address) not in self._hosts:
                why = {address: f"{address} has come later: it takes part from the next start on"}
            if why:
                self._listen(Note(why[address], warning=True))
            self._seen[address] = not why
        return [address for address in addresses if self._seen[address]]

    def _refused(self, addresses: list[str]) -> dict[str, str]:
        """What hinders each of the workers that cannot take part, with its cure."""
        refused = dict[str, str]()
        for package in SAME:
            for address, found in self._ask(version, package, addresses).items():
                if found != (ours := versions()[package]):
                    refused[address] = another_version(address, package, found, ours)
        alike = [address for address in addresses if address not in refused]
        for address, lacks in self._ask(task.missing, self._needs, alike).items():
            if not isinstance(lacks, list):
                refused[address] = f"the worker {address} cannot be asked ({lacks}): start it again"
            elif lacks:
                refused[address] = (
                    f"the worker {address} lacks {listed([str(path) for path in lacks])}: every "
                    "worker needs photos and model under the same path as here; copy or mount "
                    "them there"
                )
        return refused

    def _ask(self, function: Any, argument: Any, addresses: list[str]) -> dict[str, Any]:
        """What each worker answers, or the exception that it raises."""
        if not addresses:
            return {}
        answers: dict[str, Any] = self._client.run(
            function, argument, workers=addresses, on_error="return"
        )
        return answers
