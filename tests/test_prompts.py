"""Tokens as open_clip makes them, and how a template becomes a context."""

import random
from pathlib import Path

import pytest

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.prompts import Prompts
from edge_sharpzo.system.errors import UserError


@pytest.fixture(scope="module")
def prompts(tiny_onnx: Path) -> Prompts:
    return ClipOnnx(tiny_onnx).prompts


def test_ids_equal_open_clip(prompts: Prompts) -> None:
    open_clip = pytest.importorskip("open_clip")
    templates, names = open_clip.OPENAI_IMAGENET_TEMPLATES, open_clip.IMAGENET_CLASSNAMES
    tokenizer, pick = open_clip.tokenizer.SimpleTokenizer(), random.Random(0)
    texts = [pick.choice(templates)(pick.choice(names)) for _ in range(500)]
    texts += [
        "Größe ÄÖÜ",
        "日本語 寿司",
        "emoji 😀🎉 x",
        "we've DON'T",
        "a&amp;b &lt;",
        "  two   spaces\t\n",
        "U.S.A. no. 5",
        "e\u0301",
        "a..b!!?",
        "",
    ]
    for text in texts:
        assert prompts.padded(text) == tokenizer([text])[0].tolist(), text


def test_the_words_before_the_name_become_the_context(prompts: Prompts) -> None:
    prompt = prompts.for_tuning(["pagoda", "tin can"], "a photo of {} waste.")
    assert prompt.context == prompts.encode("a photo of")
    assert prompt.classes[1] == [*prompts.encode("tin can waste."), 49407]


def test_without_words_before_the_name_the_context_is_the_usual_one(prompts: Prompts) -> None:
    assert prompts.for_tuning(["banded"], "{} texture.").context == prompts.encode("a photo of a")


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [(1, "a"), (2, "of a"), (6, "of a a photo of a"), (8, "a photo of a a photo of a")],
)
def test_another_number_of_context_tokens(prompts: Prompts, tokens: int, wanted: str) -> None:
    assert prompts.for_tuning(["cat"], "a photo of a {}.", tokens).context == prompts.encode(wanted)


def test_the_template_as_written_is_whole(prompts: Prompts) -> None:
    assert prompts.as_written(["cat"], "{} texture.") == [[*prompts.encode("cat texture."), 49407]]


def test_a_name_that_is_too_long_names_itself_and_the_cure(prompts: Prompts) -> None:
    with pytest.raises(
        UserError, match=r"needs \d+ tokens and the model reads 77: shorten the class name"
    ):
        prompts.for_tuning(["word " * 80], "a photo of a {}.")
