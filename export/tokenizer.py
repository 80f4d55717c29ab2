"""Carries open_clip's tokenizer over to the device as one `tokenizers` JSON and a few numbers."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, _clean_canonicalize, _clean_lower
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from edge_sharpzo.clip.card import Cleaning
from edge_sharpzo.clip.prompts import Prompts, TokenIds
from export.source import ExportError

# CLIP's own pattern (Radford et al. 2021, simple_tokenizer.py).
CLIP_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass
class TokenizerCard:
    """What the device needs to turn text into token ids."""

    json: str  # of the `tokenizers` library
    ids: TokenIds

    @cached_property
    def prompts(self) -> Prompts:
        """The device's own reading of it."""
        return Prompts(self.json, self.ids)


def tokenizer_card(tokenizer: Any, context_length: int) -> TokenizerCard:
    """The card of an open_clip tokenizer, checked on a few texts. Raises ExportError for a kind it
    does not know.
    """
    if isinstance(tokenizer, SimpleTokenizer):
        start, end = [tokenizer.sot_token_id], [tokenizer.eot_token_id]
        ids = TokenIds(_clean_mode(tokenizer.clean_fn), start, end, 0, context_length)
        card = TokenizerCard(_clip_bpe(tokenizer).to_str(), ids)
    elif isinstance(tokenizer, HFTokenizer) and not tokenizer.tokenizer_mode:
        card = _hugging_face_card(tokenizer, context_length)
    else:
        raise ExportError(
            f"its tokenizer is a {type(tokenizer).__name__}, which has no exact form on the device"
        )
    _check(card, tokenizer)
    return card


def _clean_mode(clean: Any) -> Cleaning:
    known = {_clean_lower: Cleaning.LOWER, _clean_canonicalize: Cleaning.CANONICALIZE}
    return known.get(clean, Cleaning.WHITESPACE)


def _clip_bpe(tokenizer: SimpleTokenizer) -> Tokenizer:
    """CLIP's byte-pair encoding in the `tokenizers` library."""
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    bpe = models.BPE(
        vocab=tokenizer.encoder,
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        fuse_unk=False,
    )
    result = Tokenizer(bpe)
    result.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    result.decoder = decoders.ByteLevel()
    return result


def _hugging_face_card(tokenizer: HFTokenizer, context_length: int) -> TokenizerCard:
    """Finds start, end and padding by looking at one encoded text."""
    backend = getattr(tokenizer.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError("its tokenizer has no fast form, so it cannot travel in the file")
    full = tokenizer(["photo"])[0].tolist()
    # A copy: the call above left its padding and truncation set.
    backend = Tokenizer.from_str(backend.to_str())
    backend.no_padding()
    backend.no_truncation()
    word = backend.encode("photo", add_special_tokens=False).ids
    at = next((i for i in range(len(full)) if full[i : i + len(word)] == word), None)
    if at is None:
        raise ExportError("its tokenizer rewrites words in a way that the device cannot repeat")
    pad = tokenizer.tokenizer.pad_token_id or 0
    rest = full[at + len(word) :]
    while rest and rest[-1] == pad:
        rest.pop()
    # strip_sep_token writes 0 over the end token; where 0 is also the padding nothing is left to
    # add.
    ids = TokenIds(_clean_mode(tokenizer.clean_fn), full[:at], rest, pad, context_length)
    return TokenizerCard(backend.to_str(), ids)


def _check(card: TokenizerCard, tokenizer: Any) -> None:
    texts = [
        "a photo of a cat.",
        "Annual Crop Land",
        "a pair of size-9 men's shoes, 100% leather",
        "café au lait",
    ]
    wanted = tokenizer(texts).tolist()
    for text, row in zip(texts, wanted, strict=True):
        if card.prompts.padded(text) != row:
            raise ExportError(
                f"the device would read '{text}' as {card.prompts.padded(text)}, open_clip as {row}"
            )
    json.loads(card.json)
