"""One answer out of many: a state that changes when enough of the last answers agree."""

import re
from collections import Counter, deque
from collections.abc import Collection
from typing import Self

from edge_sharpzo.system.errors import UserError

MOST = 1000  # answers that are looked back at


class Consensus:
    """The state that `k` of the last `n` answers agree on.

    It stays until another one has `k` of the last `n` and itself has fewer: a state that holds on
    does not flicker. Answers that are not sure take a place among the `n` and agree with nothing.
    """

    def __init__(self, k: int, n: int):
        """1 <= k <= n."""
        self.state: str | None = None  # a class or NONE_OF_THESE; None before the first agreement
        self._k = k
        self._last: deque[str | None] = deque(maxlen=n)

    @classmethod
    def parsed(cls, text: str) -> Self:
        """What `K/N` says. Raises UserError."""
        match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
        k, n = map(int, match.groups()) if match else (0, 0)
        if not 1 <= k <= n <= MOST:
            raise UserError(
                f"`agree={text[:80]}`: give K/N, how many of the last N answers have to agree, "
                f"such as 3/5; N is at most {MOST}",
                field="agree",
            )
        return cls(k, n)

    def __str__(self) -> str:
        return f"{self._k} of the last {self._last.maxlen}"

    def hear(self, answer: str | None) -> bool:
        """Takes an answer, None for one that is not sure, and says whether the state changed."""
        self._last.append(answer)
        votes = Counter(each for each in self._last if each is not None)
        if self.state is not None and votes[self.state] >= self._k:
            return False
        enough = [each for each, count in votes.items() if count >= self._k]
        if not enough:
            return False
        latest = list(self._last)[::-1]
        self.state = min(enough, key=lambda each: (-votes[each], latest.index(each)))
        return True

    def keep_to(self, states: Collection[str]) -> bool:
        """Forgets all answers but `states`; says whether the state was one of those forgotten."""
        kept = [each if each in states else None for each in self._last]
        self._last.clear()
        self._last.extend(kept)
        if self.state is None or self.state in states:
            return False
        self.state = None
        return True
