"""Spreads calls over endpoints that serve the same model, whatever happens to any of them.

A call is what a run here would compute at once, and stays whole wherever it goes, so that the
numbers of a run do not depend on who has computed what: as long as all compute alike, which is
found out with the first call.
"""

import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, TypeVar

import numpy as np

from edge_sharpzo.engines.transport import FaultError, RefusedError
from edge_sharpzo.system.errors import UserError

AT_ONCE = 2  # calls that an endpoint is given: the next one travels while it computes
PATIENCE = 30.0  # seconds of faults in a row after which an endpoint counts as lost
LOST_TRIES, REFUSED_TRIES = 2, 3  # that it has to fail, at least, or to say no
# A call may take so many seconds: ten times what is usual, within bounds, and twice as long with
# each try that fails.
FIRST_DEADLINE, SHORTEST_DEADLINE, LONGEST_DEADLINE = 15.0, 2.0, 60.0
USUAL_TIMES = 10.0
GRACE = 3.0  # seconds beyond that in which a connection has to notice it itself
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries; each pause doubles
LOST_PAUSE = 30.0  # between two tries of an endpoint that is lost, while others answer
# A call that takes so many times as long as others do, and so many seconds, is given to a second
# endpoint that has nothing else to do.
STUCK_TIMES, STUCK_SECONDS = 4.0, 1.0
TOLD_AFTER = 3.0  # seconds of faults in a row after which they are told
IDLE = 10.0  # seconds after which an endpoint gets the first call: it may have died meanwhile
_LOOK = 0.5  # seconds after which somebody who waits looks again
Call = TypeVar("Call")
Ask = Callable[[int, Call, float], np.ndarray]
Tell = Callable[[str, bool], object]  # hears a text, and whether it is a warning


class EnginesLostError(UserError):
    """None of the endpoints answers any more."""


@dataclass
class Endpoint:
    """What is known of one endpoint; `Spread` keeps it."""

    name: str
    failing_since: float | None = None  # on the monotonic clock, s; None after a success
    tries: int = 0  # in a row that failed
    next_try: float = 0.0
    lost: bool = False
    told: bool = False  # that it fails
    used: float = 0.0  # when it was given its last call, on the monotonic clock
    why: str = ""  # the last fault
    running: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=32))  # of its last calls

    @property
    def deadline(self) -> float:
        """Seconds that the next call may take."""
        first = FIRST_DEADLINE
        if self.seconds:
            first = max(SHORTEST_DEADLINE, USUAL_TIMES * statistics.median(self.seconds))
        return min(LONGEST_DEADLINE, first * 2.0**self.tries)

    def succeeded(self, seconds: float) -> bool:
        """Notes an answer; returns whether the endpoint was said to fail."""
        was_told, self.told, self.lost = self.told or self.lost, False, False
        self.failing_since, self.tries, self.next_try = None, 0, 0.0
        self.seconds.append(seconds)
        return was_told

    def failed(
        self, fault: FaultError, patience: float, began: float, refused: bool = False
    ) -> bool:
        """Notes a fault of a call that `began` then; returns whether it is lost from now on.

        `refused` is one that time does not mend: it is lost once it has said so often enough.
        """
        now = time.monotonic()
        if self.failing_since is None:
            self.failing_since = began
        is_lost = now - self.failing_since >= patience and self.tries + 1 >= LOST_TRIES
        is_lost = is_lost or (refused and self.tries + 1 >= REFUSED_TRIES)
        pause = LOST_PAUSE if is_lost else min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.tries)
        # Many devices that lost one service at once do not come back at once. No result depends
        # on this draw.
        self.next_try = now + max(fault.wait, pause * random.uniform(0.5, 1))
        self.tries, self.why = self.tries + 1, str(fault)
        news = is_lost and not self.lost
        self.lost = self.lost or is_lost
        return news

    @property
    def failing(self) -> float:
        """For how many seconds it has failed."""
        return 0.0 if self.failing_since is None else time.monotonic() - self.failing_since


class Spread:
    """Runs calls on several endpoints; one thread at a time may use it."""

    def __init__(self, names: Sequence[str], tell: Tell, patience: float | None = None):
        """`names` are those of the endpoints, for messages; `tell` hears what happens to them."""
        self.endpoints = [Endpoint(name) for name in names]
        self._tell = tell
        self._patience = PATIENCE if patience is None else patience
        self._changed = Condition()  # guards the endpoints

    @property
    def at_once(self) -> int:
        """Calls that are worth giving at once."""
        return AT_ONCE * len(self.endpoints)

    def run(
        self,
        calls: Sequence[Call],
        ask: Ask[Call],
        by_turns: bool = False,
    ) -> list[np.ndarray]:
        """The answer to each call; `ask` puts one to the endpoint of a number, for some seconds.

        Whoever is free takes the next call; `by_turns` each has calls of its own, which another one
        computes only where it is lost. `ask` raises FaultError for what another try may mend, and
        RefusedError where a service says no: one that says so time after time is lost, and where no
        other is left, that ends all calls, as anything else does at once.

        Raises EnginesLostError where no endpoint answers for as long as there is patience.
        """
        work = _Round(self, calls, ask, by_turns)
        try:
            return work.done()
        finally:
            for text, warning in work.news:
                self._tell(text, warning)

    def ask_all(self, ask: Callable[[int, float], object]) -> None:
        """Asks every endpoint that is not lost, once, one after the other.

        One that fails is noted as failing; what else `ask` raises is passed on.
        """
        for number, endpoint in enumerate(self.endpoints):
            if endpoint.lost:
                continue
            began = time.monotonic()
            try:
                ask(number, endpoint.deadline)
            except (FaultError, RefusedError) as error:
                with self._changed:
                    endpoint.failed(FaultError(str(error)), self._patience, began)


@dataclass(frozen=True)
class _Try:
    """A call that an endpoint has been given."""

    number: int  # of the endpoint
    index: int  # of the call
    began: float
    deadline: float  # seconds that it may take


class _Round:
    """One set of calls on their way."""

    def __init__(
        self,
        spread: Spread,
        calls: Sequence[Any],
        ask: Ask[Any],
        by_turns: bool,
    ):
        self._endpoints, self._calls, self._ask = spread.endpoints, calls, ask
        self._patience, self._changed = spread._patience, spread._changed
        self._by_turns, self._tell = by_turns, spread._tell
        self._answers: list[np.ndarray | None] = [None] * len(calls)
        self._left = len(calls)
        self._waiting = deque(range(len(calls)))
        self._tries: dict[object, _Try] = {}  # on their way
        self._error: BaseException | None = None
        self._over = False
        self.news: list[tuple[str, bool]] = []  # what is to be told

    def done(self) -> list[np.ndarray]:
        """All answers. Raises what `Spread.run` does."""
        room = [AT_ONCE - endpoint.running for endpoint in self._endpoints]
        # Each endpoint gets a first call before any gets a second: rounds may have few.
        for turn in range(min(AT_ONCE, len(self._calls))):
            for number in self._order():
                if turn < room[number]:
                    Thread(target=self._serve, args=(number,), daemon=True).start()
        with self._changed:
            try:
                while self._left and not self._error:
                    if all(endpoint.lost for endpoint in self._endpoints):
                        self._error = self._lost()
                        break
                    self._tell_of_faults()
                    self._give_up_overdue()
                    self._changed.wait(_LOOK)
            finally:
                self._over = True
                self._changed.notify_all()
            if self._error:
                raise self._error
            return [answer for answer in self._answers if answer is not None]

    def _order(self) -> list[int]:
        """The endpoints: those first that were idle for long, then the faster ones."""

        def key(number: int) -> tuple[bool, float]:
            endpoint = self._endpoints[number]
            usual = statistics.median(endpoint.seconds) if endpoint.seconds else 0.0
            return time.monotonic() - endpoint.used < IDLE, usual

        return sorted(range(len(self._endpoints)), key=key)

    def _tell_of_faults(self) -> None:
        for endpoint in self._endpoints:
            if endpoint.failing > TOLD_AFTER and not (endpoint.told or endpoint.lost):
                endpoint.told = True
                text = f"{endpoint.name} fails ({endpoint.why}): it is tried for"
                self._tell(f"{text} {self._patience:.0f} s", True)

    def _tell_of_lost(self, endpoint: Endpoint, how: str) -> None:
        """Told at the end of the round."""
        digits = ", and numbers may differ in their last digits" if self._by_turns else ""
        text = f"{endpoint.name} is {how} ({endpoint.why}): others take over{digits}"
        self.news.append((text, True))

    def _lost(self) -> EnginesLostError:
        told = "; ".join(f"{each.name}: {each.why}" for each in self._endpoints)
        return EnginesLostError(
            f"the engine does not answer ({told}): start it again, or look at the network",
            field="engine",
        )

    def _serve(self, number: int) -> None:
        """One of an endpoint's threads: takes calls until there are none."""
        while (key := self._next(number)) is not None:
            tried = self._tries[key]
            try:
                answer = self._ask(number, self._calls[tried.index], tried.deadline)
            except FaultError as fault:
                goes_on = self._failed(key, fault)
            except RefusedError as error:
                # A request that was garbled on its way is refused as well, but not time after time.
                goes_on = self._failed(key, FaultError(str(error)), error)
            except BaseException as error:  # the thread that waits raises it
                with self._changed:
                    goes_on = False
                    if self._tries.pop(key, None):
                        self._endpoints[number].running -= 1
                    self._error = self._error or error
                    self._changed.notify_all()
            else:
                goes_on = self._succeeded(key, answer)
            if not goes_on:
                return

    def _give_up_overdue(self) -> None:
        """Counts calls as failed whose connection does not notice that they take too long.

        Their threads are left to themselves; others take their place.
        """
        for key, tried in list(self._tries.items()):
            if time.monotonic() - tried.began > tried.deadline + GRACE:
                self._failed(key, FaultError("no answer in time"))
                Thread(target=self._serve, args=(tried.number,), daemon=True).start()

    def _next(self, number: int) -> object | None:
        """The key of an endpoint's next call, once it may have one; None where nothing is left."""
        endpoint = self._endpoints[number]
        with self._changed:
            while not self._over and self._left:
                pause = endpoint.next_try - time.monotonic()
                # An endpoint that fails is tried with one call at a time.
                if pause <= 0 and not (endpoint.tries and endpoint.running):
                    index = self._taken(number)
                    if index is not None:
                        key, now = object(), time.monotonic()
                        self._tries[key] = _Try(number, index, now, endpoint.deadline)
                        endpoint.running += 1
                        endpoint.used = now
                        return key
                self._changed.wait(min(_LOOK, max(pause, 0.01)) if pause > 0 else _LOOK)
            return None

    def _taken(self, number: int) -> int | None:
        """A call that waits, or else one that is stuck with another endpoint."""
        for index in self._waiting:
            if self._is_for(number, index):
                self._waiting.remove(index)
                return index
        if self._by_turns or self._endpoints[number].lost:
            return None
        usual = [s for endpoint in self._endpoints for s in endpoint.seconds]
        if not usual or self._endpoints[number].running:
            return None
        late = time.monotonic() - max(STUCK_SECONDS, STUCK_TIMES * statistics.median(usual))
        tries = Counter(tried.index for tried in self._tries.values())
        stuck = (t.index for t in self._tries.values() if tries[t.index] == 1 and t.began < late)
        return next(stuck, None)

    def _is_for(self, number: int, index: int) -> bool:
        """Whether an endpoint may compute a call: its own, or that of a lost one."""
        owner = index % len(self._endpoints)
        if not self._by_turns or owner == number:
            return True
        return self._endpoints[owner].lost and not self._endpoints[number].lost

    def _succeeded(self, key: object, answer: np.ndarray) -> bool:
        """Keeps an answer; False where the call had been given up."""
        with self._changed:
            if (tried := self._tries.pop(key, None)) is None:
                return False
            endpoint = self._endpoints[tried.number]
            endpoint.running -= 1
            if endpoint.succeeded(time.monotonic() - tried.began):
                self.news.append((f"{endpoint.name} answers again", False))
            if self._answers[tried.index] is None:
                self._answers[tried.index] = answer
                self._left -= 1
            self._changed.notify_all()
        return True

    def _failed(self, key: object, fault: FaultError, refused: RefusedError | None = None) -> bool:
        """Notes a fault, after which the call waits again; False where it had been given up."""
        with self._changed:
            if (tried := self._tries.pop(key, None)) is None:
                return False
            endpoint = self._endpoints[tried.number]
            endpoint.running -= 1
            if endpoint.failed(fault, self._patience, tried.began, refused is not None):
                if not all(each.lost for each in self._endpoints):
                    self._tell_of_lost(endpoint, "left out" if refused else "lost")
                elif refused:  # which names the cure
                    self._error = self._error or refused
            others = any(other.index == tried.index for other in self._tries.values())
            if self._answers[tried.index] is None and not others:
                self._waiting.appendleft(tried.index)
            self._changed.notify_all()
        return True
