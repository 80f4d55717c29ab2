"""A service as one thing: its endpoints, and what they are asked."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.access import level_of
from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.remote_clip import Shape
from edge_sharpzo.engines.served import ECHO, NONCE, NONCE_BYTES, SHA256, Companion, Served
from edge_sharpzo.engines.served_session import ServedSession
from edge_sharpzo.engines.spread import EnginesLostError, Spread, Tell
from edge_sharpzo.engines.transport import FaultError, Transport, UnknownModelError
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import return_freed_memory
from edge_sharpzo.system.text import some

Found = TypeVar("Found")
AT_START = 10.0  # seconds of patience before anything has answered
_SERVED = {Tower.TEXT: Served.TEXT, Tower.TOKENS: Served.TOKENS, Tower.IMAGE: Served.IMAGE}
MISSING = (
    "a model behind a service needs packages that are not installed here: "
    "pip install 'edge-sharpzo[remote]'"
)


def connect(address: Address) -> Transport:
    """What speaks to the service at `address`. Raises UserError."""
    try:
        if address.scheme.is_http:
            from edge_sharpzo.engines.http_transport import HttpTransport

            return HttpTransport(address)
        from edge_sharpzo.engines.grpc_transport import GrpcTransport

        return GrpcTransport(address)
    except ImportError as error:
        raise UserError(f"{MISSING} ({error.name})", field="engine") from error


class Service:
    """Endpoints that serve one model."""

    def __init__(
        self,
        places: Sequence[Address],
        tell: Tell,
        connected: Callable[[Address], Transport] = connect,
    ):
        """`tell` hears what happens to the endpoints, and whether that is a warning."""
        self.tell = tell
        self._places = list(places)
        self._transports = [connected(address) for address in places]
        self.spread = Spread([str(address) for address in places], tell)

    @property
    def model(self) -> str:
        """The name that its served models begin with."""
        return self._places[0].model

    @property
    def where(self) -> str:
        """For messages."""
        return ", ".join(f"{each.location}/{each.model}" for each in self._places)

    def session(self, tower: Tower, integer: bool, sha256: str, shape: Shape) -> ServedSession:
        """See `Engine`."""
        served = _SERVED[tower]
        if tower is Tower.IMAGE and len(self._places) > 1:
            self.in_integers(tower)  # all alike, or none
        if tower is Tower.TEXT and integer and self.in_integers(tower):
            served = Served.TEXT_INTEGER
        return ServedSession(self, served, sha256, shape)

    def infer(
        self, number: int, served: Served, feeds: Feeds, seconds: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """An endpoint's output, and the SHA-256, uint8 [32], of the model that it is of.

        It has so many `seconds`.

        Raises FaultError, also for the answer to another request, or UserError.
        """
        model = self._name(number, served)
        nonce = np.frombuffer(os.urandom(NONCE_BYTES), np.uint8)
        # Behind all others: what goes astray within them shows there.
        outputs = [served.output, SHA256, ECHO]
        answer = self._transports[number].infer(model, {**feeds, NONCE: nonce}, outputs, seconds)
        if not np.array_equal(answer[ECHO], nonce):
            raise FaultError("an answer that was garbled on its way, or is another request's")
        return answer[served.output], answer[SHA256]

    def _name(self, number: int, served: Served) -> str:
        """What an endpoint calls it."""
        return f"{self._places[number].model}-{served}"

    def plain(
        self, number: int, served: Served, feeds: Feeds, output: str, seconds: float
    ) -> np.ndarray:
        """An endpoint's `output`, of a model that knows no more than its own tensors.

        It has so many `seconds`. Raises FaultError or UserError.
        """
        model = self._name(number, served)
        return self._transports[number].infer(model, feeds, [output], seconds)[output]

    def in_integers(self, tower: Tower) -> bool:
        """See `Engine`. The text tower does where all endpoints can; where some cannot is told.

        Raises UserError where some encode photos in integers, and others do not.
        """
        if tower is Tower.TEXT:
            return self._text_in_integers
        can, cannot = self._integers
        if can and cannot:
            raise UserError(
                f"{some(can)} would encode photos in integers and {some(cannot)} in floating "
                "point, which gives other numbers: name endpoints on processors of one kind, or "
                "encode photos here, with the model's file as `onnx` and without `send_photos`",
                field="engine",
            )
        return bool(can)

    @cached_property
    def _text_in_integers(self) -> bool:
        can, cannot = self._integers
        if can and cannot:
            self.tell(
                f"{some(cannot)} serves no '{self.model}-{Served.TEXT_INTEGER}' as {some(can)} "
                "does: all multiply in floating point, which is slower. A model served on a "
                "processor with VNNI, or Arm's, has it",
                True,
            )
        return bool(can) and not cannot

    @cached_property
    def _integers(self) -> tuple[list[str], list[str]]:
        """Endpoints that serve a tower with products in integers, and those that do not.

        Its model says that of the whole repository: where it was written decides for both towers.
        """
        sides: tuple[list[str], list[str]] = ([], [])
        for number, tensors in self.tensors(Served.TEXT_INTEGER).items():
            sides[tensors is None].append(self.spread.endpoints[number].name)
        return sides

    def tensors(self, served: Served) -> dict[int, tuple[dict[str, str], dict[str, str]] | None]:
        """Inputs and outputs of what is served, name -> type, by the numbers of the endpoints.

        None where one does not serve it. Raises UserError where no endpoint answers.
        """

        def ask(number: int, seconds: float) -> tuple[dict[str, str], dict[str, str]] | None:
            try:
                return self._transports[number].tensors(self._name(number, served), seconds)
            except UnknownModelError:
                return None

        return self._every(ask)

    def _every(self, ask: Callable[[int, float], Found]) -> dict[int, Found]:
        """What each endpoint answers, by its number; it has so many seconds.

        One that does not answer is told and left for later. Raises UserError where none does, and
        what `ask` does.
        """
        found: dict[int, Found] = {}
        lost: EnginesLostError | None = None
        for number, endpoint in enumerate(self.spread.endpoints):
            if endpoint.lost and (found or number + 1 < len(self._places)):
                continue
            alone = Spread([endpoint.name], self.tell, AT_START)
            try:
                found[number] = _alone(alone, lambda seconds, n=number: ask(n, seconds))  # type: ignore[misc]
            except EnginesLostError as error:
                endpoint.lost, endpoint.why = True, alone.endpoints[0].why
                lost = error
                if found or number + 1 < len(self._places):
                    self.tell(f"{endpoint.name} does not answer ({endpoint.why})", True)
        if not found:
            raise UserError(f"{lost}. It is started by `make serve-model`", "engine") from lost
        return found

    def companion(self) -> Companion:
        """What the endpoints say of the model.

        One that does not answer is told and left for later. Raises UserError where none does, where
        they serve different models, or not what is needed.
        """
        found = self._every(lambda number, seconds: self._read(number, self._card(number, seconds)))
        return_freed_memory()  # of answers of megabytes
        first, *others = found.items()
        for number, other in others:
            if other.sha256 != first[1].sha256:
                names = [self.spread.endpoints[n].name for n in (first[0], number)]
                raise UserError(
                    f"{names[0]} and {names[1]} serve different models: name endpoints of one",
                    field="engine",
                )
        return first[1]

    def _card(self, number: int, seconds: float) -> np.ndarray:
        address = self._places[number]
        try:
            return self.infer(number, Served.CARD, {}, seconds)[0]
        except UnknownModelError as error:
            raise level_of(address, self._transports[number], seconds, error) from error

    def _read(self, number: int, card: np.ndarray) -> Companion:
        try:
            return Companion.of_array(card)
        except ValueError as error:
            raise UserError(
                f"{self.spread.endpoints[number].name} sends a damaged card ({error}): serve the "
                "model again with `make serve-model`",
                field="engine",
            ) from error


def _alone(spread: Spread, ask: Callable[[float], Found]) -> Found:
    """What the one endpoint of `spread` answers; it has so many seconds. Raises what `run` does."""
    found: list[Found] = []

    def asked(_: int, __: None, seconds: float) -> np.ndarray:
        found.append(ask(seconds))
        return np.array(())

    spread.run([None], asked)
    return found[-1]
