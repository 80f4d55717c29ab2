"""A model whose towers run behind a service."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.card import parse_card
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.search_start import parse_start
from edge_sharpzo.clip.session import Feeds, TowerSession
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.served import SHA256, Companion, Served
from edge_sharpzo.engines.service import Service
from edge_sharpzo.engines.transport import FaultError, RefusedError
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx

_SERVED = {Tower.TEXT: Served.TEXT, Tower.TOKENS: Served.TOKENS, Tower.IMAGE: Served.IMAGE}


class ServedClip(Clip):
    """A model behind a service: its text tower, and all that has no file here.

    Photos go to the service only where that was allowed.
    """

    def __init__(
        self,
        service: Service,
        companion: Companion,
        file: "ClipOnnx | None",
        send_photos: bool,
        memory: MemoryLimit,
    ):
        """`companion` is what the service says of the model; `file` the same model here, if it is.

        Raises UserError for a card that is damaged.
        """
        self._service, self._companion, self._file = service, companion, file
        self._send_photos = send_photos
        self.where = self.short_name = service.where
        self.threads = file.threads if file else 0
        self.provider = file.provider if file else ""
        self.memory = memory
        self.card = parse_card(companion.metadata, self.where)
        self.search_start = parse_start(companion.metadata, self.card.text, self.where)

    @property
    def sha256(self) -> str:
        """See `Clip`; every answer of the service is checked to be of this model."""
        return self._companion.sha256

    @property
    def metadata(self) -> dict[str, str]:
        """See `Clip`."""
        return self._companion.metadata

    @property
    def file(self) -> "ClipOnnx | None":
        """See `Clip`."""
        return self._file

    @property
    def image_engine(self) -> str:
        """See `Clip`."""
        if self._file and not self._send_photos:
            return self._file.image_engine
        return f"{self.where} {self.memory.mb}"

    def check_unchanged(self) -> None:
        """See `Clip`. Whatever a service computes is checked as it comes."""
        if self._file:
            self._file.check_unchanged()

    def session(self, tower: Tower, integer: bool = False) -> TowerSession:
        """See `Clip`."""
        here = self._file and (
            tower is Tower.TOKENS or (tower is Tower.IMAGE and not self._send_photos)
        )
        if here:
            assert self._file
            return self._file.session(tower, integer)
        if tower is Tower.IMAGE and not self._send_photos:
            raise UserError(
                f"there is no model file here, so photos would have to go to {self.where} to be "
                "encoded: give the file with `onnx`, or allow that with `send_photos`",
                field="send_photos",
            )
        served = _SERVED[tower]
        if served is Served.TEXT and integer and self._service.has(Served.TEXT_INTEGER):
            served = Served.TEXT_INTEGER
        return ServedSession(
            self._service, served, self.sha256, lambda feeds: self.output_shape(tower, feeds)
        )


class ServedSession:
    """One tower behind a service; a `TowerSession`."""

    def __init__(
        self,
        service: Service,
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

    def _ask(self, number: int, feeds: Feeds) -> np.ndarray:
        """The answer of one endpoint, which has shown before how it computes."""
        if self._first is not None and number not in self._compared:
            self._compare(number)
        return self._asked(number, feeds)

    def _compare(self, number: int) -> None:
        """Whether the endpoint computes the same numbers as the one that answered first."""
        assert self._first
        feeds, answer = self._first
        self._compared[number] = same = np.array_equal(self._asked(number, feeds), answer)
        if not same:
            self._service.tell(
                f"{self._service.spread.endpoints[number].name} computes other last digits than "
                "the other endpoints: each gets the same share of the calls, so that a run can be "
                "repeated",
                True,
            )

    def _asked(self, number: int, feeds: Feeds) -> np.ndarray:
        """One endpoint's answer, checked. Raises FaultError or UserError."""
        output = self._served.output
        answer = self._service.infer(number, self._served, feeds, [output, SHA256])
        found, told, shape = answer[output], answer[SHA256], self._shape(feeds)
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
        return found
