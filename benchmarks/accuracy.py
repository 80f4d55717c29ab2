"""The accuracy table: every method on every set, seed and budget. Can be stopped at any time and
started again.

`python -m benchmarks.accuracy --data DIR [--sets a,b] [--methods ...] [--seeds 0,1,2]`; DIR holds
the sets. Each finished cell is one line of `results/accuracy.jsonl`; the table and the plot are
made from those lines.
"""

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.opponents import OPPONENTS
from edge_sharpzo.classifier.heads import HEADS
from edge_sharpzo.sweeping.crew import local_crew
from edge_sharpzo.sweeping.task import Ended, Job
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.system.stopping import StopWhen

RESULTS = Path("benchmarks/results/accuracy.jsonl")
NO_QUERY = "zero-shot+head"  # the finished classifier, with the template in place of a tuned prompt
CLOSED_FORM = (*OPPONENTS, "prompt-ensemble", *HEADS, NO_QUERY)
FROM_WORDS = "gauss-newton from the words"  # with no learned start
BUDGETS = {
    **dict.fromkeys((*CLOSED_FORM, "gradient"), (0,)),
    "gauss-newton": (1000, 5000, 20_000),
    FROM_WORDS: (1000, 5000, 20_000),
    "sharpzo": (1000, 5000, 20_000),
    "cma-es": (1000, 5000, 20_000),
    "zo-sgd": (1000, 5000, 20_000),
    "cge": (1000, 5000, 20_000),
    "random": (1000, 5000, 20_000),
    "sharpzo-paper": (5000, 20_000, 150_000),
}
# Methods that plan nothing by their budget: a run passes through what the shorter ones find, so one
# serves all budgets.
UNPLANNED = ("cma-es", "zo-sgd", "cge", "random", "sharpzo-paper")


@dataclass(frozen=True)
class Cell:
    """One figure of the table."""

    method: str
    set: str
    seed: int
    budget: int  # queries; 0 where none are spent
    shots: int = 16


def read_results(path: Path) -> dict[Cell, dict[str, Any]]:
    """Finished cells; a line that a crash cut short counts as not run."""
    return {Cell(**entry["cell"]): entry for entry in read_lines(path)}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that `append` wrote."""
    for line in path.read_text(encoding="utf8").splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def append(path: Path, entry: dict[str, Any]) -> None:
    """Adds one line and waits until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf8") as stream:
        stream.write(("\n" if torn else "") + json.dumps(entry) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def cells(
    methods: list[str],
    sets: list[str],
    seeds: list[int],
    budgets: list[int] | None,
    shots: list[int],
) -> Iterator[Cell]:
    """All runs, cheap ones first, so that an early stop leaves whole columns."""
    order = sorted(
        (budget, method)
        for method in methods
        for budget in BUDGETS[method]
        if not (budgets and budget and budget not in budgets)
    )
    for budget, method in order:
        for many in shots:
            for seed in seeds:
                for name in sets:
                    yield Cell(method, name, seed, budget, many)


def run_missing(
    wanted: Iterable[Cell], data: Path, onnx: Path, out: Path, workers: int = 1
) -> None:
    """Runs the cells that `out` lacks, `workers` at once, and adds them to it run by run.

    Each run has a process of its own, for its processor time and memory; methods that search
    nothing share the process of a draw.
    """
    machine, before = describe_machine(), read_results(out)
    threads = max(1, usable_cores() // workers)
    jobs: dict[str, list[Cell]] = {}
    arguments: dict[str, tuple[str, ...]] = {}
    for runs in _together([cell for cell in wanted if cell not in before]):
        cell = runs[0]
        options = {
            "method": ",".join(dict.fromkeys(run.method for run in runs)),
            "set": data / cell.set,
            "seed": cell.seed,
            "shots": cell.shots,
            "budgets": ",".join(str(run.budget) for run in runs),
            "onnx": onnx,
            "source": f"local-dir:{onnx.parent}",
            "threads": threads,
        }
        jobs[str(cell)] = runs
        arguments[str(cell)] = tuple(f"--{name}={value}" for name, value in options.items())
    if not jobs:
        return

    def finished(job: Job, ended: Ended) -> None:
        if ended.code:
            sys.exit(f"{job.name} failed:\n{ended.err}")
        runs = jobs[job.name]
        for run, line in zip(runs, ended.out.splitlines()[-len(runs) :], strict=True):
            result = json.loads(line)
            append(out, {"cell": asdict(run), **result, "machine": machine})
            print(
                f"{run.method:24} {run.set:10} seed {run.seed} {run.budget:>7} queries: "
                f"{100 * result['held_out']:.1f} %",
                flush=True,
            )

    with local_crew(min(workers, len(jobs)), out.with_suffix(".workers")) as crew:
        todo = (Job(name, "benchmarks.one_run", given) for name, given in arguments.items())
        crew.run(todo, finished, StopWhen())


def _together(missing: list[Cell]) -> Iterator[list[Cell]]:
    """The cells that one process computes."""
    done = set[Cell]()
    for cell in missing:
        if cell in done:
            continue
        runs = [cell]
        if cell.method in UNPLANNED:
            runs = [other for other in missing if replace(other, budget=cell.budget) == cell]
        elif cell.method in CLOSED_FORM:
            alike = (other for other in missing if replace(other, method=cell.method) == cell)
            runs = [other for other in alike if other.method in CLOSED_FORM]
        done.update(runs)
        yield runs


def titled(method: str, shots: int) -> str:
    """A row's title: the method, and the photos per class where they are not the usual 16."""
    return method if shots == 16 else f"{method}, {shots} shots"


def table(results: dict[Cell, dict[str, Any]], methods: list[str]) -> str:
    """Held-out accuracy in per cent, mean and standard deviation over the seeds, as Markdown; rows
    in the order of `methods`.
    """
    sets = sorted({cell.set for cell in results})
    groups: dict[tuple[str, int, int], dict[str, list[dict[str, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for cell, entry in results.items():
        groups[cell.method, cell.budget, cell.shots][cell.set].append(entry)
    lines = [
        "| method | queries | " + " | ".join(sets) + " | mean |",
        "|---" * (len(sets) + 3) + "|",
    ]

    def row(title: str, budget: int, by_set: dict[str, list[dict[str, Any]]], key: str) -> None:
        columns, means = [], []
        for name in sets:
            values = [100 * entry[key] for entry in by_set.get(name, []) if key in entry]
            columns.append(
                f"{statistics.mean(values):.1f} ± "
                f"{statistics.stdev(values) if len(values) > 1 else 0:.1f}"
                if values
                else "-"
            )
            means += [statistics.mean(values)] if values else []
        mean = f"{statistics.mean(means):.1f}" if len(means) == len(sets) else "-"
        if not means:
            return
        lines.append(f"| {title} | {budget or '-'} | " + " | ".join(columns) + f" | {mean} |")

    order = {method: i for i, method in enumerate(methods)}
    for (method, budget, shots), by_set in sorted(
        groups.items(), key=lambda item: (-item[0][2], order.get(item[0][0], 99), item[0][1])
    ):
        row(titled(method, shots), budget, by_set, "held_out")
        if method == "gauss-newton":
            row(
                titled("gauss-newton with closed-form head", shots),
                budget,
                by_set,
                "fused_held_out",
            )
    return "\n".join(lines) + "\n"


def with_most_shots(results: dict[Cell, dict[str, Any]]) -> dict[Cell, dict[str, Any]]:
    """The runs with as many shots as any run has."""
    most = max((cell.shots for cell in results), default=0)
    return {cell: entry for cell, entry in results.items() if cell.shots == most}


def longest_runs(
    results: dict[Cell, dict[str, Any]],
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """For each set and method the runs with a curve: of each seed the one with most queries."""
    longest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for cell, entry in with_most_shots(results).items():
        key = (cell.set, cell.method, cell.seed)
        if entry.get("curve") and cell.budget >= longest.get(key, {}).get("cell", {}).get(
            "budget", 0
        ):
            longest[key] = entry
    runs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for (name, method, _), entry in longest.items():
        runs[name, method].append(entry)
    return runs


def reached(runs: list[dict[str, Any]], target: float) -> tuple[int, float] | None:
    """Queries and processor seconds at which the median seed's curve reaches `target` held-out
    accuracy; None where it does not.
    """
    hits = [next(((q, s) for q, s, a in run["curve"] if a >= target), None) for run in runs]
    found = sorted(hit for hit in hits if hit)
    middle = (len(hits) - 1) // 2
    return found[middle] if len(found) > middle else None


def time_to_accuracy(
    results: dict[Cell, dict[str, Any]], targets: tuple[float, ...] = (0.4, 0.5, 0.6)
) -> str:
    """Queries and processor seconds until the best prompt so far reaches an accuracy on held-out
    photos, the median seed; a run's most memory.

    As Markdown.
    """
    lines = [
        "| set | method | " + " | ".join(f"{100 * t:.0f} %" for t in targets) + " | peak memory |",
        "|---" * (len(targets) + 3) + "|",
    ]
    for (name, method), runs in sorted(longest_runs(results).items()):
        hits = [reached(runs, target) for target in targets]
        columns = [f"{hit[0]:,} ({hit[1]:.0f} s)" if hit else "not reached" for hit in hits]
        columns.append(f"{max(run['peak_rss_mb'] for run in runs):.0f} MB")
        lines.append(f"| {name} | {method} | " + " | ".join(columns) + " |")
    return "\n".join(lines) + "\n"


def plot(results: dict[Cell, dict[str, Any]], path: Path) -> None:
    """Mean held-out accuracy over the sets against queries, one line a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = with_most_shots(results)
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    sets = {cell.set for cell in results}
    for method in BUDGETS:
        points = []
        for budget in BUDGETS[method]:
            by_set: dict[str, list[float]] = defaultdict(list)
            for cell, entry in results.items():
                if (cell.method, cell.budget) == (method, budget):
                    by_set[cell.set].append(100 * entry["held_out"])
            if set(by_set) == sets:
                points.append(
                    (budget, statistics.mean(statistics.mean(v) for v in by_set.values()))
                )
        if points and points[0][0]:
            axes.plot(*zip(*points, strict=True), marker="o", label=method)
        elif points and method in ("zero-shot", "gradient", "text-gda"):
            axes.axhline(points[0][1], linestyle="--", linewidth=1, color="grey")
            axes.annotate(method, (1000, points[0][1]), va="bottom", fontsize=8)
    axes.set(xscale="log", xlabel="queries", ylabel="held-out accuracy, mean of the sets (%)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def numbers(text: str) -> list[int]:
    """Of a comma-separated list."""
    return [int(number) for number in text.split(",")]


def set_names(data: Path) -> list[str]:
    """The sets in a folder, by name."""
    return sorted(folder.name for folder in data.iterdir() if folder.is_dir())


def run_options(description: str | None, out: Path) -> argparse.ArgumentParser:
    """A parser of what every table of runs asks for: the photos, the draws, the model and the file,
    by default `out`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder whose subfolders are the sets"
    )
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--shots", type=numbers, default=[16], help="comma-separated")
    parser.add_argument("--onnx", type=Path, default=Path("models/lite-clip/clip.onnx"))
    parser.add_argument("--out", type=Path, default=out)
    return parser


def cell_options(description: str | None, out: Path) -> argparse.ArgumentParser:
    """A parser of what `run_missing` asks for."""
    parser = run_options(description, out)
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="runs at once; seconds can be compared with those of as many alone",
    )
    return parser


def main() -> None:
    """Runs what is missing and writes the table and the plot."""
    parser = cell_options(__doc__, RESULTS)
    parser.add_argument("--sets", help="comma-separated; all if not given")
    parser.add_argument("--methods", default=",".join(BUDGETS))
    parser.add_argument("--budgets", type=numbers, help="only these of the methods' budgets")
    options = parser.parse_args()
    sets = options.sets.split(",") if options.sets else set_names(options.data)
    methods = options.methods.split(",")
    wanted = cells(methods, sets, options.seeds, options.budgets, options.shots)
    run_missing(wanted, options.data, options.onnx, options.out, options.workers)
    results = read_results(options.out)
    title = "Time to accuracy on held-out photos (queries and processor seconds, median seed):"
    text = f"{table(results, list(BUDGETS))}\n{title}\n\n{time_to_accuracy(results)}"
    options.out.with_suffix(".md").write_text(text, encoding="utf8")
    plot(results, options.out.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
