"""Turns class names and templates into token ids, as open_clip does."""

import html
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from typing import Self

from tokenizers import Tokenizer

from edge_sharpzo.clip.card import Cleaning, TextCard
from edge_sharpzo.clip.tokenizer_file import trusted
from edge_sharpzo.system.errors import PromptTooLongError, UserError
from edge_sharpzo.system.text import first_line

DEFAULT_WORDS = "a photo of a"
_GOLDEN = (5**0.5 - 1) / 2  # steps of this share of a range fall evenly over it
_WORD_STARTS = "\u2581\u0120"  # marks of some tokenizers; others mark a word's end
_SHORTEST_WORD = 5  # letters; shorter ones are often none
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class TokenIds:
    """How texts are laid out in token ids."""

    clean: Cleaning
    start: Sequence[int]  # ids in front of every text
    end: Sequence[int]  # and behind it
    pad: int
    context_length: int  # ids that the model reads at most


def same_rows(rows: Iterable[Iterable[float]]) -> tuple[int, int] | None:
    """The first two that are alike, by index; None where no two are."""
    first: dict[tuple[float, ...], int] = {}
    for index, row in enumerate(map(tuple, rows)):
        if (other := first.setdefault(row, index)) != index:
            return other, index
    return None


def clean_text(text: str, mode: Cleaning) -> str:
    """open_clip's text cleaning, less its repair of broken Unicode.

    `mode` is one of `Cleaning`.
    """
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    if mode == Cleaning.CANONICALIZE:
        text = text.replace("_", " ").translate(_NO_PUNCTUATION)
    text = " ".join(text.split())
    return text if mode == Cleaning.WHITESPACE else text.lower()


@contextmanager
def _tokenizer_errors() -> Iterator[None]:
    """Raises UserError for whatever the tokenizers library raises; a panic is no `Exception`."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UserError(
            f"the model carries a damaged tokenizer ({first_line(error, 120)}): export it again"
        ) from error


class Prompts:
    """A model's tokenizer with its start, end and padding tokens.

    Raises UserError when a prompt does not fit into the tokens that the model reads.

    Example:
        >>> prompts = ClipOnnx("clip.onnx").prompts
        >>> prompts.encode("a photo")
        [320, 1125]
    """

    def __init__(self, tokenizer_json: str, ids: TokenIds, words: str = DEFAULT_WORDS):
        """`tokenizer_json` is of the tokenizers library; `words` are the model's own context.

        Raises UserError for one that is damaged, or may take any amount of time or memory.
        """
        with _tokenizer_errors():
            self._tokenizer = Tokenizer.from_buffer(trusted(tokenizer_json))
        self._clean = ids.clean
        self.start, self.end, self.pad = list(ids.start), list(ids.end), ids.pad
        self.context_length = ids.context_length
        self._words = words

    @classmethod
    def of_card(cls, card: TextCard, tokenizer_json: str) -> Self:
        """The tokenizer as a model file carries it."""
        ids = TokenIds(card.clean, card.start, card.end, card.pad, card.context_length)
        return cls(tokenizer_json, ids, card.words)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` alone."""
        text = clean_text(text, self._clean)
        with _tokenizer_errors():
            return self._tokenizer.encode(text, add_special_tokens=False).ids

    def words(self, count: int, but: Sequence[str] = ()) -> list[str]:
        """Up to `count` words of the model's own vocabulary, spread over all of it.

        Always the same ones, less those that are in one of the texts `but`.
        """
        taken = {word for text in but for word in clean_text(text, self._clean).lower().split()}
        size = self._tokenizer.get_vocab_size()
        step = next(n for n in range(int(_GOLDEN * size) or 1, 2 * size + 2) if gcd(n, size) == 1)
        found: list[str] = []
        for index in range(size):
            token = index * step % size
            with _tokenizer_errors():
                word = self._tokenizer.id_to_token(token) or ""
            word = word.removesuffix("</w>").lstrip(_WORD_STARTS)
            is_whole = len(word) >= _SHORTEST_WORD and word.isalpha()
            if is_whole and word.lower() not in taken and self.encode(word) == [token]:
                found.append(word)
                if len(found) == count:
                    break
        return found

    def padded(self, text: str) -> list[int]:
        """`context_length` ids: start, text, end, padding; what open_clip's tokenizer returns."""
        ids = [*self.start, *self.encode(text), *self.end]
        self._check_length(len(ids), text)
        return ids + [self.pad] * (self.context_length - len(ids))

    def as_written(self, names: Sequence[str], template: str) -> list[list[int]]:
        """For each class the ids of its prompt in `template`, with end tokens, without start."""
        rows = [self.encode(template.replace("{}", name)) + self.end for name in names]
        for row, name in zip(rows, names, strict=True):
            self._check_length(len(self.start) + len(row), template.replace("{}", name))
        return rows

    def for_tuning(
        self, names: Sequence[str], template: str, context_tokens: int | None = None
    ) -> "TunablePrompt":
        """Splits `template` at its class name.

        The words before it become the context, the rest stays behind the name.

        With no words before the name the context starts from the model's own ("a photo of a").
        `context_tokens` asks for another number of vectors: the words' last ones, or the words
        over and over.
        """
        words, _, after = template.partition("{}")
        words = words if self.encode(words) else self._words
        context = self.encode(words)
        if not context:
            raise UserError(
                f"the model reads nothing in its own words '{words[:80]}': export it again"
            )
        if context_tokens is not None:
            context = (context * (context_tokens // len(context) + 1))[-context_tokens:]
        rows = [self.encode(name + after) + self.end for name in names]
        for row, name in zip(rows, names, strict=True):
            self._check_length(
                len(self.start) + len(context) + len(row), words.strip() + " " + name + after
            )
        return TunablePrompt(context, rows)

    def _check_length(self, tokens: int, text: str) -> None:
        if tokens > self.context_length:
            raise PromptTooLongError(text, tokens, self.context_length)


@dataclass(frozen=True)
class TunablePrompt:
    """Token ids of the context's first words, and of each class's own part.

    That is its name, what follows it in the template, and the end token.
    """

    context: list[int]
    classes: list[list[int]]
