"""A start for the search, learned from words alone: Reptile over made-up tasks.

The device cannot differentiate its text tower, the workstation can. Reptile (Nichol, Achiam and
Schulman, 2018) moves a context towards where a few gradient steps take it in one task after the
other, so that in the end little is left to do in a new one. No photo is needed: a task's classes
are words, and its photos are mixtures of the words' own text features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from open_clip import IMAGENET_CLASSNAMES
from torch import Tensor
from torch.nn import functional as F

from edge_sharpzo.clip.card import ModelCard
from edge_sharpzo.clip.prompts import DEFAULT_WORDS, Prompts
from edge_sharpzo.clip.text_tower import CHUNK_TOKENS, chunks, pack
from edge_sharpzo.tuning.methods.gauss_newton import CONTEXT_TOKENS
from export.source import ExportError
from export.towers import DenseTextTower, PackedTextTower, TokenTable

# Tasks, for towers of up to so many parameters; larger ones get fewer in proportion, down to the
# fewest, since each takes them longer.
TASKS, FEWEST_TASKS, FULL_PARAMETERS = 250, 60, 12_000_000
STEPS = 15  # of Adam in a task
LEARNING_RATE = 0.7  # of Adam, in standard deviations of the token embeddings
BETAS = (0.9, 0.99)
META_STEP = 1.0  # of Reptile in the first task; it falls linearly to 0
SAID_EVERY = 50  # tasks between two lines of progress

FEWEST_CLASSES, MOST_CLASSES, SHOTS = 4, 30, 8
NEAR = 4  # near words per class among which the classes of a fine-grained task are drawn
FEWEST_WORDS = NEAR * MOST_CLASSES
# Cosine between what sets a class's photos apart and what sets its word apart.
WORD_SHARE = (0.05, 0.6)
COMMON_SHARE = (0.3, 0.7)  # squared share of a class mean that all classes have in common
CLOSENESS = (0.5, 0.8)  # cosine between a photo and its class's mean
NOISE_MEAN = 1.4  # of the two words' mean that is taken out of the rest of a photo
TEMPLATE = f"{DEFAULT_WORDS} {{}}."  # whose features the photos are mixed of
# What follows a class's name, as templates have it; the words before it are what is learned.
ENDINGS = (".", ".", ".", " texture.", " outside.")


@dataclass(frozen=True)
class Task:
    """A made-up task of K classes."""

    words: np.ndarray  # which words the classes are [K]
    ending: str  # behind each class's name
    photos: np.ndarray  # features [K * SHOTS, D], float32, L2-normalised
    labels: np.ndarray  # [K * SHOTS]


class TaskMaker:
    """Makes tasks out of the text features of words.

    Photos of a set share a domain: a mean that some words pull away from that of all words. A
    class differs from it partly as its word does and partly as two other words do, for a name says
    little of how photos look. A photo is near its class's mean; the rest of it are other words'
    things. Half of the tasks have classes that resemble each other.
    """

    def __init__(self, features: np.ndarray, seed: int):
        """`features` [N, D] of at least `FEWEST_WORDS` words, L2-normalised."""
        self._features = features
        self._mean = features.mean(0)
        self._apart = features - self._mean
        self._directions = _unit(self._apart)
        self._rng = np.random.default_rng([seed, 0x57])

    def task(self) -> Task:
        """The next task."""
        rng, count = self._rng, int(self._rng.integers(FEWEST_CLASSES, MOST_CLASSES + 1))
        words = self._drawn_words(count)
        means = self._class_means(words)
        labels = np.repeat(np.arange(count), SHOTS)
        others = self._features[self._some(len(labels), 2)].sum(1)
        rest = _unit(others - NOISE_MEAN * self._mean)
        closeness = rng.uniform(*CLOSENESS)
        photos = _unit(closeness * means[labels] + np.sqrt(1 - closeness**2) * rest)
        ending = ENDINGS[rng.integers(len(ENDINGS))]
        return Task(words, ending, photos.astype(np.float32), labels)

    def _some(self, *shape: int) -> np.ndarray:
        return self._rng.integers(len(self._features), size=shape)

    def _drawn_words(self, count: int) -> np.ndarray:
        """Any words, or in half of the tasks some of those nearest to one."""
        rng = self._rng
        if rng.random() < 0.5:
            return rng.permutation(len(self._features))[:count]
        nearness = self._directions @ self._directions[self._some()]
        return rng.permutation(np.argsort(-nearness)[: NEAR * count])[:count]

    def _class_means(self, words: np.ndarray) -> np.ndarray:
        """Where the photos of each class lie about [K, D], L2-normalised."""
        rng, size = self._rng, np.linalg.norm(self._mean)
        own, chosen = rng.uniform(*WORD_SHARE), self._features[words]
        strange = _unit(self._directions[self._some(len(words), 2)].sum(1))
        apart = _unit(own * _unit(chosen - chosen.mean(0)) + np.sqrt(1 - own**2) * strange)
        pull = rng.uniform(0, 1) * size * _unit(self._apart[self._some(3)].sum(0))
        common = rng.uniform(*COMMON_SHARE)
        return _unit(np.sqrt(common) * _unit(self._mean + pull) + np.sqrt(1 - common) * apart)


class WordTower:
    """The text tower of the workstation for words as classes, differentiable in the context."""

    def __init__(
        self, tower: PackedTextTower, table: TokenTable, prompts: Prompts, words: Sequence[str]
    ):
        """All four are left as they are, but for the towers' gradients, which are switched off."""
        self._tower = tower.eval().requires_grad_(False)
        self._table, self._prompts, self._words = table, prompts, words

    def embedded(self, ids: Sequence[int]) -> Tensor:
        """Token embeddings [T, W]."""
        return self._table(torch.tensor(list(ids), dtype=torch.long))

    def features(self, context: Tensor, classes: Sequence[Sequence[int]]) -> Tensor:
        """Text features [K, D] of classes' token ids behind a context [n, W]."""
        packing = pack(classes, 1 + len(context))
        names = self.embedded(packing.ids.tolist())
        inputs = (packing.positions, packing.mask, packing.eot)
        return self._tower(context[None], names, *map(torch.from_numpy, inputs))[0]

    def word_features(self) -> np.ndarray:
        """Text features [N, D] of all words in `TEMPLATE`, float64."""
        rows = self._prompts.as_written(self._words, TEMPLATE)
        nothing = self.embedded([])
        parts = [self.features(nothing, rows[each]) for each in chunks(rows, CHUNK_TOKENS)]
        return torch.cat(parts).double().numpy()

    def classes(self, task: Task) -> list[list[int]]:
        """Token ids of the task's classes behind the context."""
        names = [self._words[i] + task.ending for i in task.words]
        return [[*self._prompts.encode(name), *self._prompts.end] for name in names]


def adapted(
    tower: WordTower, task: Task, context: Tensor, unit: float, scale: float
) -> tuple[Tensor, float, float]:
    """Where `STEPS` of Adam take `context` [n, W] in a task.

    The shift [n, W] in units of `unit`, and the losses before the first and the last step. `scale`
    is the logit scale.
    """
    classes, labels = tower.classes(task), torch.from_numpy(task.labels)
    photos = torch.from_numpy(task.photos)
    shift = torch.zeros_like(context, requires_grad=True)
    adam = torch.optim.Adam([shift], LEARNING_RATE, BETAS)
    losses = []
    for _ in range(STEPS):
        text = tower.features(context + unit * shift, classes)
        loss = F.cross_entropy(scale * photos @ text.T, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    return shift.detach(), losses[0], losses[-1]


def fitting_words(prompts: Prompts) -> list[str]:
    """The words whose prompts the model can read whole, each once."""
    longest = max(ENDINGS, key=len)
    room = prompts.context_length - len(prompts.start) - CONTEXT_TOKENS - len(prompts.end)
    names = dict.fromkeys(IMAGENET_CLASSNAMES)
    return [name for name in names if len(prompts.encode(name + longest)) <= room]


def usual_tasks(tower: PackedTextTower) -> int:
    """How many tasks a tower of this size learns from."""
    parameters = sum(each.numel() for each in tower.parameters())
    return max(FEWEST_TASKS, round(TASKS * min(1.0, FULL_PARAMETERS / parameters)))


def learned_start(
    tower: PackedTextTower | DenseTextTower,
    table: TokenTable,
    prompts: Prompts,
    card: ModelCard,
    *,
    tasks: int | None = None,
    seed: int = 0,
) -> np.ndarray | None:
    """Context vectors [CONTEXT_TOKENS, W], float32, from which prompts of new tasks are near.

    None, which is said, for a dense tower, in which a step would take a hundred times as long, and
    where the model reads too few tokens for prompts of that length. `tasks` are as many as
    `usual_tasks` if not given. Raises ExportError where the model's numbers are none.
    """
    words = fitting_words(prompts)
    if not isinstance(tower, PackedTextTower) or len(words) < FEWEST_WORDS:
        print("  no learned start of the search: the text tower is dense, or reads few tokens")
        return None
    tasks = usual_tasks(tower) if tasks is None else tasks
    of_words = WordTower(tower, table, prompts, words)
    first_ids = prompts.for_tuning([], TEMPLATE, CONTEXT_TOKENS).context
    start, unit = of_words.embedded(first_ids).clone(), card.text.embedding_std
    maker = TaskMaker(of_words.word_features(), seed)
    losses = []
    for done in range(tasks):
        shift, *loss = adapted(of_words, maker.task(), start, unit, card.logit_scale)
        start += META_STEP * (1 - done / tasks) * unit * shift
        losses.append(loss)
        if (done + 1) % SAID_EVERY == 0:
            before, after = np.mean(losses[-SAID_EVERY:], axis=0)
            said = f"loss {before:.2f}, after {STEPS} steps {after:.2f}"
            print(f"  start of the search: {done + 1} of {tasks} made-up tasks, {said}", flush=True)
    if not torch.isfinite(start.half()).all():
        raise ExportError(
            "the learned start of the search is no finite numbers: check the weights, or leave it "
            "out with --no-search-space"
        )
    return start.numpy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    """L2-normalised along the last axis; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
