"""Whether more photos of the class that is named to want them help more than of any other.

`python -m benchmarks.wanting --data DIR`; DIR holds the sets. From 4 or 8 photos of each class one
class gets as many again, and the held-out accuracy of the head tells what that was worth: of the
class that `wanting` names, on average of all, of the best, and of that which is named by other
rules. `results/wanting.json` has every draw. Seconds, once the photos are encoded.
"""

from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.accuracy import set_names
from benchmarks.whole_sets import WholeSet, options_for, whole_set, write
from edge_sharpzo.classifier.calibration import likeliest_temperature
from edge_sharpzo.classifier.heads import text_gda
from edge_sharpzo.classifier.suspects import WRONG, Judgement, judged
from edge_sharpzo.classifier.wanting import wanting
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.tuning.loss import softmax

RESULTS = Path("benchmarks/results/wanting.json")
SHOTS, SEEDS = (4, 8), 20
# By which a class is named: the errors expected of its photos, each left out, their number,
# how fast they fall from half of the photos to all, and what they are with half.
RULES = ("expected errors", "wrong answers", "slope over shots", "errors with half")


def _by_class(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(np.bincount(labels, values) / np.bincount(labels))


def with_half(found: Judgement, photos: WholeSet, drawn: np.ndarray) -> np.ndarray:
    """Expected errors [K] of heads that have half of the photos, by the other half."""
    order = np.arange(len(drawn)) - np.searchsorted(found.labels, found.labels)
    errors = np.zeros(len(drawn))
    for part in (0, 1):
        here = order % 2 == part
        head = text_gda(photos.features[drawn[~here]], found.labels[~here], photos.text)
        logits = head.logits(photos.features[drawn[here]])
        labels = found.labels[here]
        p = softmax(logits / (likeliest_temperature(logits, labels, WRONG) or 1.0))
        errors[here] = 1 - p[np.arange(len(labels)), labels]
    return _by_class(errors, found.labels)


def ranked(found: Judgement, photos: WholeSet, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """How much each class [K] wants photos, by the rule of `wanting` and by others."""
    errors, half = _by_class(found.missing, found.labels), with_half(found, photos, drawn)
    wrong = _by_class((found.odds() > 1).astype(float), found.labels)
    return dict(zip(RULES, (errors, wrong, half - errors, half), strict=True))


def measured(photos: WholeSet, shots: int, seed: int) -> dict[str, Any]:
    """Gains in held-out accuracy, in points, of one draw."""
    twice, test = photos.drawn(2 * shots, seed), photos.held_out()
    labels = photos.labels[twice]
    second = np.arange(len(twice)) - np.searchsorted(labels, labels) >= shots

    def accuracy(drawn: np.ndarray) -> float:
        head = text_gda(photos.features[drawn], photos.labels[drawn], photos.text)
        right = head.logits(photos.features[test]).argmax(axis=1) == photos.labels[test]
        return 100 * float(right.mean())

    drawn = twice[~second]
    before = accuracy(drawn)
    gains = [accuracy(twice[~second | (labels == k)]) - before for k in range(len(photos.text))]
    found = judged(photos.features[drawn], photos.labels[drawn], photos.text)
    named = wanting(found)
    return {
        "named": None if named is None else gains[named],
        "any": mean(gains),
        "best": max(gains),
    } | {rule: gains[int(by.argmax())] for rule, by in ranked(found, photos, drawn).items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Means of the sets, and each set; Markdown."""
    columns = ("any", *RULES, "best")
    text = f"| photos | from | draws with a name | named | any then | {' | '.join(columns)} |\n"
    text += f"|{'---|' * (5 + len(columns))}\n"
    sets = sorted({row["set"] for row in rows})
    for shots in SHOTS:
        for title, some in (*((name, [name]) for name in sets), ("all", sets)):
            mine = [r for r in rows if r["shots"] == shots and r["set"] in some]
            clear = [row for row in mine if row["named"] is not None]
            named, then = (
                f"{mean(row[key] for row in clear):.2f}" if clear else "-"
                for key in ("named", "any")
            )
            means = " | ".join(f"{mean(row[key] for row in mine):.2f}" for key in columns)
            share = f"{100 * len(clear) / len(mine):.0f} %"
            text += f"| {title} | {shots} | {share} | {named} | {then} | {means} |\n"
    return text


def main() -> None:
    """Measures all draws and writes the table."""
    options = options_for(__doc__, RESULTS)
    clip, rows = ClipOnnx(options.onnx, usable_cores()), list[dict[str, Any]]()
    for name in set_names(options.data):
        photos = whole_set(clip, options.data / name)
        for shots in SHOTS:
            for seed in range(SEEDS):
                cell = {"set": name, "shots": shots, "seed": seed}
                rows.append(cell | measured(photos, shots, seed))
    write(options.out, rows, table(rows))


if __name__ == "__main__":
    main()
