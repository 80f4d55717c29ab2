"""Samples training texts: names in templates, definitions, adjectives, compositions, each with its
target.
"""

import itertools
import random
import re

import torch
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer
from torch.nn import functional as F

from models.recipe.targets import CLASS, HYPERNYM, Targets

MAIN_TEMPLATE = "a photo of a {}."
TEMPLATES = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES] + [
    "{}",
    "{}.",
    "a {}",
    "the {}",
    "{}s",
    "an {}.",
    "a photo of {}.",
    "a photo of {}",
    "a photo of an {}.",
    "photo of a {}",
    "a picture of a {}.",
    "a picture of {}",
    "an image of a {}.",
    "an image of {}.",
    "an image showing {}.",
    "a photograph of a {}.",
    "this is a {}.",
    "this is a photo of a {}.",
    "there is a {} in the picture.",
    "a snapshot of {}",
    "{} texture.",
    "a photo of a {} texture.",
    "a surface with {}.",
    "a centered photo of a {}.",
    "a centered satellite photo of {}.",
    "an aerial photo of {}.",
    "a photo of {} in a store.",
    "a photo of {} waste.",
    "a photo of a {}, on a white background.",
    "a product photo of a {}.",
    "a macro photo of a {}.",
    "a scene of a {}.",
    "a view of a {}.",
]
KIND_TEMPLATES = [
    ("a photo of a {}, a type of {}.", 0.8),
    ("a photo of {}, a type of {}.", 0.8),
    ("a {}, which is a kind of {}.", 0.8),
]
PAIR_TEMPLATES = [
    ("a photo of a {} and a {}.", 0.5),
    ("a {} and a {}.", 0.5),
    ("a {} on a {}.", 0.65),
    ("a {} with a {}.", 0.65),
    ("a photo of a {} in a {}.", 0.65),
    ("a {} near a {}.", 0.65),
    ("a {} made of {}.", 0.6),
    ("{} {}", 0.4),
]
ADJECTIVE_TEMPLATES = ["a photo of a {} {}.", "a {} {}", "{} {}."]
MAX_TOKENS = 40
MAX_NAME_TOKENS = 10


class TextSampler:
    """Endless batches of (token ids, target vector); private generator, so one seed gives one
    sequence.
    """

    def __init__(self, targets: Targets, seed: int):
        self.random = random.Random(seed)
        self.tokenizer = SimpleTokenizer()
        encode = self.tokenizer.encode
        self.targets = targets
        self.class_names = [
            [encode(n) for n in dict.fromkeys((name, re.sub(r"\s*\(.*?\)", "", name)))]
            for name in IMAGENET_CLASSNAMES
        ]
        self.class_glosses = [encode(gloss)[:30] for gloss in targets.class_glosses]
        self.glosses = [(encode(gloss)[:30], row) for gloss, row in targets.glosses[::3]]
        self.parents = [
            [(encode(name), row) for name, row in parents] for parents in targets.class_parents
        ]
        self.nouns = [encode(text) for text in targets.nouns.texts]
        self.adjectives = [encode(text) for text in targets.adjectives.texts]
        self.verbs = [encode(text) for text in targets.verbs.texts]
        self.hypernyms = [i for i, kind in enumerate(targets.noun_kinds) if kind == HYPERNYM]
        self.synonyms = [i for i, kind in enumerate(targets.noun_kinds) if kind == CLASS]
        weights = [
            0.0 if len(tokens) > MAX_NAME_TOKENS else 1.0 if visibility >= 0.5 else 0.35
            for tokens, visibility in zip(self.nouns, targets.noun_visibility, strict=True)
        ]
        self.noun_weights = list(itertools.accumulate(weights))
        self.main = self._parts(MAIN_TEMPLATE)
        self.templates = [self._parts(t) for t in TEMPLATES]
        self.kind_templates = [(self._parts(t), w) for t, w in KIND_TEMPLATES]
        self.pair_templates = [(self._parts(t), w) for t, w in PAIR_TEMPLATES]
        self.adjective_templates = [self._parts(t) for t in ADJECTIVE_TEMPLATES]

    def batches(self, count: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """`count` batches of ids [size, length] (int64, zero-padded) and targets [size, dim], each
        of like lengths.
        """
        samples = sorted((self.sample() for _ in range(count * size)), key=lambda s: len(s[0]))
        batches = []
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            length = min(MAX_TOKENS, max(len(tokens) for tokens, _ in part)) + 2
            ids = torch.zeros(size, length, dtype=torch.long)
            for row, (tokens, _) in enumerate(part):
                tokens = [
                    self.tokenizer.sot_token_id,
                    *tokens[: length - 2],
                    self.tokenizer.eot_token_id,
                ]
                ids[row, : len(tokens)] = torch.tensor(tokens)
            batches.append((ids, torch.stack([vector for _, vector in part])))
        self.random.shuffle(batches)
        return batches

    def sample(self) -> tuple[list[int], torch.Tensor]:
        """One text as token ids, without start and end tokens, and its target [dim]."""
        pick, targets = self.random, self.targets
        share = pick.random()
        if share < 0.06:
            i = pick.randrange(1000)
            prefix = (
                pick.choice(self.class_names[i]) + self.tokenizer.encode(": ")
                if pick.random() < 0.5
                else []
            )
            return prefix + self.class_glosses[i], targets.classes[i]
        if share < 0.10:
            tokens, row = pick.choice(self.glosses)
            return tokens, targets.synsets[row]
        if share < 0.19:
            words, vectors = (
                (self.adjectives, targets.adjectives)
                if pick.random() < 0.7
                else (self.verbs, targets.verbs)
            )
            i = pick.randrange(len(words))
            before, after = self._template()
            return before + words[i] + after, vectors.vectors[i]
        if share < 0.25:
            name, vector = self._concept()
            i = pick.randrange(len(self.adjectives))
            mixed = F.normalize(0.85 * vector + 0.15 * targets.adjectives.vectors[i], dim=0)
            return self._join(
                pick.choice(self.adjective_templates), self.adjectives[i], name
            ), mixed
        if share < 0.29:
            i = pick.randrange(1000)
            if self.parents[i]:
                parent, row = pick.choice(self.parents[i])
                parts, weight = pick.choice(self.kind_templates)
                mixed = F.normalize(
                    weight * targets.classes[i] + (1 - weight) * targets.synsets[row], dim=0
                )
                return self._join(parts, pick.choice(self.class_names[i]), parent), mixed
        if share < 0.36:
            (first, v1), (second, v2) = self._concept(), self._concept()
            parts, weight = pick.choice(self.pair_templates)
            return self._join(parts, first, second), F.normalize(
                weight * v1 + (1 - weight) * v2, dim=0
            )
        name, vector = self._concept()
        before, after = self._template()
        # Words that say nothing in front, as users' templates have them.
        noise = (
            [pick.randrange(320, 40000) for _ in range(pick.randint(1, 8))]
            if pick.random() < 0.08
            else []
        )
        return noise + before + name + after, vector

    def _concept(self) -> tuple[list[int], torch.Tensor]:
        pick, share = self.random, self.random.random()
        if share < 0.37:
            i = pick.randrange(1000)
            return pick.choice(self.class_names[i]), self.targets.classes[i]
        if share < 0.48:
            i = pick.choice(self.hypernyms)
        elif share < 0.54:
            i = pick.choice(self.synonyms)
        else:
            i = pick.choices(range(len(self.nouns)), cum_weights=self.noun_weights)[0]
        return self.nouns[i], self.targets.nouns.vectors[i]

    def _template(self) -> list[list[int]]:
        return self.main if self.random.random() < 0.2 else self.random.choice(self.templates)

    def _parts(self, template: str) -> list[list[int]]:
        return [self.tokenizer.encode(part) for part in template.split("{}")]

    @staticmethod
    def _join(parts: list[list[int]], *words: list[int]) -> list[int]:
        tokens = list(parts[0])
        for word, part in zip(words, parts[1:], strict=True):
            tokens += word + part
        return tokens
