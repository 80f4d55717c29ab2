"""Texts for a service that takes strings: it has a tokenizer of its own."""

from collections.abc import Sequence

from edge_sharpzo.clip.card import Cleaning
from edge_sharpzo.clip.prompts import Prompts, TunablePrompt, clean_text

MOST_BYTES = 1 << 16  # of a text; where the service cuts one off, it is not known here


class StringPrompts(Prompts):
    """Prompts whose token ids are the bytes of their text, UTF-8."""

    def __init__(self) -> None:
        """There is no tokenizer to open."""
        self.start, self.end, self.pad, self.context_length = [], [], 0, MOST_BYTES

    def encode(self, text: str) -> list[int]:
        """The bytes of `text`; case and punctuation are the service's own affair."""
        return list(clean_text(text, Cleaning.WHITESPACE).encode(errors="replace"))

    def words(self, count: int, but: Sequence[str] = ()) -> list[str]:  # noqa: ARG002
        """None: the service's vocabulary is not known."""
        return []

    def for_tuning(
        self,
        names: Sequence[str],
        template: str,
        context_tokens: int | None = None,  # noqa: ARG002
    ) -> TunablePrompt:
        """Whole prompts, of which nothing can be tuned."""
        return TunablePrompt([], self.as_written(names, template))
