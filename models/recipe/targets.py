"""Teacher vectors in the shared space for ImageNet's classes, WordNet's nouns, adjectives and
verbs.

Classes and their synonyms get their class's own vector, hypernyms the mean of the classes below
them, and every other word a blend of two regressions from MiniLM sentence embeddings (kernel ridge,
and a softmax over similarity that also counts shared WordNet ancestors).
"""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from open_clip import IMAGENET_CLASSNAMES
from torch.nn import functional as F

from models.recipe.sources import Sources, Synset

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

KERNEL_WIDTH = 0.4
RIDGE = 0.1
SOFTMAX_TEMPERATURE = 0.12
ANCESTOR_WEIGHT = 0.5
KERNEL_SHARE = 0.4  # of the blend; the softmax has the rest

OTHER, HYPERNYM, CLASS = 0, 1, 2  # how a noun got its vector
# How visible the things of a WordNet lexicographer file are (noun.animal, noun.artifact ...):
# weight of its senses.
VISIBILITY = {
    5: 1,
    6: 1,
    8: 1,
    13: 1,
    17: 1,
    20: 1,
    27: 1,
    25: 0.6,
    19: 0.6,
    18: 0.5,
    15: 0.4,
    7: 0.3,
    11: 0.3,
    14: 0.3,
    4: 0.25,
}
HIDDEN = 0.1


@dataclass
class Words:
    """Texts with one teacher vector each [n, dim], L2-normalised."""

    texts: list[str]
    vectors: torch.Tensor

    def __len__(self) -> int:
        return len(self.texts)


@dataclass
class Targets:
    """Everything the text tower learns from."""

    classes: torch.Tensor  # [1000, dim]
    class_glosses: list[str]
    # For each class: (hypernym, its row in glosses.vectors).
    class_parents: list[list[tuple[str, int]]]
    synsets: torch.Tensor  # [S, dim]
    glosses: list[tuple[str, int]]  # (definition of something visible, its row in synsets)
    nouns: Words
    noun_kinds: list[int]
    noun_visibility: list[float]
    adjectives: Words
    verbs: Words


def is_plain(lemma: str) -> bool:
    """A short lemma in plain letters."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9'\- ]*", lemma) is not None and len(lemma.split()) <= 4


def encode(model: "SentenceTransformer", texts: list[str]) -> torch.Tensor:
    """L2-normalised sentence embeddings [n, 384], float32."""
    vectors = model.encode(
        texts,
        batch_size=256,
        convert_to_tensor=True,
        normalize_embeddings=True,
        show_progress_bar=True,
    )
    return vectors.float().cpu()


class Teacher:
    """Maps pairs of sentence embeddings (name, definition) to the shared space."""

    def __init__(
        self, class_names: torch.Tensor, class_definitions: torch.Tensor, classes: torch.Tensor
    ):
        self.anchors = torch.cat([class_names, class_definitions], 1) / 2**0.5
        self.classes = classes
        kernel = torch.exp((self.anchors @ self.anchors.T - 1) / KERNEL_WIDTH)
        self.dual = torch.linalg.solve(kernel + RIDGE * torch.eye(len(kernel)), classes)

    def __call__(
        self, names: torch.Tensor, definitions: torch.Tensor, closeness: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Vectors [n, dim] for embeddings [n, 384] each; `closeness` [n, 1000] is added to the
        similarities.
        """
        similarity = torch.cat([names, definitions], 1) / 2**0.5 @ self.anchors.T
        ridge = torch.exp((similarity - 1) / KERNEL_WIDTH) @ self.dual
        logits = similarity / SOFTMAX_TEMPERATURE
        if closeness is not None:
            logits = logits + ANCESTOR_WEIGHT * closeness
        soft = logits.softmax(1) @ self.classes
        blend = KERNEL_SHARE * F.normalize(ridge, dim=1) + (1 - KERNEL_SHARE) * F.normalize(
            soft, dim=1
        )
        return F.normalize(blend, dim=1)


def build_targets(
    sources: Sources, sentences: "SentenceTransformer", classes: torch.Tensor
) -> Targets:
    """Teacher vectors from the class targets `classes` [1000, dim]."""
    synsets, class_offsets = sources.nouns, sources.imagenet_synsets()

    @cache
    def ancestors(offset: str) -> frozenset[str]:
        return frozenset({offset}.union(*(ancestors(h) for h in synsets[offset].hypernyms)))

    below = defaultdict(set)  # synset -> ImageNet classes under it
    for index, offset in enumerate(class_offsets):
        for ancestor in ancestors(offset):
            below[ancestor].add(index)

    def definition(offset: str) -> str:
        synset = synsets[offset]
        return ", ".join(synset.lemmas[:3]) + ": " + synset.gloss.split('; "')[0][:120]

    offsets = [o for o, s in synsets.items() if not s.is_instance]
    row = {o: i for i, o in enumerate(offsets)}
    lemmas = sorted({lemma for o in offsets for lemma in synsets[o].lemmas if is_plain(lemma)})
    print(f"embedding {len(offsets):,} definitions and {len(lemmas):,} nouns", flush=True)
    definition_vectors = encode(sentences, [definition(o) for o in offsets])
    lemma_vectors = dict(zip(lemmas, encode(sentences, lemmas), strict=True))
    class_texts = [
        f"{n}, {definition(o)}" for n, o in zip(IMAGENET_CLASSNAMES, class_offsets, strict=True)
    ]
    teacher = Teacher(
        encode(sentences, list(IMAGENET_CLASSNAMES)), encode(sentences, class_texts), classes
    )

    vectors = _synset_vectors(
        teacher, synsets, offsets, lemma_vectors, definition_vectors, below, ancestors
    )
    kinds = [OTHER] * len(offsets)
    for offset, indices in below.items():
        if offset in row and offset not in class_offsets:
            # A hypernym of one class is not that class: the fewer below it, the more the teacher's
            # own say.
            share = {1: 0.6, 2: 0.75}.get(len(indices), 0.9)
            mean = F.normalize(classes[list(indices)].mean(0), dim=0)
            vectors[row[offset]] = F.normalize(
                share * mean + (1 - share) * vectors[row[offset]], dim=0
            )
            kinds[row[offset]] = HYPERNYM
    for index, offset in enumerate(class_offsets):
        vectors[row[offset]], kinds[row[offset]] = classes[index], CLASS

    nouns, noun_kinds, visibility = _nouns(sources, teacher, offsets, lemma_vectors, vectors, kinds)
    parents = [
        [
            (synsets[a].lemmas[0], row[a])
            for a in sorted(ancestors(o))
            if a != o and a in row and 2 <= len(below[a]) <= 250
        ]
        for o in class_offsets
    ]

    def single_words(part: dict[str, Synset]) -> Words:
        texts = sorted({w for s in part.values() for w in s.lemmas if is_plain(w) and " " not in w})
        embedded = encode(sentences, texts)
        return Words(texts, teacher(embedded, embedded))

    return Targets(
        classes=classes,
        class_glosses=[synsets[o].gloss.split("; ")[0] for o in class_offsets],
        class_parents=parents,
        synsets=vectors,
        glosses=[
            (synsets[o].gloss.split("; ")[0], i)
            for i, o in enumerate(offsets)
            if VISIBILITY.get(synsets[o].lexname, 0) >= 0.5 and len(synsets[o].gloss) < 160
        ],
        nouns=nouns,
        noun_kinds=noun_kinds,
        noun_visibility=visibility,
        adjectives=single_words(sources.adjectives),
        verbs=single_words(sources.verbs),
    )


def _synset_vectors(
    teacher: Teacher,
    synsets: dict[str, Synset],
    offsets: list[str],
    lemma_vectors: dict[str, torch.Tensor],
    definition_vectors: torch.Tensor,
    below: dict[str, set[int]],
    ancestors: Callable[[str], frozenset[str]],
) -> torch.Tensor:
    """The teacher's vector for every synset [S, dim], closeness counted in shared WordNet
    ancestors.
    """
    seen = sorted(below)
    column = {a: i for i, a in enumerate(seen)}
    member = torch.zeros(1000, len(seen))
    for ancestor, indices in below.items():
        member[list(indices), column[ancestor]] = 1
    information = torch.log(1000 / member.sum(0))  # of sharing that ancestor with a class, in nats
    names = torch.stack(
        [
            lemma_vectors.get(synsets[o].lemmas[0], d)
            for o, d in zip(offsets, definition_vectors, strict=True)
        ]
    )
    chunks = []
    for start in range(0, len(offsets), 512):
        rows = range(start, min(start + 512, len(offsets)))
        closeness = torch.zeros(len(rows), 1000)
        for i, r in enumerate(rows):
            shared = [column[a] for a in ancestors(offsets[r]) if a in column]
            if shared:
                closeness[i] = (member[:, shared] * information[shared]).amax(1)
        chunks.append(
            teacher(
                names[rows.start : rows.stop], definition_vectors[rows.start : rows.stop], closeness
            )
        )
    return torch.cat(chunks)


def _nouns(
    sources: Sources,
    teacher: Teacher,
    offsets: list[str],
    lemma_vectors: dict[str, torch.Tensor],
    vectors: torch.Tensor,
    kinds: list[int],
) -> tuple[Words, list[int], list[float]]:
    """One vector for each lemma that is no class name itself: its senses' mean, frequent and
    visible ones first.
    """
    synsets, senses = sources.nouns, sources.noun_senses
    rows = defaultdict(list)
    for i, offset in enumerate(offsets):
        for lemma in synsets[offset].lemmas:
            if lemma in lemma_vectors:
                rows[lemma].append(i)
    taken = {name.lower() for name in IMAGENET_CLASSNAMES}
    texts, means, best_kinds, visibility = [], [], [], []
    for lemma, indices in rows.items():
        if lemma.lower() in taken:
            continue
        order = senses.get(lemma.lower(), [])
        mean = torch.zeros(vectors.shape[1])
        for i in indices:
            rank = order.index(offsets[i]) + 1 if offsets[i] in order else 3
            trust = {CLASS: 3.0, HYPERNYM: 1.5, OTHER: 1.0}[kinds[i]]
            mean += trust / rank * VISIBILITY.get(synsets[offsets[i]].lexname, HIDDEN) * vectors[i]
        texts.append(lemma)
        means.append(F.normalize(mean, dim=0))
        best_kinds.append(max(kinds[i] for i in indices))
        visibility.append(max(VISIBILITY.get(synsets[offsets[i]].lexname, HIDDEN) for i in indices))
    mixed = torch.stack(means)
    # A word's senses say what WordNet knows, its embedding what people mean by it most.
    plain = torch.tensor([kind == OTHER for kind in best_kinds])
    embedded = torch.stack([lemma_vectors[text] for text in texts])[plain]
    mixed[plain] = F.normalize(mixed[plain] + teacher(embedded, embedded), dim=1)
    return Words(texts, mixed), best_kinds, visibility
