"""The workers of somebody's Dask scheduler: which of them may take part, and why not."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_sharpzo.engines.dask_client import another_version, dask_address, scheduler_of
from edge_sharpzo.events import Listener, Note
from edge_sharpzo.sweeping import task
from edge_sharpzo.sweeping.asking import ask_workers, begin, interruptible
from edge_sharpzo.sweeping.crew import WORKERS_WITHIN, Crew, closing_client
from edge_sharpzo.sweeping.task import host_of
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import PACKAGE, versions
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.system.text import listed, some

if TYPE_CHECKING:
    from distributed import Client

SAME = (PACKAGE, "onnxruntime")  # packages whose versions decide a run's numbers


class Refusal(NamedTuple):
    """What hinders a worker, with its cure."""

    why: str
    hangs: bool = False  # it gives no answer; it may be on its way out


@contextmanager
def fleet_crew(engine: str, needs: Sequence[Path], listen: Listener, stop: Stop) -> Iterator[Crew]:
    """The workers of the scheduler at `engine`, all of which have `needs` under the same paths.

    Waits for the first one; those that hang are told and left out. Raises UserError where none
    comes or answers, or one cannot take part; Cancelled where `stop` asks for it meanwhile.
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
        fleet.begin_with(there, stop)
        yield Crew(client, listen, fleet.usable)


class _Fleet:
    """Who takes part: workers that were looked at, on machines that were there at the start."""

    def __init__(self, client: "Client", needs: Sequence[Path], listen: Listener):
        self._client, self._needs, self._listen = client, list(needs), listen
        self._hosts = set[str]()
        self._seen = dict[str, bool]()  # by address: whether it takes part
        self._looks = dict[str, Future[dict[str, Refusal]]]()  # at those that have come later

    def begin_with(self, addresses: list[str], stop: Stop) -> None:
        """Raises UserError where one of them cannot take part, or all hang."""
        refused = interruptible(partial(self._refused, addresses), stop)
        if whys := [each.why for each in refused.values() if not each.hangs]:
            raise UserError(some(whys, 5), field="engine")
        if len(refused) == len(addresses):
            raise UserError(some([each.why for each in refused.values()], 5), field="engine")
        for each in refused.values():
            self._listen(Note(f"{each.why}; it is left out", warning=True))
        self._seen = {address: address not in refused for address in addresses}
        self._hosts = {host_of(address) for address, usable in self._seen.items() if usable}

    def usable(self, addresses: list[str]) -> list[str]:
        """Those that take part, at once; a new one is looked at meanwhile, and what hinders it is
        told.
        """
        for address in (each for each in addresses if each not in self._seen):
            if address not in self._looks:
                self._looks[address] = begin(partial(self._refused, [address]))
            elif self._looks[address].done():
                self._take_in(address, self._looks.pop(address).result())
        return [address for address in addresses if self._seen.get(address)]

    def _take_in(self, address: str, refused: dict[str, Refusal]) -> None:
        why = refused[address].why if refused else ""
        if not why and host_of(address) not in self._hosts:
            why = f"{address} has come later: it takes part from the next start on"
        if why:
            self._listen(Note(why, warning=True))
        self._seen[address] = not why

    def _refused(self, addresses: list[str]) -> dict[str, Refusal]:
        """What hinders each of the workers that cannot take part, with its cure."""
        refused = dict[str, Refusal]()

        def answers(*asked: Any) -> list[tuple[str, Any]]:
            alike = [address for address in addresses if address not in refused]
            found = ask_workers(self._client, dict.fromkeys(alike, asked))
            for address, answer in found.items():
                if isinstance(answer, TimeoutError):
                    why = f"the worker {address} hangs ({answer}): start it again"
                    refused[address] = Refusal(why, hangs=True)
            return [(address, found[address]) for address in alike if address not in refused]

        for package in SAME:
            for address, found in answers(version, package):
                if found != (ours := versions()[package]):
                    refused[address] = Refusal(another_version(address, package, found, ours))
        for address, lacks in answers(task.missing, self._needs):
            if not isinstance(lacks, list):
                why = f"the worker {address} cannot be asked ({lacks}): start it again"
                refused[address] = Refusal(why)
            elif lacks:
                refused[address] = Refusal(
                    f"the worker {address} lacks {listed([str(path) for path in lacks])}: every "
                    "worker needs photos and model under the same path as here; copy or mount "
                    "them there"
                )
        return refused
