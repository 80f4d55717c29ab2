"""A CLIP model wherever it runs: its card, its tokenizer, and a session for each tower."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.card import TOKENIZER_KEY, ModelCard
from edge_sharpzo.clip.session import Feeds, TowerSession
from edge_sharpzo.clip.towers import Tower, output_shape
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit, return_freed_memory

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from edge_sharpzo.clip.image_tower import ImageTower
    from edge_sharpzo.clip.images import Photo
    from edge_sharpzo.clip.prompts import Prompts


class Clip(ABC):
    """A CLIP model. `ClipOnnx` is one in a file here; a service may hold one as well.

    `card` holds what the model says of itself, `search_start` the context vectors [n, W], float32,
    that its export has learned for a search to start from, or None.
    """

    where: str  # for messages: the file, or the service
    short_name: str  # likewise
    card: ModelCard
    search_start: np.ndarray | None
    threads: int  # of a session here, 0 for onnxruntime's choice
    provider: str  # onnxruntime's execution provider here
    memory: MemoryLimit  # of this process
    takes_contexts: bool = True  # whether prompts can be tuned: not where strings alone go in

    @property
    @abstractmethod
    def sha256(self) -> str:
        """What identifies the model: SHA-256, in hex, over the SHA-256 of each of its files."""

    @property
    @abstractmethod
    def metadata(self) -> dict[str, str]:
        """What the model's file says of itself: card, tokenizer and learned start, as stored."""

    @property
    @abstractmethod
    def file(self) -> "ClipOnnx | None":
        """The model's file here; None where there is none."""

    @property
    @abstractmethod
    def image_engine(self) -> str:
        """What computes the image features: those of another one differ in their last digits."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raises UserError where the model is not what it was when `sha256` was asked for.

        By contents: to be called before results are written that are said to be of this model.
        """

    @abstractmethod
    def session(self, tower: Tower, integer: bool = False) -> TowerSession:
        """A session of one tower.

        Where the model's weights are stored in 8 bits, `integer` takes the products in integers:
        faster and less exact, see `onnx/integer.py`. Without it they are taken in float32.

        Raises UserError where that is not to be had.
        """

    @abstractmethod
    def in_integers(self, tower: Tower) -> bool:
        """Whether `session` of this tower takes products in integers where it may.

        Its numbers are others then than in float32, by more than last digits. Raises UserError.
        """

    @cached_property
    def prompts(self) -> "Prompts":
        """The tokenizer. Raises UserError for a damaged one."""
        from edge_sharpzo.clip.prompts import Prompts

        return Prompts.of_card(self.card.text, self.metadata[TOKENIZER_KEY])

    def close_tokenizer(self) -> None:
        """Frees the tokenizer (40 MB), which only the start needs; `prompts` opens it again."""
        self.__dict__.pop("prompts", None)
        return_freed_memory()

    def encode_images(self, photos: Sequence["Photo"]) -> np.ndarray:
        """L2-normalised features [N, D], float32, of photos.

        `photos` are paths, pillow images or uint8 arrays [H, W, 3]. Raises UserError for one that
        cannot be read.
        """

        with self.image_tower() as tower:
            return tower.encode_all(photos)

    def image_tower(self) -> "ImageTower":
        """What encodes photos; it opens at the first one."""
        from edge_sharpzo.clip.image_tower import ImageTower

        return ImageTower(lambda: self.session(Tower.IMAGE, True), self.card, self.memory)

    def written_features(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """L2-normalised text features [K, D], float32, of prompts taken word for word.

        `rows` are their token ids, as `Prompts.as_written` gives them. Raises UserError.
        """
        from edge_sharpzo.clip.encoders import template_features
        from edge_sharpzo.clip.text_tower import TextTower

        return template_features(TextTower(self, rows, 0), self.card.text.width)

    def output_shape(self, tower: Tower, feeds: Feeds) -> tuple[int, ...]:
        """What shape the output of `tower` has for these inputs."""
        width = self.card.text.width if tower == Tower.TOKENS else self.card.feature_dim
        return output_shape(tower, feeds, width)

    def token_embeddings(self, ids: list[int]) -> np.ndarray:
        """Rows of the token table [T, W], float32, without positions.

        The table is read for this call alone. Raises UserError for rows that are no finite numbers.
        """
        feeds = {"token_ids": np.asarray(ids, np.int64)}
        (rows,) = self.session(Tower.TOKENS).run_all([feeds])
        if not np.isfinite(rows).all():
            raise UserError(f"the token table of {self.where} is damaged: export it again")
        return rows
