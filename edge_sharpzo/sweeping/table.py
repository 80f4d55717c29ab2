"""The table of a sweep: means and standard deviations over its seeds."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from edge_sharpzo.runs.records import Summary
from edge_sharpzo.runs.side_by_side import WITHOUT, differing, flat
from edge_sharpzo.sweeping.plan import Cell
from edge_sharpzo.system.text import shown

AXES = ("set", "method", "shots", "budget")
SCORES = ("zero-shot", "tuned", "head", "classifier")
HELD_OUT, TRAIN = "held-out photos", "training photos"
FIGURES = ("queries", "tuning seconds")
TITLE = "Accuracies on held-out photos: mean and standard deviation over the seeds."
Row = dict[str, Any]


def rows(runs: Mapping[Cell, Summary]) -> list[Row]:
    """One row for the runs that differ in their seed alone, in the order of `runs`.

    Each has the axes, the seeds, `mean` and `std` of each score on held-out photos (0 to 1, None
    where there are none), the mean of queries and of tuning seconds, and `differing`: what hinders
    a comparison of the seeds, empty where nothing does. `held-out photos`, and `training photos` of
    so many `classes`, are the fewest of a seed.
    """
    groups = dict[tuple[object, ...], dict[int, Row]]()
    for cell, summary in runs.items():
        key = tuple(getattr(cell, axis) for axis in AXES)
        row = {**flat(cell.name, summary), TRAIN: summary.data.train}
        groups.setdefault(key, {})[cell.seed] = row
    return [
        {
            **dict(zip(AXES, key, strict=True)),
            "seeds": sorted(by_seed),
            **{name: _spread(_of(by_seed, f"{name}, held-out")) for name in SCORES},
            **{name: round(statistics.fmean(_of(by_seed, name)), 2) for name in FIGURES},
            **{name: min(_of(by_seed, name)) for name in (HELD_OUT, TRAIN)},
            "classes": max(row["classes"] - len(row[WITHOUT]) for row in by_seed.values()),
            "differing": differing(list(by_seed.values())),
        }
        for key, by_seed in groups.items()
    ]


def _of(by_seed: Mapping[int, Row], name: str) -> list[Any]:
    return [row[name] for row in by_seed.values()]


def _spread(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Mean and standard deviation; none of one value alone."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    std = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "std": std}


def cells(table: Iterable[Row]) -> list[list[str]]:
    """The table for people, its head first: held-out accuracies in per cent."""
    scores = [f"{name}, %" for name in SCORES]
    lines = [["set", "method", "shots", "budget", "seeds", *scores, *FIGURES]]
    for row in table:
        scores = [_percent(row[name]) for name in SCORES]
        axes = [str(row["budget"] or "-") if axis == "budget" else row[axis] for axis in AXES]
        figures = [f"{row['queries']:,.0f}", f"{row['tuning seconds']:.1f}"]
        lines.append([*map(str, axes), str(len(row["seeds"])), *scores, *figures])
    return lines


def _percent(spread: Mapping[str, float | None] | None) -> str:
    if spread is None or spread["mean"] is None:
        return "-"
    more = "" if spread["std"] is None else f" ± {100 * spread['std']:.1f}"
    return f"{100 * spread['mean']:.1f}{more}"


def notes(table: Iterable[Row]) -> list[str]:
    """What keeps rows from being what they seem, a line each."""
    return list(dict.fromkeys(note for row in table for note in _notes_of(row)))


def _notes_of(row: Row) -> Iterator[str]:
    where, learnt, classes = f"{row['set']}, {row['shots']} shots", row[TRAIN], row["classes"]
    if learnt < row["shots"] * classes:
        yield (
            f"{where}: {learnt:,} photos of {classes:,} classes were learnt from, for some have no "
            "more, or too few to validate with others"
        )
    if not row[HELD_OUT]:
        yield (
            f"{where}: no photos are held out, so there are no accuracies: take fewer `shots`, or "
            "put photos to measure with into a folder test/ beside train/"
        )
    if row["differing"]:
        yield (
            f"the seeds of {row['set']}, {row['method']}, {row['shots']} shots differ in "
            f"{row['differing']}: their mean says little"
        )


def markdown(table: Sequence[Row]) -> str:
    """The table as Markdown, with what is to be heeded below it."""
    head, *body = cells(table)
    lines = [_line(head), "|" + "---|" * len(head), *map(_line, body)]
    text = f"{TITLE}\n\n"
    return text + "\n".join(lines) + "\n" + "".join(f"\n{note}.\n" for note in notes(table))


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(shown(value).replace('|', chr(92) + '|') for value in values)} |"
