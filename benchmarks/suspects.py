"""Labels that are wrong: how many of those that were changed at random are found.

`python -m benchmarks.suspects --data DIR`; DIR holds the sets. A draw has 8 or 16 photos of each
class, or all that there are. Some labels are changed to others, each as likely. `results/
suspects.json` has every draw: how many of the changed ones are among the first that are suspect
(ten of five; of a tenth and a fifth of all labels as many as were changed), by the shipped way and
by others, and how many are named, rightly and not. Seconds, once the photos are encoded.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.accuracy import set_names
from benchmarks.whole_sets import WholeSet, options_for, whole_set, write
from edge_sharpzo.classifier.heads import RIDGE_STRENGTHS, text_gda
from edge_sharpzo.classifier.leave_one_out import left_out_logits
from edge_sharpzo.classifier.suspects import judged
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.system.machine import usable_cores

RESULTS = Path("benchmarks/results/suspects.json")
SHOTS = (8, 16, None)
SEEDS = 10
CHANGED: tuple[int | float, ...] = (5, 0.1, 0.2)  # labels, or a share of them
FIRST = 10  # of the suspects, among which five are looked for


def changed(
    labels: np.ndarray, classes: int, many: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The labels with `many` of them changed, and which these are."""
    rng = np.random.default_rng([seed, 77])
    places = rng.choice(len(labels), many, replace=False)
    wrong = labels.copy()
    for place in places:
        wrong[place] = rng.choice([k for k in range(classes) if k != labels[place]])
    return wrong, places


def ridge_margin(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """By how much ridge regression, left one out in closed form, prefers another class [N]."""
    wanted = np.eye(len(text))[labels]
    x, centred = (features - features.mean(axis=0)).astype(np.float64), wanted - wanted.mean(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)

    def without(strength: float) -> np.ndarray:
        shrink = s**2 / (s**2 + strength)
        left = np.maximum(1 - (u**2 @ shrink) - 1 / len(x), 1e-6)
        residual = (centred - (u * shrink) @ (u.T @ centred)) / left[:, None]
        return np.asarray(wanted - residual)

    best = min(map(without, RIDGE_STRENGTHS), key=lambda each: float(((wanted - each) ** 2).mean()))
    return _margin(best, labels)


def knn_margin(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """By how much the eight most similar photos prefer another class, by similarity [N]."""
    alike = features @ features.T
    np.fill_diagonal(alike, -9)
    nearest = np.argsort(-alike, axis=1)[:, :8]
    weight = np.exp((np.take_along_axis(alike, nearest, axis=1) - 1) / 0.1)
    votes = np.zeros((len(labels), len(text)))
    for column in range(nearest.shape[1]):
        votes[np.arange(len(labels)), labels[nearest[:, column]]] += weight[:, column]
    return _margin(votes / votes.sum(axis=1, keepdims=True), labels)


def zero_shot_margin(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """By how much the text prefers another class [N]."""
    return _margin(features @ text.T, labels)


def without_suspects(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """By how much the shipped head prefers another class, without those named at first [N]."""
    named = judged(features, labels, text).suspects()
    kept = np.ones(len(labels), bool)
    kept[named] = False
    kept |= ~np.isin(labels, labels[kept])  # no class goes
    logits = np.zeros((len(labels), len(text)))
    logits[kept] = left_out_logits(features[kept], labels[kept], text)
    logits[~kept] = text_gda(features[kept], labels[kept], text).logits(features[~kept])
    return _margin(logits, labels)


def _margin(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return np.asarray(others.max(axis=1) - scores[rows, labels])


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "ridge": ridge_margin,
    "8 nearest photos": knn_margin,
    "text alone": zero_shot_margin,
    "shipped, twice": without_suspects,
}


def measured(photos: WholeSet, shots: int | None, seed: int, many: int | float) -> dict[str, Any]:
    """One draw with changed labels, and as it was."""
    drawn = photos.drawn(shots, seed)
    features, labels, text = photos.features[drawn], photos.labels[drawn], photos.text
    number = many if isinstance(many, int) else round(many * len(labels))
    wrong, places = changed(labels, len(text), number, seed)
    found = judged(features, wrong, text)
    first = FIRST if isinstance(many, int) else number

    def share(scores: np.ndarray) -> float:
        hits = set(np.argsort(-scores, kind="stable")[:first].tolist()) & set(places.tolist())
        return len(hits) / number

    named = found.suspects()
    return {
        "photos": len(labels),
        "changed": number,
        "first": {"shipped": share(found.odds())}
        | {name: share(way(features, wrong, text)) for name, way in WAYS.items()},
        "named": len(named),
        "named_rightly": len(set(named) & set(places.tolist())),
        "named_unchanged": len(judged(features, labels, text).suspects()),
    }


def _title(shots: int | None) -> str:
    return "all" if shots is None else str(shots)


def _some(rows: Iterable[dict[str, Any]], shots: int | None, many: int | float) -> list[Any]:
    return [row for row in rows if (row["shots"], row["many"]) == (shots, many)]


def tables(rows: list[dict[str, Any]]) -> str:
    """By photos per class, then by share of wrong labels, then by way; Markdown."""
    sets = sorted({row["set"] for row in rows})
    text = f"Of five changed labels, found among the first {FIRST}:\n\n"
    text += f"| photos per class | {' | '.join(sets)} | mean |\n|{'---|' * (len(sets) + 2)}\n"
    for shots in SHOTS:
        means = [
            mean(5 * r["first"]["shipped"] for r in _some(rows, shots, 5) if r["set"] == name)
            for name in sets
        ]
        values = " | ".join(f"{value:.2f}" for value in (*means, mean(means)))
        text += f"| {_title(shots)} | {values} |\n"
    text += "\nMean of the sets, by how many labels were changed:\n\n"
    columns = ("photos per class", "changed", "first", "named", "rightly", "named unchanged")
    text += f"| {' | '.join(columns)} |\n"
    text += f"|{'---|' * 6}\n"
    for shots in SHOTS:
        for many in CHANGED:
            some = _some(rows, shots, many)
            first = 100 * mean(row["first"]["shipped"] for row in some)
            found = 100 * mean(row["named_rightly"] / row["changed"] for row in some)
            right = 100 * sum(r["named_rightly"] for r in some) / sum(r["named"] for r in some)
            clean = 100 * mean(row["named_unchanged"] / row["photos"] for row in some)
            share = "five" if many == 5 else f"{100 * many:.0f} %"
            shown = f"{first:.0f} % | {found:.0f} % | {right:.0f} % | {clean:.1f} %"
            text += f"| {_title(shots)} | {share} | {shown} |\n"
    text += "\nOf five changed labels, by other ways, mean of the sets:\n\n"
    text += (
        "| photos per class | shipped | " + " | ".join(WAYS) + f" |\n|{'---|' * (len(WAYS) + 2)}\n"
    )
    for shots in SHOTS:
        some = _some(rows, shots, 5)
        values = " | ".join(
            f"{mean(5 * row['first'][way] for row in some):.2f}" for way in ("shipped", *WAYS)
        )
        text += f"| {_title(shots)} | {values} |\n"
    return text


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that `main` wrote."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf8"))["rows"]
    return rows


def main() -> None:
    """Measures all draws and writes the tables."""
    options = options_for(__doc__, RESULTS)
    clip, rows = ClipOnnx(options.onnx, usable_cores()), list[dict[str, Any]]()
    for name in set_names(options.data):
        photos = whole_set(clip, options.data / name)
        for shots in SHOTS:
            for many in CHANGED:
                for seed in range(SEEDS):
                    cell = {"set": name, "shots": shots, "many": many, "seed": seed}
                    rows.append(cell | measured(photos, shots, seed, many))
    write(options.out, rows, tables(rows))


if __name__ == "__main__":
    main()
