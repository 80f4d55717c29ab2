"""The way to a scheduler of Dask, for towers and for whole runs."""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, cast

from edge_sharpzo.engines.address import Address, addresses, is_address
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import first_line

if TYPE_CHECKING:
    from distributed import Client

Answer = TypeVar("Answer")
ANSWER_WITHIN = 10.0  # seconds until a scheduler answers


def scheduler_of(engine: str) -> Address:
    """The scheduler that `engine` names. Raises UserError for anything else."""
    if is_address(engine):
        address, *_ = addresses(engine)
        if address.scheme.is_dask:
            return address
    raise UserError(
        f"`engine={engine[:200]}`: give local, or a scheduler's address such as "
        "dask://10.0.0.7:8786",
        field="engine",
    )


def dask_address(address: Address) -> str:
    """An address as Dask writes it."""
    return f"{'tls' if address.scheme.is_encrypted else 'tcp'}://{address.location}"


def check_extra() -> None:
    """Raises UserError where Dask is not installed."""
    if find_spec("distributed") is None:
        raise UserError(
            "a fleet, or many runs at once, needs Dask: pip install 'edge-sharpzo[fleet]'",
            field="engine",
        )


def another_version(worker: str, package: str, there: object, here: str) -> str:
    """What to tell of a worker that has another version of a package, or none (no string)."""
    has = f"{package} {there}" if isinstance(there, str) else f"no {package}"
    return (
        f"the worker {worker} has {has}, and this machine {here}: pip install '{package}=={here}' "
        "there and start it again"
    )


def within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns. Raises what it does, and TimeoutError where that takes too long.

    For Dask's calls, many of which wait for ever for a machine that hangs.
    """
    done: SimpleQueue[tuple[Answer | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((ask(), None))
        except BaseException as error:  # whoever waits raises it
            done.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        answer, error = done.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer in {seconds:.0f} s") from None
    if error:
        raise error
    return cast(Answer, answer)


def connected(address: str) -> "Client":
    """A client of the scheduler at `address`, as Dask writes it; it has to be closed.

    Dask's own logs are silent from now on: what they say is told as a UserError. Raises UserError
    where no scheduler answers.
    """
    check_extra()
    from distributed import Client

    every: dict[str, Any] = logging.Logger.manager.loggerDict
    for name in [*every, "distributed"]:
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        return Client(address, timeout=ANSWER_WITHIN, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address} ({first_line(error, 120)}): start "
            "`dask scheduler` there, or look at the address",
            field="engine",
        ) from error
