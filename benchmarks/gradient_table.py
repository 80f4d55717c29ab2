"""The tables of `benchmarks.gradient_cost`, as Markdown."""

import math
import statistics
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from benchmarks.exports import EMBEDDED

OURS, RATED = "ours", "onnx-adam"  # the side with a row for each rate
TITLES = {
    OURS: "our default: forward passes alone",
    "torch-dense": "Adam, PyTorch, dense as CoOp",
    "torch-packed": "Adam, PyTorch, packed",
    RATED: "Adam, exported gradient",
    "onnx-gauss-newton": "Gauss-Newton, exported gradient",
    "onnx-lbfgs": "L-BFGS, exported gradient",
}
WORDS = {"loss": "loss of {:,} queries", "held_out": "accuracy of {:,} queries"}
Result = dict[str, Any]


def tables(result: Result) -> str:
    """All tables. Seeds of one problem share a table."""

    def problem(case: Result) -> tuple[Any, ...]:
        return case["model"] != EMBEDDED, case["model"], case["classes"], case["set"] or ""

    whole = sorted((case for case in result["cases"] if case["whole"]), key=problem)
    parts = [table(list(cases)) for _, cases in groupby(whole, problem)]
    sizes = [f"| {title} | {size:,.0f} |" for title, size in result["install_mb"].items()]
    return "\n".join([*parts, "| installed | MB |\n|---|---|", *sizes]) + "\n"


def table(cases: list[Result]) -> str:
    """Seconds, and forward passes that take as long, to each target: the median seed's."""
    first = cases[0]
    goals = [
        (goal, queries)
        for goal in WORDS
        for queries in row_of(first, OURS)["targets"]
        if goal == "loss" or first["set"]
    ]
    model = "embedded" if first["model"] == EMBEDDED else first["model"]
    title = f"{model}, {first['classes']} classes" + (f", {first['set']}" if first["set"] else "")
    heads = [WORDS[goal].format(int(queries)) for goal, queries in goals]
    heads += ["held-out at its end"] if first["set"] else []
    lines = [
        f"| {' | '.join([title, *heads, 'ms a step', 'peak MB'])} |",
        "|---" * (len(heads) + 3),
    ]
    lines[1] += "|"
    for side, name in TITLES.items():
        cells = [_cell(cases, side, goal, queries) for goal, queries in goals]
        rows = [row_of(case, side) for case in cases]
        if first["set"]:
            cells.append(_end(rows))
        cells.append("" if side == OURS else _shown(_middle(row["ms_per_step"] for row in rows)))
        cells.append(f"{max(row['peak_mb'] for row in rows):,.0f}")
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join([*lines, "", _remark(cases), ""])


def row_of(case: Result, side: str) -> Result:
    """The row of a side, at the rate that validates best where there are several."""
    rows: list[Result] = [row for row in case["rows"] if row["side"] == side]
    return min(rows, key=lambda row: row["val_loss"]) if len(rows) > 1 else rows[0]


def _cell(cases: list[Result], side: str, goal: str, queries: str) -> str:
    seconds, passes, marks = [], [], set()
    for case in cases:
        row = row_of(case, side)
        hit = row["reached"][queries][goal]
        seconds.append(hit[1] if hit else math.inf)
        passes.append(1e3 * seconds[-1] / row_of(case, OURS)["forward_ms"])
        marks |= {"*"} if row.get("multiplied_out") else set()
    if _middle(seconds) == math.inf:
        return "not reached"
    return f"{_shown(_middle(seconds))} s{''.join(marks)} ({_middle(passes):,.0f})"


def _end(rows: list[Result]) -> str:
    """The last prompts' held-out accuracy, the mean of the seeds; none of a side cut short."""
    if any(row.get("multiplied_out") for row in rows):
        return ""
    return f"{100 * statistics.mean(row['held_out'] for row in rows):.1f} %"


def _remark(cases: list[Result]) -> str:
    """What the numbers of a table rest on."""
    forward = _middle(row_of(case, OURS)["forward_ms"] for case in cases)
    rates = sorted({row_of(case, RATED)["rate"] for case in cases})
    tried = [[row for row in case["rows"] if row["side"] == RATED] for case in cases]
    seconds = _middle(sum(row["seconds"] for row in rows) for rows in tried)
    steps = max(row["steps"] for rows in tried for row in rows)
    priced = any(row.get("multiplied_out") for case in cases for row in case["rows"])
    star = (
        " \\* not run to the end: its time a step, times the other Adams' steps." if priced else ""
    )
    return (
        f"{len(cases)} seed{'s' if len(cases) > 1 else ''}; a forward pass takes {forward:.3g} ms. "
        f"Adam's rate: {', '.join(f'{rate:g}' for rate in rates)}; to try all {len(tried[0])} for "
        f"{steps} steps, where the others end too, took {_shown(seconds)} s with the exported "
        f"gradient.{star}"
    )


def _middle(values: Iterable[float]) -> float:
    """The median; of two middle values the lower one."""
    return float(statistics.median_low(list(values)))


def _shown(value: float) -> str:
    """To three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
