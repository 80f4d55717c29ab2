"""The summaries of many runs, such as a fleet's: found, grouped, and those that stand out."""

import hashlib
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_sharpzo.clip.embedded import known_as
from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.runs.outliers import FIGURES, Outlier, differing_in, outliers_of, values
from edge_sharpzo.runs.records import SUMMARY, Summary
from edge_sharpzo.runs.run_config import CONFIG, SINCE_0_1_0
from edge_sharpzo.runs.side_by_side import WITHOUT, Row, flat
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import parse_json, read_text
from edge_sharpzo.tuning.records import StopReason

# What runs of one group have in common: figures of others are not held against each other.
ALIKE = ("set", "model", "model sha256", "classes", "class names", WITHOUT, "method", "start",
         "shots", "budget", "minutes", "head")  # fmt: skip
UNFINISHED = "it is not finished: go on with `edge-sharpzo tune --resume`"
NOT_BEGUN = (
    "it ended before its first checkpoint: `edge-sharpzo tune --resume` begins it anew; where that "
    "fails, delete it"
)
# Options that a row has by no other name, but for those that say where something lies.
OPTIONS = ("minutes", "engine", "send_photos", "template", "keep_known", "max_memory",
           "plain_classifier", "drop_duplicates", "paper_task")  # fmt: skip
# Photos whose contents are told apart by a digest, and what a run calls their checksums.
CONTENTS = {
    "contents of photos tuned on": "tuned_on_sha256",
    "contents of held-out photos": "held_out_sha256",
    "contents of background photos": "background_sha256",
}
# What the draw of a seed decides.
DRAWN = ("training photos", "validation photos", "held-out photos", "contents of photos tuned on",
         "contents of held-out photos")  # fmt: skip
OF_CONFIG = ("set", "class names", "budget", "context_tokens", *CONTENTS, *OPTIONS)


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
    outliers = [each for alike in by_kind.values() for each in outliers_of(alike)]
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
                yield Path(base), UNFINISHED if FILE in files else NOT_BEGUN
        if empty:
            yield place, f"it holds no run (no {SUMMARY})"


def _row(run: Path, summary: Summary) -> Row:
    """What `flat` has, and what else tells runs of a fleet apart."""
    known = _of_config(run)
    row = flat(str(run), summary)
    return {
        "run": row.pop("run"),
        "set": known.pop("set"),
        **row,
        "model sha256": known_as(summary.model.sha256)[:12],
        **known,
        "training photos": summary.data.train,
        "validation photos": summary.data.val,
        "photos that cannot be read": summary.data.skipped,
        "known, held-out": summary.known.kept if summary.known else None,
        "total seconds": summary.seconds.total,
        "threads": summary.threads,
        "provider": summary.provider,
        "versions": summary.versions,
    }


def _of_config(run: Path) -> Row:
    """What the run was asked for, and on what; all None where nobody tells."""
    try:
        found = parse_json(read_text(run / CONFIG))
        options = SINCE_0_1_0 | found["options"]
        return {
            "set": Path(options["data"]).name,
            "class names": _digest(found["names"]),
            "budget": found["preset"]["budget"],
            "context_tokens": found["preset"]["context_tokens"],
            **{name: _digest(sorted(found.get(CONTENTS[name], ()))) for name in CONTENTS},
            **{name: options[name] for name in OPTIONS},
        }
    except (OSError, ValueError, KeyError, TypeError):
        return dict.fromkeys(OF_CONFIG)


def _digest(texts: Sequence[str]) -> str | None:
    """Of some texts, None where there are none."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12] if texts else None


def _group(rows: Sequence[Row]) -> Row:
    """Median, least and most of each figure, and what is not the same in all runs."""
    refused = [row for row in rows if row["refused, held-out"]]
    most = max(refused, key=lambda row: row["refused, held-out"], default=None)
    differs = differing_in(rows)
    return {
        **{name: rows[0][name] for name in ALIKE},
        "runs": len(rows),
        **{name: _spread(values(rows, name)) for name in FIGURES},
        "refused most": None if most is None else most["run"],
        "versions": _counts(
            f"{package} {number}"
            for row in rows
            for package, number in row["versions"].items()
            if package in ("edge-sharpzo", "onnxruntime")
        ),
        "engines": _counts(row["engine"] or "not known" for row in rows),
        "differing": {
            name: _counts("not known" if row[name] is None else str(row[name]) for row in rows)
            for name in differs
        },
        "seeds alone": "seed" in differs and all(_by_seed(rows, name) for name in differs),
    }


def _by_seed(rows: Sequence[Row], name: str) -> bool:
    """Whether a seed decides what a run has of this: it is drawn, and the same for each seed."""
    pairs = {(row["seed"], row[name]) for row in rows}
    return name == "seed" or (name in DRAWN and len(pairs) == len({seed for seed, _ in pairs}))


def _counts(texts: Iterable[str]) -> dict[str, int]:
    """How often each is there, the most frequent first."""
    return dict(Counter(texts).most_common())


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}
