"""A service as one thing: its endpoints, and what they are asked."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

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
        if served is Served.TEXT and integer and self.tensors(Served.TEXT_INTEGER):
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

    def tensors(self, served: Served) -> tuple[dict[str, str], dict[str, str]] | None:
        """Inputs and outputs of what is served, name -> type; None where it is not.

        Raises UserError where nothing answers.
        """
        found: list[tuple[dict[str, str], dict[str, str]]] = []

        def ask(number: int, _: None, seconds: float) -> np.ndarray:
            with suppress(UnknownModelError):
                model = self._name(number, served)
                found.append(self._transports[number].tensors(model, seconds))
            return np.array(())

        self.spread.run([None], ask)
        return found[0] if found else None

    def companion(self) -> Companion:
        """What the endpoints say of the model.

        One that does not answer is told and left for later. Raises UserError where none does, where
        they serve different models, or not what is needed.
        """
        found: dict[int, Companion] = {}
        patience = AT_START
        for number, endpoint in enumerate(self.spread.endpoints):
            alone = Spread([endpoint.name], self.tell, patience)
            try:
                (card,) = alone.run([None], lambda _, __, seconds, n=number: self._card(n, seconds))  # type: ignore[misc]
                found[number] = self._read(number, card)
            except EnginesLostError as error:
                endpoint.lost, endpoint.why = True, alone.endpoints[0].why
                if number + 1 == len(self._places) and not found:
                    raise UserError(
                        f"{error}. It is started by `make serve-model`", field="engine"
                    ) from error
                self.tell(f"{endpoint.name} does not answer ({endpoint.why})", True)
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
