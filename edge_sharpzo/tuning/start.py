"""Where a search starts: at the template's words, or at what the model's export has learned."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from edge_sharpzo.system.errors import PromptTooLongError, UserError, not_one_of

if TYPE_CHECKING:
    import numpy as np

    from edge_sharpzo.clip.model import Clip
    from edge_sharpzo.clip.prompts import TunablePrompt


class Start(StrEnum):
    """What the unchanged prompt, w = 0, is."""

    LEARNED = "learned"  # `Clip.search_start`
    WORDS = "words"  # those before the class name in the template


def checked_start(start: object) -> Start:
    """The start of that name. Raises UserError for one that does not exist."""
    if not isinstance(start, str):
        raise not_one_of(Start, "start", type(start).__name__)
    if start not in list(Start):
        raise not_one_of(Start, "start", start)
    return Start(start)


def prompt_from(
    clip: "Clip", start: Start, names: Sequence[str], template: str, tokens: int | None
) -> "TunablePrompt":
    """The prompt of each class behind `tokens` context vectors, see `Prompts.for_tuning`.

    Raises UserError for one that is too long for the model.
    """
    try:
        return clip.prompts.for_tuning(names, template, tokens)
    except PromptTooLongError as error:
        if start is Start.WORDS:
            raise
        raise UserError(
            f"{error.fault}, {tokens} of them for the learned start of {clip.where}: use "
            "`start=words`, or shorten the class name",
            field="start",
        ) from error


def learned_tokens(clip: "Clip", asked: int | None) -> int:
    """How many context vectors the model's learned start has.

    Raises UserError where it has none, or another number than `asked` for.
    """
    if clip.search_start is None:
        raise UserError(
            f"{clip.where} holds no learned start: export the model again with this version "
            "(text towers that run dense get none), or use `start=words`",
            field="start",
        )
    tokens = len(clip.search_start)
    if asked not in (None, tokens):
        raise UserError(
            f"the learned start of {clip.where} has {tokens} context vectors, not {asked}: use "
            f"`context_tokens={tokens}`, or `start=words`",
            field="context_tokens",
        )
    return tokens


def initial_context(clip: "Clip", start: str, words: list[int]) -> "np.ndarray":
    """The context vectors [n_ctx, W], float32, of w = 0; `words` are the initial words' token ids.

    Raises UserError for a start that does not exist or does not have as many vectors.
    """
    if checked_start(start) is Start.WORDS:
        return clip.token_embeddings(words)
    learned_tokens(clip, len(words))
    assert clip.search_start is not None
    return clip.search_start
