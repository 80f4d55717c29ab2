"""Base to new: a half of a set's classes is tuned on, the others are known by their names alone.
Can be stopped at any time and started again.

`python -m benchmarks.base_to_new --data DIR`; DIR holds the sets. Each finished run is one line of
`results/base_to_new.jsonl`; the table is made from those lines. As in CoCoOp (Zhou et al., CVPR
2022) *base* is the accuracy on photos of the classes tuned on, among these, *new* that on photos of
the others, among those, and H their harmonic mean. Besides, both among all classes.
"""

import json
import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.accuracy import Cell, append, read_results, run_options, set_names
from benchmarks.machine import describe_machine
from benchmarks.sets import encoded, preferred, template_of, with_method
from edge_sharpzo.classifier.calibration import calibration_error
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.encoders import template_features
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.photos.found import TEST, Found, find_photos
from edge_sharpzo.pipeline import Found as FoundPrompt
from edge_sharpzo.pipeline import Prepared, finish, objective_of
from edge_sharpzo.pipeline.search import template_encoder
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.tuning.budget import Budget
from edge_sharpzo.tuning.loop import run_loop
from edge_sharpzo.tuning.loss import share_right, softmax
from edge_sharpzo.tuning.methods.plan import Request

RESULTS = Path("benchmarks/results/base_to_new.jsonl")
BUDGETS = {"zero-shot": 0, "gauss-newton": 5000, "sharpzo": 5000, "gradient": 0}


@dataclass(frozen=True)
class Line:
    """A row of the table: accuracies of a result by their keys in it."""

    title: str
    method: str
    kind: str = ""


LINES = (
    Line("template", "zero-shot"),
    Line("gradient CoOp", "gradient"),
    Line("SharpZO, 5,000 queries", "sharpzo"),
    Line("default, prompt alone, 5,000 queries", "gauss-newton"),
    Line("template and head, nothing tuned", "zero-shot", "classifier_"),
    Line("default, the classifier", "gauss-newton", "classifier_"),
    Line("the same without its readiness", "gauss-newton", "unready_"),
)
COLUMNS = ("base", "new", "H", "base_of_all", "new_of_all", "H_of_all")


def halved(found: Found, seed: int) -> Found:
    """The classes of a set, of which a half drawn by `seed` has no photos but held-out ones."""
    order = np.random.default_rng(seed).permutation(len(found.names))
    base = (len(order) + 1) // 2
    order = np.concatenate([np.sort(order[:base]), np.sort(order[base:])])
    labels = np.argsort(order)[found.photos.labels]
    kept = np.flatnonzero((labels < base) | (found.parts == TEST))
    return replace(
        found,
        folders=[found.folders[k] for k in order],
        names=[found.names[k] for k in order],
        photos=replace(found.photos, labels=labels).at(kept),
        parts=found.parts[kept],
        bare={found.folders[k]: found.root for k in order[base:]},
    )


def measured(method: str, budget: int, problem: Prepared, source: str) -> dict[str, Any]:
    """Accuracies of a method's prompt, and of the classifier that is made of it."""
    task = problem.task
    width = task.clip.card.text.width
    written = template_features(template_encoder(task), width)
    base, new = np.split(written, [task.found.learnt])
    found = FoundPrompt(np.zeros((0, width), np.float32), base, base, written)
    if method == "gradient":
        from benchmarks.gradient import trained

        context = trained(source, problem)[1]
        tuned = TextTower(task.clip, task.prompt.classes, len(context))(context[None])[0]
        found, new = replace(found, text=tuned, validated_text=tuned), _new(problem, context)
    elif method != "zero-shot":
        chosen = preferred(task.clip, method, Request(budget=budget))
        problem = with_method(problem, chosen)
        objective = objective_of(problem)
        outcome = run_loop(
            objective,
            chosen.make(objective.dim, objective.loss, task.options.seed),
            problem.splits.val,
            Budget(chosen.budget),
            chosen.criterion,
        )
        context = objective.contexts(outcome.best.point[None])[0]
        found = FoundPrompt(context, outcome.best.text, outcome.validated.text, written)
        new = _new(problem, context)
    features = problem.splits.test.features
    told = _shares(problem, features @ np.concatenate([found.text, new]).T, "")
    if method not in ("zero-shot", "gauss-newton"):
        return told
    prompt = finish(problem, found).prompt
    logits = prompt.logits(features)
    assert prompt.by_name
    unready = logits.copy()
    unready[:, len(base) :] -= prompt.by_name.readiness / prompt.calibration.temperature
    labels = problem.splits.test.labels
    error = calibration_error(softmax(logits), labels)
    told |= _shares(problem, logits, "classifier_") | _shares(problem, unready, "unready_")
    return {**told, "calibration_error": error, "sure": _sure(prompt.calibration.threshold, logits)}


def _new(problem: Prepared, context: np.ndarray) -> np.ndarray:
    """Text features [M, D] of the classes without photos in a tuned context [n_ctx, W]."""
    task = problem.task
    names, template = task.found.names[task.found.learnt :], task.options.template
    rows = task.clip.prompts.for_tuning(names, template, len(context)).classes
    return TextTower(task.clip, rows, len(context))(context[None])[0]


def _shares(problem: Prepared, logits: np.ndarray, kind: str) -> dict[str, float | None]:
    """What is right of held-out photos, by logits [N, K + M]."""
    labels, found = problem.splits.test.labels, problem.task.found
    of_new = labels >= found.learnt
    among_all = WithoutPhotos.measured(found.folders[found.learnt :], logits, labels)
    assert among_all
    return {
        f"{kind}base": among_all.others_alone,
        f"{kind}new": share_right(logits[of_new, found.learnt :], labels[of_new] - found.learnt),
        f"{kind}base_of_all": among_all.others_right,
        f"{kind}new_of_all": among_all.right,
    }


def _sure(threshold: float | None, logits: np.ndarray) -> float:
    """The share of answers that are sure."""
    return float((softmax(logits).max(axis=1) >= (threshold or 0)).mean())


def harmonic(first: float, second: float) -> float:
    """The harmonic mean; 0 where one is."""
    return 2 * first * second / (first + second) if first and second else 0.0


def figures(entries: Iterable[dict[str, Any]], kind: str) -> list[float]:
    """`COLUMNS` in per cent, each the mean of some runs of one set."""
    rows = []
    for entry in entries:
        base, new, base_all, new_all = (
            100 * entry[f"{kind}{key}"] for key in ("base", "new", "base_of_all", "new_of_all")
        )
        rows.append(
            [base, new, harmonic(base, new), base_all, new_all, harmonic(base_all, new_all)]
        )
    return [mean(column) for column in zip(*rows, strict=True)]


def table(results: dict[Cell, dict[str, Any]], shots: int, sets: list[str]) -> str:
    """A row for each of `LINES` that all `sets` have runs of: means of these; Markdown."""
    title = "| | seeds | base | new | H | base, among all | new, among all | H |"
    rows = [title, f"|{'---|' * 8}"]
    for line in LINES:
        by_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for cell, entry in results.items():
            if (cell.method, cell.shots) == (line.method, shots) and cell.set in sets:
                by_set[cell.set].append(entry)
        if len(by_set) == len(sets):
            means = zip(*(figures(found, line.kind) for found in by_set.values()), strict=True)
            values = " | ".join(f"{mean(column):.1f}" for column in means)
            seeds = min(map(len, by_set.values()))
            rows.append(f"| {line.title} | {seeds} | {values} |")
    return "\n".join(rows) + "\n"


def tables(results: dict[Cell, dict[str, Any]]) -> str:
    """For each number of shots the mean of the sets, then each set."""
    sets = sorted({cell.set for cell in results})
    text = ""
    for shots in sorted({cell.shots for cell in results}, reverse=True):
        for title, some in [
            (f"Mean of {len(sets)} sets", sets),
            *((name, [name]) for name in sets),
        ]:
            text += f"{title}, {shots} photos per class:\n\n{table(results, shots, some)}\n"
    return text


def main() -> None:
    """Runs what is missing and writes the tables."""
    parser = run_options(__doc__, RESULTS)
    parser.set_defaults(shots=[16, 4])
    parser.add_argument("--methods", default=",".join(BUDGETS))
    options = parser.parse_args()
    sets = set_names(options.data)
    clip, machine = ClipOnnx(options.onnx, usable_cores()), describe_machine()
    results = read_results(options.out)
    for method in options.methods.split(","):
        for cell in (
            Cell(method, name, seed, BUDGETS[method], shots)
            for shots in options.shots
            for seed in options.seeds
            for name in sets
        ):
            if cell in results:
                continue
            folder = options.data / cell.set
            found = halved(find_photos(folder), cell.seed)
            problem = encoded(clip, found, template_of(folder), cell.shots, cell.seed)
            told = measured(method, cell.budget, problem, f"local-dir:{options.onnx.parent}")
            results[cell] = {"cell": asdict(cell), **told, "machine": machine}
            append(options.out, results[cell])
            print(json.dumps(results[cell]), flush=True)
    text = tables(results)
    options.out.with_suffix(".md").write_text(text, encoding="utf8")
    print(text)


if __name__ == "__main__":
    main()
