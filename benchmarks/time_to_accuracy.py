"""Queries and time until held-out photos are classified with a given accuracy: our default, the
paper's loop, and that loop as published.

`python -m benchmarks.time_to_accuracy --set dtd10 --target 0.6 [--classes 10] [--out FILE.json]`

The first two are runs of `make bench-accuracy`. The third was not run: it is the queries of the
second, each at the price that `benchmarks.query_cost` measured for one evaluation of the published
loop, in processor seconds as the curves count them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from benchmarks.accuracy import longest_runs, reached, read_results
from benchmarks.exports import EMBEDDED
from benchmarks.timing import RESULTS, save

DEFAULT, PAPER = "gauss-newton", "sharpzo-paper"


def dense_seconds(query_cost: dict[str, Any], model: str, classes: int) -> float:
    """Processor seconds of one evaluation of the published loop for `classes` classes; it computes
    every class alike.
    """
    found = next((entry for entry in query_cost["models"] if entry["model"] == model), None)
    if found is None:
        raise SystemExit(
            f"the query costs hold no {model}: run python -m benchmarks.query_cost --model "
            f"{model} --out FILE first"
        )
    return float(found["published_processor_ms"]) / 1e3 / found["cases"][0]["classes"] * classes


def compare(
    runs: dict[tuple[str, str], list[dict[str, Any]]], name: str, target: float, dense: float
) -> list[dict[str, Any]]:
    """A row for each way: queries and processor seconds of the median seed (None where it does not
    get there), and its seeds.
    """
    ours, paper = (reached(runs.get((name, method), []), target) for method in (DEFAULT, PAPER))
    published = (paper[0], paper[0] * dense) if paper else None
    seeds = {method: len(runs.get((name, method), [])) for method in (DEFAULT, PAPER)}
    ways = [
        ("our default", DEFAULT, ours),
        ("paper's loop on our engine", PAPER, paper),
        ("paper's loop, dense, extrapolated", PAPER, published),
    ]
    return [
        {
            "way": way,
            "queries": hit[0] if hit else None,
            "processor_seconds": round(hit[1], 1) if hit else None,
            "times_ours": round(hit[1] / ours[1], 1) if hit and ours and ours[1] else None,
            "seeds": seeds[method],
        }
        for way, method, hit in ways
    ]


def main() -> None:
    """Prints the rows and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="dtd10")
    parser.add_argument("--target", type=float, default=0.6, help="held-out accuracy, 0 to 1")
    parser.add_argument("--classes", type=int, default=10, help="of the set")
    parser.add_argument("--model", default=EMBEDDED, help="the one that the accuracies are of")
    parser.add_argument("--accuracy", type=Path, default=accuracy.RESULTS)
    parser.add_argument("--query-cost", type=Path, default=RESULTS / "query_cost.json")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    query_cost = json.loads(options.query_cost.read_text(encoding="utf8"))
    results = read_results(options.accuracy)
    dense = dense_seconds(query_cost, options.model, options.classes)
    rows = compare(longest_runs(results), options.set, options.target, dense)
    print(
        f"{options.set}, {100 * options.target:.0f} % held-out accuracy, median seed, processor "
        "seconds"
    )
    for row in rows:
        spent = (
            "not reached"
            if row["queries"] is None
            else f"{row['queries']:>9,} queries {row['processor_seconds']:>10,.1f} s"
        )
        times = f"  {row['times_ours']} times ours" if row["times_ours"] else ""
        print(f"  {row['way']:34} {spent}{times}  ({row['seeds']} seeds)")
    dense_machine = {name: query_cost[name] for name in ("processor", "versions", "threads")}
    chosen = [
        entry
        for cell, entry in results.items()
        if cell.set == options.set and cell.method in (DEFAULT, PAPER) and entry.get("curve")
    ]
    if any(entry["machine"]["processor"] != dense_machine["processor"] for entry in chosen):
        print(
            "  the accuracies were measured on another processor than the dense query: compare "
            "queries, not seconds"
        )
    told = {
        "set": options.set,
        "target": options.target,
        "model": options.model,
        "dense_query_seconds": dense,
        "rows": rows,
    }
    machines = [entry["machine"] for entry in chosen]
    told |= {
        "dense_query_measured_on": dense_machine,
        "runs_measured_on": [m for i, m in enumerate(machines) if m not in machines[:i]],
    }
    save(told, options.out)


if __name__ == "__main__":
    main()
