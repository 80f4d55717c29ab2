"""Questions to workers, each in a thread of its own: one that hangs holds up no other."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from edge_sharpzo.engines.dask_client import ANSWER_WITHIN
from edge_sharpzo.system.stopping import Stop

Answer = TypeVar("Answer")


def begin(ask: Callable[[], Answer]) -> "Future[Answer]":
    """What `ask` will return or raise; the end of the process does not wait for it."""
    future = Future[Answer]()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # whoever asks for the result raises it
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def interruptible(ask: Callable[[], Answer], stop: Stop) -> Answer:
    """What `ask` returns or raises; Cancelled at once where `stop` asks for it meanwhile."""
    future = begin(ask)
    while not future.done():
        with stop.interruptible():
            wait([future], timeout=0.2)
    return future.result()


def each_within(seconds: float, asks: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each returns, or the exception that it raises: TimeoutError where it takes longer."""
    given = {name: begin(ask) for name, ask in asks.items()}
    done, _ = wait(given.values(), timeout=seconds)
    late = TimeoutError(f"no answer in {seconds:.0f} s")
    return {
        name: (future.exception() or future.result()) if future in done else late
        for name, future in given.items()
    }


def ask_workers(client: Any, asks: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """What each worker, by its address, answers to a function with its arguments, or an exception.

    One that hangs answers with TimeoutError after `ANSWER_WITHIN`, as the others' answers come.
    """

    def ask(address: str) -> Any:
        function, *arguments = asks[address]
        return client.run(function, *arguments, workers=[address])[address]

    return each_within(ANSWER_WITHIN, {each: partial(ask, each) for each in asks})
