"""Text features of many prompt candidates at once.

A causal tower lets all K class prompts of a candidate share one packed sequence: start token and
context once, then every class's own tokens, kept apart by the attention mask. The numbers are those
of the dense tower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_sharpzo.clip.card import Layout, Pool
from edge_sharpzo.clip.towers import Tower

if TYPE_CHECKING:
    from edge_sharpzo.clip.model import Clip
    from edge_sharpzo.clip.session import TowerSession

MASKED = np.float32(-1e9)  # added to a score; exp of it is 0 in float32
# Class tokens in one packed sequence. Attention grows with the square of its length, and each
# sequence pays for the shared part once more: this length is about the cheapest.
CHUNK_TOKENS = 160
BATCH = 16  # candidates in one call at most
CALL_BYTES = 7_000_000  # of activations in one call; more candidates than these gain little speed
DENSE_CLASSES = 16  # in one call of a dense tower, where every class costs all its positions


@dataclass(frozen=True)
class Packing:
    """Layout of some classes in one sequence of L = prefix + T rows."""

    ids: np.ndarray  # token ids of the classes' rows [T]
    positions: np.ndarray  # position of every row in its own prompt [L]
    mask: np.ndarray  # 0 where a row (first axis) sees another, MASKED elsewhere [L, L], float32
    eot: np.ndarray  # row of each class's last token [K]


def pack(classes: Sequence[Sequence[int]], prefix: int) -> Packing:
    """Packs the token rows of `classes` behind `prefix` shared rows (start tokens and context)."""
    lengths = np.array([len(row) for row in classes])
    own = np.concatenate([np.arange(n) for n in lengths])  # index of a row within its class
    owner = np.repeat(np.arange(len(classes)), lengths)
    size = prefix + len(own)
    mask = np.full((size, size), MASKED, np.float32)
    mask[np.tril_indices(size)] = 0
    behind = mask[prefix:, prefix:]
    behind[owner[:, None] != owner[None, :]] = MASKED
    return Packing(
        ids=np.concatenate([np.asarray(row, np.int64) for row in classes]),
        positions=np.concatenate([np.arange(prefix), prefix + own]).astype(np.int64),
        mask=mask,
        eot=(prefix + np.cumsum(lengths) - 1).astype(np.int64),
    )


def chunks(classes: Sequence[Sequence[int]], tokens: int) -> list[slice]:
    """Consecutive groups of classes with at most `tokens` tokens each; a longer class is alone."""
    groups, start, used = [], 0, 0
    for index, row in enumerate(classes):
        if used and used + len(row) > tokens:
            groups.append(slice(start, index))
            start, used = index, 0
        used += len(row)
    return [*groups, slice(start, len(classes))]


class TextTower:
    """The text encoder: maps contexts [P, n_ctx, W] to text features [P, K, D], float32.

    Example:
        >>> prompt = clip.prompts.for_tuning(["cat", "dog"], "a photo of a {}.")
        >>> tower = TextTower(clip, prompt.classes, len(prompt.context))
        >>> tower(np.zeros((3, 4, clip.card.text.width), np.float32)).shape
        (3, 2, 512)
    """

    def __init__(
        self,
        clip: "Clip",
        classes: Sequence[Sequence[int]],
        n_ctx: int,
        integer: bool = False,
        session: "TowerSession | None" = None,
    ):
        """`classes` holds each class's own token ids behind the context, end tokens included.

        `integer` as in `ClipOnnx.session`; a `session` that is open already may be given.
        """
        self.card = clip.card.text
        self.n_ctx = n_ctx
        self.classes = len(classes)
        packed = self.card.layout == Layout.PACKED
        self._feeds = (self._packed_feeds if packed else self._dense_feeds)(clip, classes)
        self._session = session or clip.session(Tower.TEXT, integer)
        # Rows of the longest call, for its memory.
        rows = max(
            len(feed["positions"]) if packed else len(feed["eot"]) * self.card.context_length
            for feed in self._feeds
        )
        each = _activation_bytes(rows, self.card.width)
        # Candidates in one call.
        self.batch = clip.memory.fitting(max(1, min(BATCH, CALL_BYTES // each)), each)

    def __call__(self, contexts: np.ndarray) -> np.ndarray:
        """Features [P, K, D] of `contexts` [P, n_ctx, W], in batches of one shape if P allows."""
        contexts = np.ascontiguousarray(contexts, np.float32)
        starts = range(0, len(contexts), self.batch)
        batches = [contexts[i : i + self.batch] for i in starts]
        found = self._session.run_all(
            [{"ctx": batch, **feed} for batch in batches for feed in self._feeds]
        )
        many = len(self._feeds)
        parts = [found[i : i + many] for i in range(0, len(found), many)]
        return np.concatenate([np.concatenate(chunk, axis=1) for chunk in parts])

    def _packed_feeds(
        self, clip: "Clip", classes: Sequence[Sequence[int]]
    ) -> list[dict[str, np.ndarray]]:
        feeds = []
        for group in chunks(classes, CHUNK_TOKENS):
            packing = pack(classes[group], len(self.card.start) + self.n_ctx)
            feeds.append(
                {
                    "ids": packing.ids,
                    "positions": packing.positions,
                    "mask": packing.mask,
                    "eot": packing.eot,
                }
            )
        rows = clip.token_embeddings(np.concatenate([feed["ids"] for feed in feeds]).tolist())
        for feed in feeds:
            feed["names"], rows = np.split(rows, [len(feed.pop("ids"))])
        return feeds

    def _dense_feeds(
        self, clip: "Clip", classes: Sequence[Sequence[int]]
    ) -> list[dict[str, np.ndarray]]:
        card = self.card
        first = len(card.start) + self.n_ctx
        room = card.context_length - first
        padded = np.array([[*row, *[card.pad] * (room - len(row))] for row in classes])
        pooled = {
            Pool.END: [first + len(row) - 1 for row in classes],
            Pool.LAST: [card.context_length - 1] * len(classes),
            Pool.FIRST: [0] * len(classes),
        }
        rows = clip.token_embeddings([*card.start, *padded.ravel().tolist()])
        before, after = np.split(rows, [len(card.start)])
        whole = {
            "after": after.reshape(len(classes), room, card.width),
            "eot": np.array(pooled[card.pool], np.int64),
        }
        if card.start:  # without start tokens the graph has no such input
            whole["before"] = np.repeat(before[None], len(classes), axis=0)
        return [
            {name: rows[i : i + DENSE_CLASSES] for name, rows in whole.items()}
            for i in range(0, len(classes), DENSE_CLASSES)
        ]


def _activation_bytes(rows: int, width: int) -> int:
    """Memory of one candidate's `rows` in a call, in bytes, about.

    Hidden layer, queries, keys, values and residuals, and the scores of heads of 64.
    """
    return 4 * rows * (16 * width + 2 * rows * -(-width // 64))
