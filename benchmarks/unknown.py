"""Who tells photos of none of the classes from those of the classes: scores against each other.

`python -m benchmarks.unknown --data DIR [--onnx FILE] [--out FILE]`; DIR holds the sets. *Foreign*
photos are the held-out ones of the other sets; *near* ones are of classes of the same set, a third
of which are taken away. AUROC, and the share of such photos that pass where 95 % of the held-out
photos of the classes do, which no threshold that one could set knows of; and what `tune` sets.
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.accuracy import set_names
from benchmarks.whole_sets import WholeSet, options_for, whole_set, write
from edge_sharpzo.classifier.heads import leaning_gaussians, text_gda
from edge_sharpzo.classifier.known import Known, known_photos, log_sum
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.photos.draw import MAX_VALIDATION_SHOTS
from edge_sharpzo.photos.found import POOL, find_photos
from edge_sharpzo.photos.labelled import Split, Splits
from edge_sharpzo.pipeline.prepare import WORDS
from edge_sharpzo.tuning.loss import softmax

RESULTS = Path("benchmarks/results/unknown.json")
SHOTS, SEEDS, KEEP = (1, 4, 16), (0, 1, 2), 0.95
FOREIGN, NEAR = "foreign", "near"
EVERY = 10**6
BACKGROUNDS = {FOREIGN: (20, 100, 300, EVERY), NEAR: (20,)}  # photos
OURS = "ours"
SCORERS = (
    "MCM",
    "largest cosine of text",
    "energy of text",
    "NegLabel",
    "largest probability of the head",
    "third-nearest photo",
    "Mahalanobis",
    OURS,
)


@dataclass(frozen=True)
class Problem:
    """One draw of a set, and photos that are none of its classes."""

    train: Split
    val: Split  # others of the pool, as a run draws them; none with 16 shots
    test: Split
    text: np.ndarray  # of the classes [K, D]
    words: np.ndarray  # [M, D]
    strangers: np.ndarray  # [F, D]
    far: np.ndarray  # held-out photos of the other sets, whatever the strangers are
    background: np.ndarray  # that may be learnt from, in random order [B, D]


def problems(
    sets: dict[str, WholeSet], words: np.ndarray, name: str, kind: str, shots: int, seed: int
) -> Problem:
    """The draw of the set `name`; photos of other sets, or of classes that are taken away."""
    mine, rng = sets[name], np.random.default_rng([seed, 1])
    classes = len(mine.text)
    kept = np.arange(classes)
    if kind == NEAR:
        kept = np.sort(rng.permutation(classes)[max(1, classes // 3) :])
    label = np.full(classes, -1)
    label[kept] = np.arange(len(kept))
    drawn, held_out = mine.drawn(shots, seed), mine.held_out()
    more = np.setdiff1d(mine.drawn(shots + min(shots, MAX_VALIDATION_SHOTS), seed), drawn)

    def split(places: np.ndarray) -> Split:
        places = places[label[mine.labels[places]] >= 0]
        return Split(mine.features[places], label[mine.labels[places]])

    others = [each for other, each in sets.items() if other != name]
    far = np.concatenate([each.features[each.held_out()] for each in others])
    if kind == NEAR:
        gone = label[mine.labels] < 0
        strangers = mine.features[held_out[gone[held_out]]]
        background = rng.permutation(mine.features[gone & (mine.parts == POOL)])
    else:
        strangers = far
        background = _spread(rng, [each.features[each.parts == POOL] for each in others])
    return Problem(
        *(split(drawn), split(more), split(held_out)),
        *(mine.text[kept], words, strangers, far, background),
    )


def _spread(rng: np.random.Generator, pools: list[np.ndarray]) -> np.ndarray:
    """The photos of all pools in random order, at first as many of each; then those left."""
    each = min(map(len, pools))
    mixed = [rng.permutation(pool) for pool in pools]
    first = np.concatenate([pool[:each] for pool in mixed])
    rest = np.concatenate([pool[each:] for pool in mixed])
    return np.concatenate([rng.permutation(first), rng.permutation(rest)])


def known_with(problem: Problem, scale: float, background: int) -> Known | None:
    """The score as `tune` makes it, with so many background photos."""
    nothing = Split(problem.train.features[:0], problem.train.labels[:0])
    found = known_photos(
        Splits(problem.train, problem.val, problem.test, nothing),
        problem.text,
        problem.words,
        problem.background[:background],
        scale,
        KEEP,
    )
    return found.known if found else None


def scorers(problem: Problem, scale: float) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Each score by name; higher is better known. Ours is there where it can be."""
    features, text = problem.train.features, problem.text
    means, precision, _ = leaning_gaussians(*problem.train, text)
    head = text_gda(*problem.train, text)

    def mahalanobis(x: np.ndarray) -> np.ndarray:
        apart = x[:, None] - means
        return -np.einsum("nkd,nkd->nk", apart @ precision, apart).min(axis=1)

    def neglabel(x: np.ndarray) -> np.ndarray:
        return log_sum(scale * x @ text.T) - log_sum(scale * x @ problem.words.T)

    found = dict(
        zip(
            SCORERS,
            (
                lambda x: softmax(scale * x @ text.T).max(axis=1),
                lambda x: (x @ text.T).max(axis=1),
                lambda x: log_sum(scale * x @ text.T),
                neglabel,
                lambda x: softmax(head.logits(x)).max(axis=1),
                lambda x: np.sort(x @ features.T, axis=1)[:, -min(3, len(features))],
                mahalanobis,
            ),
            strict=False,
        )
    )
    known = known_with(problem, scale, 0)
    return found | ({OURS: known.score} if known else {})


def auroc(known: np.ndarray, strangers: np.ndarray) -> float:
    """The probability that a known photo has the higher score; ties count half."""
    order = np.sort(strangers)
    below = np.searchsorted(order, known) + np.searchsorted(order, known, side="right")
    return float(below.mean() / 2 / len(strangers))


def measured(problem: Problem, scale: float, backgrounds: tuple[int, ...]) -> dict[str, Any]:
    """AUROC and what passes at 95 %, by score; and what thresholds do, by background photos."""
    told: dict[str, Any] = {"scores": {}, "thresholds": {}}
    for name, score in scorers(problem, scale).items():
        ours, strangers = score(problem.test.features), score(problem.strangers)
        passes = float((strangers >= np.quantile(ours, 1 - KEEP)).mean())
        told["scores"][name] = [auroc(ours, strangers), passes]
    head = text_gda(*problem.train, problem.text)
    right = head.logits(problem.test.features).argmax(axis=1) == problem.test.labels
    for many in (0, *backgrounds):
        if known := known_with(problem, scale, many):
            kept = known.score(problem.test.features) >= 0
            told["thresholds"][str(many)] = {
                "kept": float(kept.mean()),
                "right_and_kept": float((kept & right).mean()),
                "refused": float((known.score(problem.strangers) < 0).mean()),
                "far_refused": float((known.score(problem.far) < 0).mean()),
            }
    return told


def tables(rows: list[dict[str, Any]]) -> str:
    """Means over sets and seeds."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    head = [f"{shots} shot{'s' if shots > 1 else ''}" for shots in SHOTS]
    lines = []
    for kind in (FOREIGN, NEAR):
        lines += [f"| {kind}: AUROC / passes at 95 % kept | {' | '.join(head)} |"]
        lines += ["|---|" + "---|" * len(SHOTS)]
        for name in SCORERS:
            cells = []
            for shots in SHOTS:
                found = [
                    row["scores"][name]
                    for row in rows
                    if (row["kind"], row["shots"]) == (kind, shots) and name in row["scores"]
                ]
                many = sum((row["kind"], row["shots"]) == (kind, shots) for row in rows)
                pair = (100 * mean(each) for each in zip(*found, strict=True)) if found else ()
                cells.append(
                    " / ".join(f"{value:.1f}" for value in pair) if len(found) == many else "-"
                )
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    lines += [f"| refused / kept, 16 shots | {' | '.join(names)} | mean |"]
    lines += ["|---|" + "---|" * (len(names) + 1)]
    for kind, backgrounds in BACKGROUNDS.items():
        for many in (0, *backgrounds):
            cells = [_thresholds(rows, kind, many, (name,)) for name in names]
            cells.append(_thresholds(rows, kind, many, names))
            beside = f"{_many(many)} background photos" if many else "none"
            lines.append(f"| {kind}, {beside} | {' | '.join(cells)} |")
    for many in (0, *BACKGROUNDS[NEAR]):
        shares = [
            _thresholds(rows, NEAR, many, each, ("far_refused", "kept"))
            for each in (*((name,) for name in names), names)
        ]
        beside = f"{many} near background photos" if many else "the same without"
        lines.append(f"| foreign, {beside} | {' | '.join(shares)} |")
    lines.append("")
    costs = []
    for kind, backgrounds in BACKGROUNDS.items():
        for many in backgrounds:
            lost = [
                row["thresholds"]["0"]["right_and_kept"]
                - row["thresholds"][str(many)]["right_and_kept"]
                for row in rows
                if (row["kind"], row["shots"]) == (kind, 16)
            ]
            costs.append(f"{100 * mean(lost):.1f} with {_many(many)} {kind}")
    lines.append(
        f"Points of held-out photos right and kept that a background costs: {', '.join(costs)}."
    )
    return "\n".join(lines) + "\n"


def _many(background: int) -> str:
    return "all" if background == EVERY else str(background)


def _thresholds(
    rows: list[dict[str, Any]],
    kind: str,
    background: int,
    names: Sequence[str],
    keys: Sequence[str] = ("refused", "kept"),
) -> str:
    found = [
        row["thresholds"][str(background)]
        for row in rows
        if row["kind"] == kind and row["shots"] == 16 and row["set"] in names
    ]
    return " / ".join(f"{100 * mean(each[key] for each in found):.1f}" for key in keys)


def main() -> None:
    """Measures all sets and writes the table."""
    options = options_for(__doc__, RESULTS)
    clip = ClipOnnx(options.onnx)
    sets = {name: whole_set(clip, options.data / name) for name in set_names(options.data)}
    scale, rows = clip.card.logit_scale, []
    for name in sets:
        names = find_photos(options.data / name).names
        rows_of_words = clip.prompts.as_written(clip.prompts.words(WORDS, names), "{}")
        words = template_features(TextTower(clip, rows_of_words, 0), clip.card.text.width)
        for kind in (FOREIGN, NEAR):
            for shots in SHOTS:
                for seed in SEEDS:
                    problem = problems(sets, words, name, kind, shots, seed)
                    told = measured(problem, scale, BACKGROUNDS[kind])
                    rows.append({"set": name, "kind": kind, "shots": shots, "seed": seed, **told})
    write(options.out, rows, tables(rows))


if __name__ == "__main__":
    main()
