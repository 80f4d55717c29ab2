"""A model whose towers run elsewhere."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from edge_sharpzo.clip.card import parse_card
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.search_start import parse_start
from edge_sharpzo.clip.session import Feeds, TowerSession
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.served import Companion
from edge_sharpzo.system.memory import MemoryLimit

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx

Shape = Callable[[Feeds], tuple[int, ...]]


class Engine(Protocol):
    """What runs towers elsewhere: a service, or a fleet."""

    @property
    def where(self) -> str:
        """For messages."""
        ...

    def in_integers(self, tower: Tower, /) -> bool:
        """See `Clip`."""
        ...

    def session(self, tower: Tower, integer: bool, sha256: str, shape: Shape, /) -> TowerSession:
        """A tower of the model that has this SHA-256; `integer` as in `Clip.session`.

        `shape` says what shape the output has for some feeds. Raises UserError.
        """
        ...


class RemoteClip(Clip):
    """A model on an engine: its text tower, and all that has no file here.

    Photos go there only where that was allowed.
    """

    def __init__(
        self,
        engine: Engine,
        companion: Companion,
        file: "ClipOnnx | None",
        send_photos: bool,
        memory: MemoryLimit,
    ):
        """`companion` is what is known of the model; `file` holds the same model here, if it is.

        Raises UserError for a card that is damaged.
        """
        self._engine, self._companion, self._file = engine, companion, file
        self._send_photos = send_photos
        self.where = self.short_name = engine.where
        self.threads = file.threads if file else 0
        self.provider = file.provider if file else ""
        self.memory = memory
        self.card = parse_card(companion.metadata, self.where)
        self.search_start = parse_start(companion.metadata, self.card.text, self.where)

    @property
    def sha256(self) -> str:
        """See `Clip`; whatever the engine computes is checked to be of this model."""
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
        integers = " integers" if self.in_integers(Tower.IMAGE) else ""
        return f"{self.where} {self.memory.mb}{integers}"

    def check_unchanged(self) -> None:
        """See `Clip`. Whatever an engine computes is checked as it comes."""
        if self._file:
            self._file.check_unchanged()

    def in_integers(self, tower: Tower) -> bool:
        """See `Clip`."""
        here = self._file_of(tower)
        return here.in_integers(tower) if here else self._engine.in_integers(tower)

    def session(self, tower: Tower, integer: bool = False) -> TowerSession:
        """See `Clip`."""
        if here := self._file_of(tower):
            return here.session(tower, integer)
        return self._engine.session(
            tower, integer, self.sha256, lambda feeds: self.output_shape(tower, feeds)
        )

    def _file_of(self, tower: Tower) -> "ClipOnnx | None":
        """The file, where this tower runs here; None where it runs on the engine."""
        goes = self._send_photos if tower is Tower.IMAGE else tower is Tower.TEXT
        return None if goes else self._file
