"""The summaries of many runs, such as a fleet's: found, grouped, and those that stand out."""

import hashlib
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import known_as
from edge_sharpzo.runs.records import SUMMARY, Summary
from edge_sharpzo.runs.run_config import CONFIG
from edge_sharpzo.runs.side_by_side import WITHOUT, Row, flat
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import parse_json, read_text
from edge_sharpzo.tuning.records import StopReason

# What runs of one group have in common: figures of others are not held against each other.
ALIKE = ("set", "model", "model sha256", "classes", "class names", WITHOUT, "method", "start",
         "shots", "head")  # fmt: skip
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
# What may be the reason that a run stands out, where most runs of its group have it otherwise.
REASONS = ("threads", "provider", "stopped", "photos that cannot be read",
           "training photos", "validation photos", "held-out photos")  # fmt: skip
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
    why: list[str]  # in what else the run differs from most of them

    def told(self) -> str:
        """For a person."""
        share = self.figure in SHARES
        value, median, mad = (
            f"{100 * x:.1f} %" if share else f"{x:,.1f}"
            for x in (self.value, self.median, self.mad)
        )
        why = "; ".join(self.why) or (
            "nothing else that is recorded differs: look at its photos with `edge-sharpzo check`"
        )
        return (
            f"{self.run}: {self.figure} {value}, median of {self.runs} runs {median} "
            f"(MAD {mad}); {why}"
        )


@dataclass(frozen=True)
class Collected:
    """What many runs hold."""

    rows: list[Row]  # one for each run
    groups: list[Row]  # one for the runs that can be held against each other
    outliers: list[Outlier]
    left_out: dict[str, str]  # why, by folder

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": self.rows,
            "groups": self.groups,
            "outliers": [asdict(each) for each in self.outliers],
            "left_out": self.left_out,
        }


def collect(places: Sequence[Path]) -> Collected:
    """Reads the runs in `places`: runs, or folders with runs at any depth.

    What cannot be read, is not finished or is there twice is left out, and told. Raises UserError
    where nothing is left.
    """
    rows, left_out = list[Row](), dict[str, str]()
    seen, contents = set[Path](), dict[bytes, str]()
    for run, why in _found(places):
        if (real := run.resolve()) in seen:
            continue
        seen.add(real)
        try:
            if why:
                raise UserError(why)
            summary = Summary.read(run)
            if summary.stopped_because == StopReason.INTERRUPTED:
                raise UserError("it was interrupted: go on with `edge-sharpzo tune --resume`")
            digest = hashlib.sha256((run / SUMMARY).read_bytes()).digest()
            if digest in contents:
                raise UserError(f"it is a copy of {contents[digest]}, to the last digit")
            contents[digest] = str(run)
            rows.append(_row(run, summary))
        except (UserError, OSError) as error:
            left_out[str(run)] = str(error)
    if not rows:
        first = "; ".join(f"{run}: {why}" for run, why in list(left_out.items())[:3])
        raise UserError(
            f"there is no finished run ({first or 'the folders hold none'}): give run folders, as "
            "`edge-sharpzo tune` printed them, or a folder that holds them"
        )
    by_kind = dict[str, list[Row]]()
    for row in rows:
        by_kind.setdefault(json.dumps([row[name] for name in ALIKE]), []).append(row)
    groups = [_group(alike) for alike in by_kind.values()]
    outliers = [each for alike in by_kind.values() for each in _outliers(alike)]
    return Collected(rows, groups, outliers, left_out)


def _found(places: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The run folders in `places`, each with why it is none, empty where it may be one."""
    for place in places:
        if not place.is_dir():
            what = "it is a file: give the folder" if place.exists() else "it is not there"
            yield place, what
            continue
        empty = True
        for base, folders, files in os.walk(place):
            folders.sort()
            if SUMMARY in files:
                empty = False
                yield Path(base), ""
            elif CONFIG in files:
                empty = False
                yield Path(base), "it is not finished: go on with `edge-sharpzo tune --resume`"
        if empty:
            yield place, f"it holds no run (no {SUMMARY})"


def _row(run: Path, summary: Summary) -> Row:
    """What `flat` has, and what else tells runs of a fleet apart."""
    name, names = _set_and_classes(run)
    row = flat(str(run), summary)
    return {
        "run": row.pop("run"),
        "set": name,
        **row,
        "model sha256": known_as(summary.model.sha256)[:12],
        "class names": names,
        "training photos": summary.data.train,
        "validation photos": summary.data.val,
        "photos that cannot be read": summary.data.skipped,
        "known, held-out": summary.known.kept if summary.known else None,
        "total seconds": summary.seconds.total,
        "threads": summary.threads,
        "provider": summary.provider,
        "versions": summary.versions,
    }


def _set_and_classes(run: Path) -> tuple[str | None, str | None]:
    """The name of the folder of photos, and a digest of the classes; None where nobody tells."""
    try:
        found = parse_json(read_text(run / CONFIG))
        folder, names = found["options"]["data"], found["names"]
        digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]
        return Path(folder).name, digest
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _group(rows: Sequence[Row]) -> Row:
    """Median, least and most of each figure."""
    versions = Counter(
        f"{package} {number}"
        for row in rows
        for package, number in row["versions"].items()
        if package in ("edge-sharpzo", "onnxruntime")
    )
    refused = [row for row in rows if row["refused, held-out"] is not None]
    most = max(refused, key=lambda row: row["refused, held-out"], default=None)
    return {
        **{name: rows[0][name] for name in ALIKE},
        "runs": len(rows),
        **{name: _spread(_values(rows, name)) for name in FIGURES},
        "refused most": None if most is None else most["run"],
        "versions": dict(versions.most_common()),
    }


def _values(rows: Iterable[Row], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None]


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _outliers(rows: Sequence[Row]) -> Iterator[Outlier]:
    """Runs that are far from the others of their group, figure by figure."""
    for figure, least in FIGURES.items():
        values = _values(rows, figure)
        if len(values) < FEWEST:
            continue
        median = statistics.median(values)
        mad = statistics.median([abs(value - median) for value in values])
        unit = least if figure in SHARES else least * abs(median)
        limit = max(FAR * MAD_TO_STD * mad, unit)
        for row in rows:
            if row[figure] is not None and abs(row[figure] - median) > limit:
                why = list(_reasons(row, rows, figure))
                yield Outlier(row["run"], figure, row[figure], median, mad, len(values), why)


def _reasons(row: Row, rows: Sequence[Row], figure: str) -> Iterator[str]:
    """In what the run differs from most of its group."""
    for name in REASONS:
        usual, count = Counter(other[name] for other in rows).most_common(1)[0]
        if row[name] != usual and 2 * count > len(rows):
            yield f"{name}: {row[name]}, most have {usual}"
    for package, number in row["versions"].items():
        others: Mapping[str, int] = Counter(other["versions"].get(package) for other in rows)
        usual = max(others, key=lambda each: others[each])
        if number != usual:
            yield f"{package} {number}, most have {usual}"
    photos = row["held-out photos"]
    if figure.endswith("held-out") and 0 < photos < 50:
        yield f"{photos} held-out photos: one is {100 / photos:.1f} points"
