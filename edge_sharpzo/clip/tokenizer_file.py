"""Looks through a `tokenizer.json` before the tokenizers library builds anything of it.

That library aborts the whole process where it gets no memory, and panics on what it did not expect.
A file is untrusted: only parts that bounded time and memory are known of pass.
"""

import base64
import re
from typing import Any

import msgspec

from edge_sharpzo.system.storage import parse_json

MOST_BYTES = 48_000_000  # of the file; Gemma's, the largest that open_clip has, takes 34 MB
MOST_STEPS = 16
MOST_GROWTH = 1000  # characters that one of a text may become
# What one character may become in a step, where it is not looked up in `_growth`.
_NORMALIZERS = {
    "BertNormalizer": 4,
    "ByteLevel": 2,
    "Lowercase": 3,
    "NFC": 3,
    "NFD": 4,
    "NFKC": 18,
    "NFKD": 18,
    "Nmt": 1,
    "Precompiled": 1,
    "Prepend": 1,
    "Replace": 1,
    "Strip": 1,
    "StripAccents": 1,
}
_PRE_TOKENIZERS = {
    "BertPreTokenizer": 1,
    "ByteLevel": 2,
    "Digits": 1,
    "Metaspace": 2,
    "Punctuation": 1,
    "Split": 1,
    "Whitespace": 1,
    "WhitespaceSplit": 1,
}
# Repeated groups, repeated repeats, long counts, references and calls: what patterns blow up by.
_RISKY = re.compile(r"\)[*+{]|[*+?}][*+{]|\{\d{3}|\{,?\d{3}|,\d{3}|\\[gk1-9]|\(\?[~R&(]")
_CLASS = re.compile(r"\\[pP]\{\^?\w+\}")  # a Unicode class, whose braces count nothing
_UNBOUNDED = re.compile(r"[*+]|\{\d*,\}")


_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
_VOCABULARY = ("vocab", "merges")
_AFFIXES = ("unk_token", "continuing_subword_prefix", "end_of_word_suffix")


def trusted(text: str) -> bytes:
    """The parts of a `tokenizer.json` that turn text into ids, as such a file in UTF-8.

    The vocabulary, which is nearly all of it, is passed on unread: as Python's objects it would
    take as much memory as the tokenizer itself.

    Raises ValueError for a part that is not known to be harmless.
    """
    if len(text) > MOST_BYTES:
        raise ValueError("it is too large")
    found = _fields(text)
    if "model" not in found:
        raise ValueError("it has no model")
    model = _fields(found["model"])
    _check_model({name: _read(raw) for name, raw in model.items() if name not in _VOCABULARY})
    growth, steps = 1, 0
    for name, known in (("normalizer", _NORMALIZERS), ("pre_tokenizer", _PRE_TOKENIZERS)):
        for step in _steps(_read(found.get(name))):
            steps, growth = steps + 1, growth * _growth(step, known)
    if steps > MOST_STEPS or growth > MOST_GROWTH:
        raise ValueError("it makes too much of a text")
    kept: dict[str, Any] = {
        name: found[name]
        for name in ("version", "added_tokens", "normalizer", "pre_tokenizer")
        if name in found
    }
    if "merges" in model:
        model["merges"] = _compact(model["merges"])
    # Each name once, or the library might read another value of it than was looked at here.
    return msgspec.json.encode({**kept, "model": model})


def _compact(merges: msgspec.Raw) -> msgspec.Raw:
    """The pairs of a BPE's merges, ["a", "b"], in their older form "a b".

    The library reads both and takes half the memory, 20 MB less for CLIP's, to read the older one.
    What is no list of pairs without spaces stays as it is.
    """
    try:
        pairs = msgspec.json.decode(merges, type=list[tuple[str, str]])
    except (msgspec.MsgspecError, RecursionError):
        return merges
    if not all(a and b and " " not in a + b and a != "#version:" for a, b in pairs):
        return merges
    return msgspec.Raw(msgspec.json.encode([f"{a} {b}" for a, b in pairs]))


def _fields(text: str | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object, unread. Raises ValueError for anything else."""
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"a part of it is no JSON object ({error})") from error


def _read(raw: msgspec.Raw | None) -> Any:
    """The value of a field, None where there is none. Raises ValueError."""
    return None if raw is None else parse_json(bytes(raw).decode())


def _check_model(model: dict[str, Any]) -> None:
    """Raises ValueError for a model of an unknown kind, or one whose tokens are random."""
    if model.get("type") not in _MODELS or model.get("dropout") is not None:
        raise ValueError("its model is of no kind that gives the same tokens every time")
    affixes = [model.get(name) or "" for name in _AFFIXES]
    if not all(isinstance(affix, str) and len(affix) <= 64 for affix in affixes):
        raise ValueError("its model adds long texts to words")


def _steps(part: Any) -> list[dict[str, Any]]:
    """The steps that a normalizer or pre-tokenizer takes."""
    if part is None:
        return []
    steps: Any = [part]
    if isinstance(part, dict) and part.get("type") == "Sequence":
        steps = part.get("normalizers", part.get("pretokenizers"))
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ValueError("a sequence without steps")
    return steps


def _growth(step: dict[str, Any], known: dict[str, int]) -> int:
    """How many characters one may become in a step."""
    kind = step.get("type")
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(f"it has the part {str(kind)[:40]!r}")
    pattern = step.get("pattern")
    if isinstance(pattern, dict) and "Regex" in pattern:
        _check_pattern(pattern["Regex"])
    if kind == "Precompiled":
        return _longest(step.get("precompiled_charsmap"))
    added = [step.get(name) for name in ("content", "prepend", "replacement")]
    if any(text is not None and not isinstance(text, str) for text in added):
        raise ValueError("a part that is no text")
    return known[kind] + sum(len(text) for text in added if text)


def _check_pattern(pattern: Any) -> None:
    """Raises ValueError for a regular expression that may take long."""
    if (
        not isinstance(pattern, str)
        or len(pattern) > 1000
        or _RISKY.search(_CLASS.sub("x", pattern))
        or any(len(_UNBOUNDED.findall(part)) > 2 for part in pattern.split("|"))
    ):
        raise ValueError(f"it has the pattern {str(pattern)[:60]!r}")


def _longest(charsmap: Any) -> int:
    """The longest text that SentencePiece's table of characters has for one of them.

    Four bytes, the size of a trie, then the trie, then texts that end in zeros.
    """
    if not isinstance(charsmap, str):
        raise ValueError("a table of characters that is no text")
    table = base64.b64decode(charsmap, validate=True)
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return max(1, *(len(text) for text in texts.split(b"\0")))
