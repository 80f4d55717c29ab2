"""Accuracy over shots: closed-form classifiers, the tuned prompt and the finished classifier. Can
be stopped at any time and started again.

`python -m benchmarks.shots --data DIR`; DIR holds the sets. Each finished cell is one line of
`results/shots.jsonl`; the tables and the plot are made from those lines. `--methods` without
`gauss-newton` leaves out all that searches.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.accuracy import NO_QUERY, Cell, cell_options, read_results, run_missing, set_names

RESULTS = Path("benchmarks/results/shots.jsonl")
SHOTS, BUDGETS = (1, 2, 4, 8, 16), (300, 1000, 2000, 5000)
TUNED = "gauss-newton"
# Of the plot: those that matter most, in their colours; the others are grey.
COLOURS = {"classifier": "tab:blue", "prompt alone": "tab:orange", "template + head": "tab:green"}


@dataclass(frozen=True)
class Line:
    """A line of the plot, and a row of the table."""

    title: str
    method: str
    budget: int = 0
    key: str = "held_out"  # of a result


LINES = (
    Line("zero-shot", "zero-shot"),
    Line("centred means", "centred-means"),
    Line("Tip-Adapter", "tip-adapter"),
    Line("GDA + text", "gda+text"),
    Line("LP++", "lp++"),
    Line("CLAP", "clap"),
    Line("ProKeR", "proker"),
    Line("head gda", "gda"),
    Line("head text-gda", "text-gda"),
    Line("template + head", NO_QUERY),
    *(Line("prompt alone", TUNED, budget) for budget in BUDGETS),
    *(Line("classifier", TUNED, budget, "fused_held_out") for budget in BUDGETS),
)
Points = dict[int, float]


def points(results: dict[Cell, dict[str, Any]], line: Line, sets: list[str]) -> Points:
    """Per cent by shots, the mean of `sets` and seeds, where all sets have as many results."""
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell, entry in results.items():
        if (cell.method, cell.budget) == (line.method, line.budget) and cell.set in sets:
            found[cell.shots][cell.set].append(100 * entry[line.key])
    return {
        shots: mean(mean(values) for values in by_set.values())
        for shots, by_set in sorted(found.items())
        if len(by_set) == len(sets) and len({len(values) for values in by_set.values()}) == 1
    }


def table(results: dict[Cell, dict[str, Any]], sets: list[str]) -> str:
    """The mean of `sets`, a row for each line and a column for each number of shots; Markdown."""
    shots = sorted({cell.shots for cell in results})
    rows = [f"| | queries | {' | '.join(map(str, shots))} |", f"|{'---|' * (len(shots) + 2)}"]
    for line in LINES:
        if found := points(results, line, sets):
            values = " | ".join(f"{found[s]:.1f}" if s in found else "-" for s in shots)
            rows.append(f"| {line.title} | {line.budget or '-'} | {values} |")
    return "\n".join(rows) + "\n"


def apart(values: list[float], gap: float) -> list[float]:
    """Places for labels at `values`, in their order, at least `gap` from each other."""
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [values[i] for i in order]
    for _ in range(100):
        for low, high in pairwise(range(len(places))):
            if (short := gap - (places[high] - places[low])) > 1e-9:
                places[low], places[high] = places[low] - short / 2, places[high] + short / 2
    return [place for _, place in sorted(zip(order, places, strict=True))]


def plot(results: dict[Cell, dict[str, Any]], sets: list[str], path: Path) -> None:
    """One line for each of `LINES`, of the searched ones the largest budget, named at its end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = {
        line.title: (line, found)  # a later budget takes the place of an earlier one
        for line in LINES
        if line.title != "head text-gda" and (found := points(results, line, sets))
    }
    figure, axes = pyplot.subplots(figsize=(8, 6), layout="constrained")
    ends = [found[max(found)] for _, found in drawn.values()]
    for (line, found), end, place in zip(drawn.values(), ends, apart(ends, 2.2), strict=True):
        colour, last = COLOURS.get(line.title, "0.6"), max(found)
        chosen = line.title in COLOURS
        axes.plot(*zip(*found.items(), strict=True), color=colour, linewidth=2.5 if chosen else 1)
        title = f"{line.title}, {line.budget:,} queries" if line.budget else line.title
        axes.annotate(
            f"{title}  {end:.1f}",
            (last, end),
            (last * 1.12, place),
            color=colour if chosen else "0.35",
            va="center",
            fontsize=9,
            arrowprops={
                "arrowstyle": "-",
                "color": "0.8",
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
            },
            annotation_clip=False,
        )
    shots = sorted({shots for _, found in drawn.values() for shots in found})
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, map(str, shots))
    axes.set(xlabel="photos per class", ylabel=f"held-out accuracy, mean of {len(sets)} sets (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Runs what is missing and writes the tables and the plot."""
    parser = cell_options(__doc__, RESULTS)
    parser.set_defaults(shots=list(SHOTS))
    parser.add_argument("--methods", default=",".join(dict.fromkeys(x.method for x in LINES)))
    options = parser.parse_args()
    sets = set_names(options.data)
    methods = options.methods.split(",")
    wanted = [
        Cell(method, name, seed, budget, shots)
        for method, budget in dict.fromkeys((line.method, line.budget) for line in LINES)
        if method in methods
        for shots in options.shots
        for seed in options.seeds
        for name in sets
    ]
    run_missing(wanted, options.data, options.onnx, options.out, options.workers)
    results = read_results(options.out)
    text = f"Mean of {len(sets)} sets:\n\n{table(results, sets)}"
    text += "".join(f"\n{name}:\n\n{table(results, [name])}" for name in sets)
    options.out.with_suffix(".md").write_text(text, encoding="utf8")
    plot(results, sets, options.out.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
