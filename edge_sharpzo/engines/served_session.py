"""One tower behind a service."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.engines.served import Served
from edge_sharpzo.engines.transport import FaultError, RefusedError

if TYPE_CHECKING:
    from edge_sharpzo.engines.service import Service

_UNIT = 1e-2  # that the length of features may be off 1


class ServedSession:
    """One tower behind a service; a `TowerSession`."""

    def __init__(
        self,
        service: "Service",
        served: Served,
        sha256: str,
        shape: Callable[[Feeds], tuple[int, ...]],
    ):
        """`shape` says what shape the output has for some feeds."""
        self._service, self._served, self._shape = service, served, shape
        self._sha256 = np.frombuffer(bytes.fromhex(sha256), np.uint8)
        self._first: tuple[Feeds, np.ndarray] | None = None  # a call, and its answer
        self._compared: dict[int, bool] = {}  # whether an endpoint answers that one likewise

    @property
    def at_once(self) -> int:
        """See `TowerSession`."""
        return self._service.spread.at_once

    def run_all(self, calls: Sequence[Feeds]) -> list[np.ndarray]:
        """See `TowerSession`."""
        spread = self._service.spread
        if not calls:
            return []
        if len(spread.endpoints) > 1 and self._first is None:
            self._first = calls[0], spread.run(calls[:1], self._asked)[0]
            spread.ask_all(self._compare)
        return spread.run(calls, self._ask, by_turns=not all(self._compared.values()))

    def _ask(self, number: int, feeds: Feeds, seconds: float) -> np.ndarray:
        """The answer of one endpoint, which has shown before how it computes."""
        was_away = self._service.spread.endpoints[number].lost
        if self._first is not None and (was_away or number not in self._compared):
            self._compare(number, seconds)
        return self._asked(number, feeds, seconds)

    def _compare(self, number: int, seconds: float) -> None:
        """Whether the endpoint computes the same numbers as the one that answered first."""
        assert self._first
        feeds, answer = self._first
        self._compared[number] = same = np.array_equal(self._asked(number, feeds, seconds), answer)
        if not same:
            self._service.tell(
                f"{self._service.spread.endpoints[number].name} computes other last digits than "
                "the other endpoints: each gets the same share of the calls, so that a run can be "
                "repeated",
                True,
            )

    def _asked(self, number: int, feeds: Feeds, seconds: float) -> np.ndarray:
        """One endpoint's answer, checked. Raises FaultError or UserError."""
        found, told = self._service.infer(number, self._served, feeds, seconds)
        shape = self._shape(feeds)
        place = self._service.spread.endpoints[number].name
        if not np.array_equal(told, self._sha256):
            raise RefusedError(
                f"{place} serves another model now than the run began with: serve that one again, "
                "or tune again",
                field="engine",
            )
        if found.dtype != np.float32 or found.shape != shape:
            raise RefusedError(
                f"{place} does not do what the model's card says (it gives {found.dtype} "
                f"{list(found.shape)}, expected float32 {list(shape)}): serve the model with "
                "`make serve-model` of this version",
                field="engine",
            )
        if not np.isfinite(found).all():
            raise FaultError("an answer that is no finite numbers")
        if self._served is not Served.TOKENS:
            sizes = np.linalg.norm(found, axis=-1)
            if (np.abs(sizes - 1) > _UNIT).any():
                raise FaultError("an answer that is no L2-normalised features")
        return found
