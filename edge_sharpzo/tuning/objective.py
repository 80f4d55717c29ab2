"""The objective: from a vector w to the few-shot loss of the prompt that it stands for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, Self, TypedDict, Unpack, cast

import numpy as np

from edge_sharpzo.clip.encoders import TextEncoder, encoder_maker, template_features
from edge_sharpzo.clip.towers import LOCAL
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.tuning.loss import FewShotLoss
from edge_sharpzo.tuning.records import QueryKind
from edge_sharpzo.tuning.space import PromptSpace
from edge_sharpzo.tuning.start import (
    Start,
    checked_start,
    initial_context,
    learned_tokens,
    prompt_from,
)

if TYPE_CHECKING:
    from edge_sharpzo.clip.model import Clip

DEFAULT_TEMPLATE = "a photo of a {}."
SLAB = 64  # candidates whose text features are held at once at most
SLAB_LOGITS = 2**24  # numbers that their logits may be at most; many photos mean fewer candidates


class Objective(Protocol):
    """What the tuning loop needs of an objective. It counts its own queries."""

    loss: FewShotLoss  # on top of the text features

    @property
    def dim(self) -> int:
        """The length of a point w."""
        ...

    @property
    def queries(self) -> Counter[str]:
        """Queries by kind so far, as a copy."""
        ...

    def text_features(self, points: np.ndarray, kind: str) -> np.ndarray:
        """L2-normalised text features [P, K, D] of points [P, dim]; costs P queries of `kind`."""
        ...

    def losses(self, points: np.ndarray, kind: str) -> np.ndarray:
        """Training losses [P] float64 of points [P, dim]; costs P queries of `kind`."""
        ...

    def undone_on_error(self) -> AbstractContextManager[None]:
        """Queries made within it count only if it ends without an exception."""
        ...

    def restore(self, queries: Mapping[str, int]) -> None:
        """Goes on with the counts of an earlier process."""
        ...


class SpaceOptions(TypedDict, total=False):
    """The searched space; see `PromptSpace`."""

    dim: int | None
    projection_std: float | None
    seed: int


class Origin(SpaceOptions, total=False):
    """The searched space, and what its origin is; see `Start`."""

    start: str


class PromptObjective:
    """The few-shot loss of a CLIP model's prompt; an `Objective`.

    One query is one candidate that goes through the text tower, for its loss on the whole training
    set or for its text features.

    Example:
        >>> features = clip.encode_images(photos)  # [N, D]
        >>> objective = PromptObjective(clip, ["cat", "dog"], features, labels, dim=None)
        >>> objective.losses(np.zeros((1, objective.dim)), "start")  # of the words as they are
        array([0.69...])
        >>> objective.queries
        Counter({'start': 1})
    """

    def __init__(
        self,
        clip: "Clip",
        names: Sequence[str],
        features: np.ndarray,
        labels: np.ndarray,
        *,
        template: str = DEFAULT_TEMPLATE,
        context_tokens: int | None = None,
        **origin: Unpack[Origin],
    ):
        """Runs the text tower here, in float32.

        `names` of the K classes, training photos' `features` [N, D] (L2-normalised) with `labels`
        [N] below K. `template` gives the initial words, `context_tokens` another number of them.
        `start="learned"` takes what the model's export has learned in place of the words, and as
        many context vectors. `dim` is the length of w, 512 by default, None for the whole prompt
        space; `seed` draws the random subspace.

        Raises UserError for a prompt that the model cannot read or a start that it does not have,
        ValueError for arrays that do not fit each other.
        """
        _check_photos(features, labels, len(names), clip.card.feature_dim)
        start = checked_start(origin.pop("start", Start.WORDS))
        space = cast(SpaceOptions, origin)
        if start is Start.LEARNED:
            context_tokens = learned_tokens(clip, context_tokens)
        prompt = prompt_from(clip, start, names, template, context_tokens)
        clip.close_tokenizer()
        first = initial_context(clip, start, prompt.context)
        self._assemble(
            PromptSpace(first, clip.card.text.embedding_std, **space),
            encoder_maker(LOCAL)(clip, prompt.classes, len(prompt.context), False),
            FewShotLoss(features, labels, clip.card.logit_scale),
        )

    @classmethod
    def assembled(cls, space: PromptSpace, encode: TextEncoder, loss: FewShotLoss) -> Self:
        """The objective from its parts, with any text encoder."""
        made = cls.__new__(cls)
        made._assemble(space, encode, loss)
        return made

    def _assemble(self, space: PromptSpace, encode: TextEncoder, loss: FewShotLoss) -> None:
        self.space, self.loss = space, loss
        self.dim = space.dim
        self._encode = encode
        self._queries: Counter[str] = Counter()

    @property
    def queries(self) -> Counter[str]:
        """Queries by kind so far, as a copy."""
        return Counter(self._queries)

    @property
    def initial_context(self) -> np.ndarray:
        """p0 [n_ctx, W]: the initial words' embeddings, or the learned start."""
        return self.space.initial_context

    def contexts(self, points: np.ndarray) -> np.ndarray:
        """Contexts [P, n_ctx, W] float32 of points w [P, dim]."""
        return self.space.contexts(points)

    def text_features(self, points: np.ndarray, kind: str) -> np.ndarray:
        """L2-normalised text features [P, K, D] of points [P, dim]; costs P queries of `kind`."""
        if np.ndim(points) != 2:
            raise ValueError(f"points: expected [P, {self.dim}], got {list(np.shape(points))}")
        text = self._encode(self.contexts(points))
        self._queries[kind] += len(points)
        return text

    def losses(self, points: np.ndarray, kind: str) -> np.ndarray:
        """Training losses [P] float64 of points [P, dim]; costs P queries of `kind`."""
        logits = len(self.loss.labels) * self._encode.classes
        size = max(1, min(SLAB, SLAB_LOGITS // logits))
        slabs = (points[i : i + size] for i in range(0, len(points), size))
        return np.concatenate([self.loss.values(self.text_features(s, kind)) for s in slabs])

    def zero_shot(self, encode: TextEncoder) -> np.ndarray:
        """Text features [K, D] of the template as written; costs one query.

        `encode` was made of whole prompts, without context vectors; of the objective's classes, or
        of more.
        """
        text = template_features(encode, self.initial_context.shape[1])
        wanted = (encode.classes, self.loss.features.shape[1])
        if np.shape(text) != wanted or not np.isfinite(text).all():
            raise UserError(
                f"the text tower gives features of {list(np.shape(text))} for the template, "
                f"expected {list(wanted)} finite numbers: export the model again, or mend the "
                "engine"
            )
        self._queries[QueryKind.ZERO_SHOT] += 1
        return text

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Queries made within it count only if it ends without an exception."""
        before = self.queries
        try:
            yield
        except BaseException:
            self._queries = before
            raise

    def restore(self, queries: Mapping[str, int]) -> None:
        """Goes on with the counts of an earlier process."""
        self._queries = Counter(queries)


def _check_photos(features: np.ndarray, labels: np.ndarray, classes: int, dim: int) -> None:
    """Raises ValueError for photo features or labels of another shape than the model's."""
    if np.ndim(features) != 2 or np.shape(features)[1] != dim:
        raise ValueError(f"features: expected [N, {dim}], got {list(np.shape(features))}")
    if np.shape(labels) != (len(features),):
        raise ValueError(f"labels: expected [{len(features)}], got {list(np.shape(labels))}")
    labels = np.asarray(labels)
    if not len(labels):
        raise ValueError("features and labels: there are no photos")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels: expected whole numbers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels: expected 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )
