"""What a run may cost: queries, time, or both."""

import math
import time
from collections.abc import Callable

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.tuning.records import StopReason


class Budget:
    """Queries and seconds that a run may take, and what is left of them.

    Example:
        >>> budget = Budget(queries=5000)
        >>> budget.begin(used=9)
        >>> budget.left(used=1000)
        4000
    """

    def __init__(
        self,
        queries: int | None = None,
        seconds: float | None = None,
        seconds_per_query: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """None: no end by it. `seconds_per_query` as far as is known before the first step."""
        self.queries = queries
        self.seconds = seconds
        self._per_query = seconds_per_query
        self._clock = clock
        self.begin(0)

    def begin(self, used: int, seconds_spent: float = 0.0) -> None:
        """The run begins, or goes on, after `used` queries and so many seconds in the loop."""
        self._entered, self._used_before = self._clock(), used
        self._started = self._entered - seconds_spent

    @property
    def seconds_spent(self) -> float:
        """Seconds in the loop so far, those of earlier processes included."""
        return self._clock() - self._started

    def pace(self, used: int) -> float:
        """Seconds per query, from those of this process where there are any."""
        paid = used - self._used_before
        return (self._clock() - self._entered) / paid if paid else self._per_query

    def left(self, used: int) -> float:
        """Queries that the budget and, at the pace so far, the time still allow."""
        by_count = math.inf if self.queries is None else self.queries - used
        by_time = math.inf
        if self.seconds is not None:
            by_time = (self.seconds - self.seconds_spent) / max(self.pace(used), 1e-9)
        return max(0.0, min(by_count, by_time))

    def refuses(self, asked: int, used: int) -> StopReason | None:
        """Why a step of `asked` queries and a look at its result cannot be paid; None if it can."""
        if self.queries is not None and used + asked + 1 > self.queries:
            return StopReason.BUDGET
        return StopReason.TIME if asked > self.left(used) else None

    def too_small(self, asked: int, used: int) -> UserError:
        """What to tell the user when not even the first step, of `asked` queries, can be paid."""
        if self.refuses(asked, used) == StopReason.BUDGET:
            return UserError(
                f"`budget={self.queries}` does not pay for the first step: "
                f"that alone takes {asked + used + 1} queries",
                field="budget",
            )
        return UserError(
            f"`minutes` does not pay for the first step: "
            f"that alone takes {asked} queries at {1000 * self.pace(used):.0f} ms",
            field="minutes",
        )
