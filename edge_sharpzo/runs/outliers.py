"""Runs that are far from the others of their group, and what is recorded that may be the reason."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sharpzo.runs.side_by_side import Row

# Figures in which a run may stand out, and the least distance that counts: a share of the median,
# or itself where the figure is a share.
FIGURES = {
    "classifier, held-out": 0.02,
    "classifier, validation": 0.02,
    "refused, held-out": 0.02,
    "queries": 0.05,
    "tuning seconds": 0.05,
    "peak memory, MB": 0.05,
}
SHARES = ("classifier, held-out", "classifier, validation", "refused, held-out")
COUNTS = ("queries",)
# What a row has that is no reason for anything: names, and what has come out of the run.
RESULTS = ("run", "total seconds")
SUFFIXES = (", held-out", ", validation", ", left out")  # of shares that were measured
FEWEST = 5  # runs, for one of them to stand out
FAR = 3.5  # of the modified z-score (Iglewicz and Hoaglin, 1993)
MAD_TO_STD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Outlier:
    """A run that is far from its group in one figure."""

    run: str
    figure: str
    value: float
    median: float
    mad: float  # median absolute deviation from the median
    runs: int  # of the group
    why: list[str]  # in what else the run differs from the others

    def told(self) -> str:
        """For a person."""
        value, median, mad = map(self._shown, (self.value, self.median, self.mad))
        why = "; ".join(self.why) or f"nothing else that is recorded differs{self._advice}"
        return (
            f"{self.run}: {self.figure} {value}, median of {self.runs} runs {median} "
            f"(MAD {mad}); {why}"
        )

    def _shown(self, x: float) -> str:
        if self.figure in SHARES:
            return f"{100 * x:.1f} %"
        return f"{x:,.0f}" if self.figure in COUNTS else f"{x:,.1f}"

    @property
    def _advice(self) -> str:
        if self.figure in SHARES:
            return ": look at its photos with `edge-sharpzo check`"
        if self.figure in COUNTS:
            return ""
        return ": its device, and what else ran there, is not recorded"


def values(rows: Iterable[Row], name: str) -> list[float]:
    """Of a figure, where there are some."""
    return [row[name] for row in rows if row[name] is not None]


def differing_in(rows: Sequence[Row]) -> list[str]:
    """What the runs were made with, or on, that is not the same in all of them."""
    return [
        name
        for name in rows[0]
        if name not in (*RESULTS, *FIGURES, "versions")
        and not name.endswith(SUFFIXES)
        and len({_key(row[name]) for row in rows}) > 1
    ]


def outliers_of(rows: Sequence[Row]) -> Iterator[Outlier]:
    """Runs that are far from the others of their group, figure by figure."""
    packages = dict.fromkeys(package for row in rows for package in row["versions"])
    every = [{**row, **{each: row["versions"].get(each) for each in packages}} for row in rows]
    usual = {name: _usual(row[name] for row in every) for name in (*differing_in(rows), *packages)}
    for figure, least in FIGURES.items():
        known = values(rows, figure)
        if len(known) < FEWEST:
            continue
        median = statistics.median(known)
        mad = statistics.median([abs(value - median) for value in known])
        unit = least if figure in SHARES else least * abs(median)
        limit = max(FAR * MAD_TO_STD * mad, unit)
        for row in every:
            if row[figure] is not None and abs(row[figure] - median) > limit:
                why = list(_reasons(row, usual, figure))
                yield Outlier(row["run"], figure, row[figure], median, mad, len(known), why)


def _reasons(row: Row, usual: Mapping[str, str | None], figure: str) -> Iterator[str]:
    """In what the run differs from most of its group, and in what they all differ."""
    for name, most in usual.items():
        if most is not None and _key(row[name]) != most:
            yield f"{name}: {_told(row[name])}, most have {_told(json.loads(most))}"
    if unlike := [name for name, most in usual.items() if most is None]:
        yield f"the runs differ among themselves in {', '.join(unlike)}"
    photos = row["held-out photos"]
    if figure.endswith("held-out") and 0 < photos < 50:
        yield f"{photos} held-out photos: one is {100 / photos:.1f} points"


def _usual(given: Iterable[Any]) -> str | None:
    """What more than half of them are, as `_key` has it; None where nothing is."""
    every = Counter(map(_key, given))
    (most, count), *_ = every.most_common(1)
    return most if 2 * count > every.total() else None


def _key(value: Any) -> str:
    return json.dumps(value)


def _told(value: Any) -> str:
    return "none" if value is None else str(value)
