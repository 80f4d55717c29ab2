"""A model behind a service that takes strings and photo files, and nothing else."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.card import (
    Cleaning,
    ImageCard,
    Interpolation,
    Layout,
    ModelCard,
    Pool,
    ResizeMode,
    TextCard,
)
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.session import TowerSession
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines.embedding import Embedding, PhotoSession
from edge_sharpzo.engines.served import Served
from edge_sharpzo.engines.strings_prompts import MOST_BYTES, StringPrompts
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import MemoryLimit

if TYPE_CHECKING:
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from edge_sharpzo.engines.service import Service

SIDE = 336  # pixels of the photos that are sent; the largest CLIPs look at so many
LOGIT_SCALE = 100.0  # CLIP's; nothing tells the service's own
TEXTS = 32  # in one call
PROBE = b"a photo"
# The cosine of what one model makes of one text twice: rounding takes it nowhere near.
SAME = 0.99
_MARKS = 4


class StringsClip(Clip):
    """Such a model. Prompts are texts for it, so that none can be tuned."""

    takes_contexts = False

    def __init__(self, service: "Service", memory: MemoryLimit):
        """Asks each endpoint that answers for one text. Raises UserError where it is of no use."""
        self._service = service
        self._texts = Embedding(service, Served.TEXT)
        self._photos = Embedding(service, Served.IMAGE)
        self.where = self.short_name = service.where
        self.threads, self.provider, self.memory = 0, "", memory
        self.search_start = None
        self._probe: np.ndarray = service.spread.run([[PROBE]], self._texts.asked)[0][0]  # [D]
        self._compared: set[int] = set()  # endpoints that make the same of it
        service.spread.ask_all(self._compare)
        self.card = _card(service.model, len(self._probe))

    def _compare(self, number: int, seconds: float) -> None:
        """Raises UserError where an endpoint makes something else of `PROBE` than the first."""
        (found,) = self._texts.asked(number, [PROBE], seconds)
        if not _same(found, self._probe):
            raise UserError(
                f"the endpoints {self.where} serve different models: name endpoints of one",
                field="engine",
            )
        self._compared.add(number)

    def _features(self, embedding: Embedding, calls: Sequence[Sequence[bytes]]) -> list[np.ndarray]:
        """L2-normalised features [N, D], float32, of the N strings of each call."""

        def ask(number: int, strings: Sequence[bytes], seconds: float) -> np.ndarray:
            if number not in self._compared:  # it did not answer at first
                self._compare(number, seconds)
            return embedding.asked(number, strings, seconds, len(self._probe))

        return self._service.spread.run(calls, ask)

    @property
    def sha256(self) -> str:
        """See `Clip`. The service does not say: this is of its names and the features' length."""
        names = [(each.input, each.output) for each in (self._texts, self._photos)]
        told = json.dumps([self._service.model, len(self._probe), names])
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def metadata(self) -> dict[str, str]:
        """See `Clip`; there is none."""
        return {}

    @property
    def file(self) -> "ClipOnnx | None":
        """See `Clip`; there is none."""
        return None

    @property
    def image_engine(self) -> str:
        """See `Clip`. With what its largest numbers are: another model has others."""
        largest = np.argsort(-abs(self._probe), kind="stable")[:_MARKS].tolist()
        return f"{self.where} {self.memory.mb} {largest}"

    @cached_property
    def prompts(self) -> StringPrompts:
        """See `Clip`."""
        return StringPrompts()

    def check_unchanged(self) -> None:
        """See `Clip`; by what the service makes of one text."""
        self.check_made(PROBE, self._probe)

    def check_made(self, text: bytes, before: np.ndarray) -> None:
        """Raises UserError unless the feature of `text` is still what it was `before` [D]."""
        (now,) = self._features(self._texts, [[text]])
        if not _same(now[0], before):
            raise UserError(
                f"{self.where} serves another model now (it reads a text otherwise): serve the "
                "one of before, or tune again",
                field="engine",
            )

    def written_features(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """See `Clip`."""
        texts = [bytes(row) for row in rows]
        calls = [texts[i : i + TEXTS] for i in range(0, len(texts), TEXTS)]
        return np.concatenate(self._features(self._texts, calls))

    def in_integers(self, tower: Tower) -> bool:  # noqa: ARG002
        """See `Clip`; the service does not say."""
        return False

    def session(self, tower: Tower, integer: bool = False) -> TowerSession:  # noqa: ARG002
        """See `Clip`; photos alone."""
        if tower is not Tower.IMAGE:
            raise UserError(
                f"{self.where} takes strings, so there is no place for context vectors: take a "
                "model served with `make serve-model`",
                field="engine",
            )
        features = partial(self._features, self._photos)
        return PhotoSession(features, self._service.spread.at_once)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two features [D] are of one text and one model."""
    return one.shape == other.shape and float(one @ other) >= SAME


def _card(name: str, dim: int) -> ModelCard:
    """What is known of the model, and for what is not whatever leaves texts and photos whole."""
    return ModelCard(
        name=name,
        weights="of a service",
        weights_sha256=None,
        licence=None,
        precision="unknown",
        feature_dim=dim,
        logit_scale=LOGIT_SCALE,
        logit_bias=0.0,
        image=ImageCard(
            (SIDE, SIDE), ResizeMode.SHORTEST, Interpolation.BICUBIC, (0.0,) * 3, (1.0,) * 3
        ),
        text=TextCard(
            layout=Layout.DENSE,
            width=1,
            context_length=MOST_BYTES,
            start=(),
            end=(),
            pad=0,
            pool=Pool.END,
            clean=Cleaning.WHITESPACE,
            embedding_std=1.0,
            words="a photo of a",
            n_ctx=1,
        ),
        versions={},
    )
