"""Calls spread over endpoints: all are answered once, whatever happens to some of these."""

import time
from collections import Counter
from collections.abc import Callable
from threading import Event, Lock

import numpy as np
import pytest

from edge_sharpzo.engines import spread
from edge_sharpzo.engines.spread import EnginesLostError, Spread
from edge_sharpzo.engines.transport import FaultError, RefusedError

CALLS = list(range(40))
WANTED = [3 * call for call in CALLS]
Ask = Callable[[int, int, float], np.ndarray]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(spread, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(spread, "LOST_PAUSE", 0.02)
    monkeypatch.setattr(spread, "STUCK_SECONDS", 0.1)


class Told:
    """Endpoints that compute, and the record of who has computed what."""

    def __init__(self, count: int, patience: float = 0.05):
        self.texts: list[tuple[str, bool]] = []
        self.by_endpoint: Counter[int] = Counter()
        self.owners: dict[int, int] = {}
        self._lock = Lock()
        names = [f"host{number}" for number in range(count)]
        self.spread = Spread(names, lambda *news: self.texts.append(news), patience)

    def answer(self, number: int, call: int) -> np.ndarray:
        with self._lock:
            self.by_endpoint[number] += 1
            self.owners[call] = number
        return np.array(3 * call)

    def run(self, ask: Ask, by_turns: bool = False) -> list[int]:
        return [int(each) for each in self.spread.run(CALLS, ask, by_turns)]


@pytest.mark.parametrize("by_turns", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_call_is_answered_in_its_place(count: int, by_turns: bool) -> None:
    told = Told(count)
    assert told.run(lambda n, call, _: told.answer(n, call), by_turns) == WANTED
    assert told.by_endpoint.total() == len(CALLS)
    assert told.spread.run([], lambda n, call, _: np.zeros(1)) == []
    assert not told.texts


def test_the_faster_one_computes_more() -> None:
    told = Told(2)

    def ask(number: int, call: int, _: float) -> np.ndarray:
        time.sleep(0.02 if number else 0.002)
        return told.answer(number, call)

    assert told.run(ask) == WANTED
    assert told.by_endpoint[0] > 2 * told.by_endpoint[1]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_calls_go_to_all_endpoints(count: int) -> None:
    """As many calls as endpoints: one each. Threads may overtake each other, now and then."""
    busy = []
    for _ in range(20):
        told = Told(count)

        def ask(number: int, call: int, _: float, told: Told = told) -> np.ndarray:
            time.sleep(0.005)
            return told.answer(number, call)

        told.spread.run(CALLS[:count], ask)
        busy.append(len(told.by_endpoint))
    assert busy.count(count) > 10


def test_by_turns_each_has_its_own() -> None:
    told = Told(3)

    def ask(number: int, call: int, _: float) -> np.ndarray:
        time.sleep(0.003 * number)
        return told.answer(number, call)

    assert told.run(ask, by_turns=True) == WANTED
    assert told.owners == {call: call % 3 for call in CALLS}


@pytest.mark.parametrize("by_turns", [False, True])
def test_what_a_lost_one_had_goes_to_the_others(by_turns: bool) -> None:
    told, calls = Told(3), Counter[int]()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        calls[number] += 1
        if number == 1 and calls[1] > 3:
            raise FaultError("connection refused")
        time.sleep(0.004)
        return told.answer(number, call)

    assert told.run(ask, by_turns) == WANTED
    assert told.by_endpoint[1] == 3
    assert set(told.by_endpoint) == {0, 1, 2}
    for _ in range(8):  # by now its time is over
        assert told.run(ask, by_turns) == WANTED
    (text, is_warning) = told.texts[0]
    assert "host1 is lost (connection refused): others take over" in text
    assert ("last digits" in text, is_warning) == (by_turns, True)


def test_one_that_comes_back_is_used_again() -> None:
    told, away = Told(2), Event()
    away.set()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        if number and away.is_set():
            raise FaultError("away")
        time.sleep(0.004)
        return told.answer(number, call)

    for _ in range(4):
        assert told.run(ask) == WANTED
    assert told.by_endpoint[1] == 0
    away.clear()
    for _ in range(4):
        assert told.run(ask) == WANTED
    assert told.by_endpoint[1] > 10
    assert [text for text, _ in told.texts if "answers again" in text] == ["host1 answers again"]


def test_a_stuck_call_is_given_to_another() -> None:
    told, forever = Told(2), Event()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        if number == 1 and call == 7:
            forever.wait(20)
        time.sleep(0.001)
        return told.answer(number, call)

    began = time.monotonic()
    assert told.run(ask) == WANTED
    assert time.monotonic() - began < 10
    forever.set()


@pytest.mark.parametrize("count", [1, 3])
def test_where_none_is_left_the_end_is_clear(count: int) -> None:
    told = Told(count)

    def ask(number: int, call: int, _: float) -> np.ndarray:  # noqa: ARG001
        raise FaultError(f"no route to {number}")

    with pytest.raises(EnginesLostError) as caught:
        told.run(ask)
    for number in range(count):
        assert f"host{number}: no route to {number}" in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("odd"), KeyboardInterrupt()])
def test_anything_else_ends_all_at_once(error: BaseException) -> None:
    told = Told(2)

    def ask(number: int, call: int, _: float) -> np.ndarray:
        if call == 5:
            raise error
        return told.answer(number, call)

    with pytest.raises(type(error)):
        told.run(ask)


def test_a_no_is_believed_the_third_time() -> None:
    told, said = Told(1), Counter[str]()

    def ask(times: int) -> Ask:
        def asked(number: int, call: int, _: float) -> np.ndarray:
            said["no"] += 1
            if said["no"] <= times:
                raise RefusedError("no such model")
            return told.answer(number, call)

        return asked

    assert told.run(ask(2)) == WANTED
    said.clear()
    with pytest.raises(RefusedError, match="no such model"):
        told.run(ask(10**6))
    assert said["no"] == 3


@pytest.mark.parametrize("by_turns", [False, True])
@pytest.mark.parametrize(("count", "refusing"), [(2, {0}), (2, {1}), (3, {0, 2}), (5, {1, 2, 3})])
def test_one_that_says_no_is_left_out(count: int, refusing: set[int], by_turns: bool) -> None:
    told, said = Told(count, patience=60), Counter[int]()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        said[number] += 1
        if number in refusing:
            raise RefusedError(f"host{number} serves another model")
        time.sleep(0.004)
        return told.answer(number, call)

    while not all(told.spread.endpoints[number].lost for number in refusing):
        assert told.run(ask, by_turns) == WANTED
    assert all(said[number] >= spread.REFUSED_TRIES for number in refusing)
    texts = sorted(text for text, warning in told.texts if warning)
    digits = ", and numbers may differ in their last digits" if by_turns else ""
    assert texts == [
        f"host{n} is left out (host{n} serves another model): others take over{digits}"
        for n in sorted(refusing)
    ]


@pytest.mark.parametrize("count", [2, 3])
def test_where_all_say_no_that_is_the_end(count: int) -> None:
    told = Told(count, patience=60)

    def ask(number: int, call: int, _: float) -> np.ndarray:  # noqa: ARG001
        raise RefusedError("the token is wrong: set it")

    with pytest.raises(RefusedError, match="the token is wrong: set it"):
        told.run(ask)
    assert len(told.texts) == count - 1


def test_one_that_asks_for_time_is_given_it() -> None:
    told, when = Told(1, patience=5), list[float]()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        if not when:
            when.append(time.monotonic())
            raise FaultError("503 busy", wait=0.3)
        when.append(time.monotonic())
        return told.answer(number, call)

    assert [int(each) for each in told.spread.run([1], ask)] == [3]
    assert when[1] - when[0] >= 0.3


def test_a_call_may_take_ten_times_as_long_as_usual_and_longer_each_time_it_fails() -> None:
    told, given = Told(1, patience=5), list[float]()

    def ask(number: int, call: int, seconds: float) -> np.ndarray:
        given.append(seconds)
        if len(given) in (1, 2):
            raise FaultError("no answer in time")
        return told.answer(number, call)

    told.spread.run([1], ask)
    told.spread.run([2], ask)
    assert given == [15, 30, 60, 2]


def test_one_that_was_idle_for_long_gets_the_first_call() -> None:
    """Rounds of one call would never find out that the other endpoint is dead."""
    told = Told(2)
    for _ in range(5):
        told.spread.run([1], lambda n, call, _: told.answer(n, call))
    assert set(told.by_endpoint) == {0, 1}
    told.by_endpoint.clear()
    for endpoint in told.spread.endpoints[:1]:
        endpoint.seconds.extend([9.0] * 32)  # much slower, and not idle: never first
    told.spread.run([1], lambda n, call, _: told.answer(n, call))
    assert told.owners[1] == 1
    told.spread.endpoints[0].used -= spread.IDLE
    told.spread.run([1], lambda n, call, _: told.answer(n, call))
    assert told.owners[1] == 0


def test_faults_are_told_while_they_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "TOLD_AFTER", 0.1)
    monkeypatch.setattr(spread, "_LOOK", 0.02)
    told, began = Told(1, patience=20), time.monotonic()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        if time.monotonic() - began < 0.4:
            raise FaultError("connection refused")
        return told.answer(number, call)

    assert [int(each) for each in told.spread.run([1], ask)] == [3]
    texts = [text for text, _ in told.texts]
    assert texts == [
        "host0 fails (connection refused): it is tried for 20 s",
        "host0 answers again",
    ]


def test_a_connection_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is left to itself, and what it brings in the end is not taken."""
    monkeypatch.setattr(spread, "FIRST_DEADLINE", 0.1)
    monkeypatch.setattr(spread, "GRACE", 0.1)
    monkeypatch.setattr(spread, "_LOOK", 0.02)
    told, stuck, asked = Told(1, patience=20), Event(), list[int]()

    def ask(number: int, call: int, _: float) -> np.ndarray:
        asked.append(call)
        if len(asked) == 1:
            stuck.wait(20)
            return np.array(-1)
        return told.answer(number, call)

    began = time.monotonic()
    assert [int(each) for each in told.spread.run([1, 2], ask)] == [3, 6]
    assert time.monotonic() - began < 10
    stuck.set()
    assert told.run(lambda n, call, _: told.answer(n, call)) == WANTED
