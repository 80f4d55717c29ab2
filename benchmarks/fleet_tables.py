"""The tables of `docs/fleet.md`: where communication takes most of a round, and the check of the
model that says so.

`python -m benchmarks.fleet_tables` prints them as Markdown, from `benchmarks/results`.
"""

import json
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.exports import EMBEDDED, FULL_SIZE
from benchmarks.fleet_model import (
    LINKS,
    Call,
    Fleet,
    Handling,
    Link,
    communication,
    round_seconds,
)
from benchmarks.timing import RESULTS

if TYPE_CHECKING:
    from benchmarks.fleet_calls import Traffic

Result = dict[str, Any]
Problem = tuple[str, int, int]  # tower, classes, how many times slower the devices are

CANDIDATES = 16  # of a round
CLASSES = (10, 100, 1000)
DEVICES = (1, 2, 4, 16, 64)
TOWERS = {"ViT-B/16": 512, "ViT-L/14": 768}  # width, and length of the features
MEASURED_WIDTH = 512  # twelve layers either way: products grow with the square of the width
# Devices as fast as the machine of docs/performance.md, and slow ones. The factor is assumed.
SLOWER = (1, 8)


def row_seconds(query_cost: Result, classes: int, traffic: "Sequence[Traffic]") -> float:
    """Seconds of the tower for each row of a call, as measured at ViT-B/16's size.

    At the number of candidates in one call that is nearest to the round's.
    """
    (model,) = (each for each in query_cost["models"] if each["model"] == FULL_SIZE)
    (case,) = (each for each in model["cases"] if each["classes"] == classes)
    by_batch = {int(batch): ms for batch, ms in case["packed"]["ms_by_batch"].items()}
    nearest = min(by_batch, key=lambda batch: abs(batch - traffic[0].candidates))
    return by_batch[nearest] / 1e3 * CANDIDATES / sum(each.rows for each in traffic)


def calls_of(
    traffic: "Sequence[Traffic]", row: float, here: Handling, there: Handling
) -> list[Call]:
    """What the calls of a round cost, with so many seconds of the tower for a row."""
    sizes = [each.up + each.down for each in traffic]
    return [
        Call(each.up, each.down, here.of(size), there.of(size), row * each.rows)
        for each, size in zip(traffic, sizes, strict=True)
    ]


def problems(query_cost: Result, check: Result) -> dict[Problem, list[Call]]:
    """The calls of a round of each problem."""
    from benchmarks.fleet_calls import Widths, traffic  # class names: they load torch

    here, there = (Handling(**check["handling"][side]) for side in ("here", "there"))
    found = {}
    for classes in CLASSES:
        measured = traffic(Widths(MEASURED_WIDTH, MEASURED_WIDTH), classes, CANDIDATES)
        row = row_seconds(query_cost, classes, measured)
        for tower, width in TOWERS.items():
            sent = traffic(Widths(width, width), classes, CANDIDATES)
            for slower in SLOWER:
                slow = Handling(slower * there.call, slower * there.byte)
                wide = row * (width / MEASURED_WIDTH) ** 2
                found[tower, classes, slower] = calls_of(sent, slower * wide, here, slow)
    return found


def dominated_from(calls: Sequence[Call], link: Link) -> int | None:
    """The fewest of `DEVICES` with which communication is more than half of a round."""
    return next((n for n in DEVICES if communication(calls, link, Fleet(n)) > 0.5), None)


def where_it_dominates(found: dict[Problem, list[Call]]) -> str:
    """From how many devices on communication is more than half of a round."""
    lines = [
        f"| tower, classes | calls | MB up, down | {' | '.join(link.name for link in LINKS)} |",
        "|---" * (3 + len(LINKS)) + "|",
    ]
    for tower in TOWERS:
        for classes in CLASSES:
            calls = found[tower, classes, 1]
            up, down = sum(call.up for call in calls), sum(call.down for call in calls)
            cells = [
                " / ".join(
                    str(dominated_from(found[tower, classes, slower], link) or "never")
                    for slower in SLOWER
                )
                for link in LINKS
            ]
            lines.append(
                f"| {tower}, {classes:,} | {len(calls)} | {up / 1e6:.1f}, {down / 1e6:.1f} | "
                f"{' | '.join(cells)} |"
            )
    return "\n".join(lines)


def seconds_table(calls: Sequence[Call], title: str) -> str:
    """Seconds of a round, and communication's share, by link and devices."""
    lines = [
        f"| {title} | {' | '.join(map(str, DEVICES))} |",
        "|---" * (1 + len(DEVICES)) + "|",
    ]
    for link in LINKS:
        cells = [
            f"{round_seconds(calls, link, Fleet(n)):.2g} s, "
            f"{100 * communication(calls, link, Fleet(n)):.0f} %"
            for n in DEVICES
        ]
        lines.append(f"| {link.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def check_table(result: Result) -> str:
    """Predicted and measured milliseconds of the check's rounds, and how far apart they are."""
    numbers = sorted({row["workers"] for case in result["problems"] for row in case["rounds"]})
    lines = [
        f"| round | over | {' | '.join(map(_workers, numbers))} |",
        "|---" * (2 + len(numbers)) + "|",
    ]
    for case in result["problems"]:
        model = "embedded" if case["model"] == EMBEDDED else "ViT-B/16 size"
        title = f"{model}, {case['classes']} classes, {case['candidates']} candidates"
        for over in dict.fromkeys(row["over"] for row in case["rounds"]):
            rows = [row for row in case["rounds"] if row["over"] == over]
            if any("measured_ms" in row for row in rows):
                lines.append(f"| {title} | {over} | {' | '.join(map(_cell, rows))} |")
                title = ""
    return "\n".join(lines)


def _workers(number: int) -> str:
    return f"{number} worker{'s' * (number > 1)}"


def _cell(row: Result) -> str:
    if "measured_ms" not in row:
        return ""
    return f"{row['predicted_ms']:,.0f}, {row['measured_ms']:,.0f} ({100 * _error(row):+.0f} %)"


def _error(row: Result) -> float:
    """How much longer a round was than predicted, as a share of the prediction."""
    return row["measured_ms"] / row["predicted_ms"] - 1


def summary(result: Result) -> str:
    """A line on the errors."""
    rows = [r for case in result["problems"] for r in case["rounds"] if "measured_ms" in r]
    errors = [abs(_error(row)) for row in rows]
    worst = max(rows, key=lambda row: abs(_error(row)))
    return (
        f"Of {len(rows)} rounds half are within {100 * statistics.median(errors):.0f} % of what is "
        f"predicted; the worst is {100 * _error(worst):+.0f} % ({worst['over']}, "
        f"{_workers(worst['workers'])})."
    )


def tables(query_cost: Result, check: Result) -> str:
    """All of them, as Markdown."""
    found = problems(query_cost, check)
    parts = [
        where_it_dominates(found),
        seconds_table(found["ViT-B/16", 100, 1], "ViT-B/16, 100 classes; devices:"),
        check_table(check),
        summary(check),
    ]
    return "\n\n".join(parts) + "\n"


def read_result(name: str) -> Result:
    """A file of `benchmarks/results`."""
    found: Result = json.loads((RESULTS / name).read_text(encoding="utf8"))
    return found


if __name__ == "__main__":
    print(tables(read_result("query_cost.json"), read_result("fleet_check.json")))
