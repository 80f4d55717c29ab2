"""Why not export the gradient? Forward passes alone against true gradients, to the same training
loss and the same held-out accuracy.

`python -m benchmarks.gradient_cost [--data DIR] [--model ViT-B-16,local-dir:models/lite-clip]
[--classes 10,100] [--out FILE.json]`; goes on where it was stopped.

The sides: our default; Adam as CoOp takes it, by PyTorch's autograd on the dense prompts and on the
packed sequence, and by the packed tower's gradient exported to ONNX; Gauss-Newton and L-BFGS by
that same export. The targets are what our default has after some queries. Every side is a process
of its own with as many threads, and has the same prompt, photos and initial words. With DIR, a
folder of photo sets, the embedded model's ten classes are those of a set; everything else is made
up, and there only the training loss counts.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.descent import RATES
from benchmarks.exports import EMBEDDED, FOLDER, FULL_SIZE, add_models, place
from benchmarks.gradient_problem import BACKWARD, FORWARD, Opened
from benchmarks.gradient_table import OURS, RATED, tables
from benchmarks.install_size import install_mb
from benchmarks.timing import record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.machine import usable_cores

DENSE_SECONDS = 20.0  # after which the dense side is multiplied out
SAME_LOSSES = 5  # first losses in which Adam's sides must agree,
APART = 1e-3  # relatively
GOALS = ("loss", "held_out")
Result = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One problem, and how long it is worked on."""

    model: str
    classes: int
    photos: Path | None = None  # folder of a set; made up without
    seed: int = 0
    queries: tuple[int, ...] = (1000, 5000)  # of ours, whose results are the targets
    steps: int = 200  # of the others at most

    @property
    def key(self) -> Result:
        """What tells it from the others."""
        name = self.photos.name if self.photos else None
        return {"model": self.model, "classes": self.classes, "set": name, "seed": self.seed}

    @property
    def folder(self) -> Path:
        """Where its problem lies or will lie."""
        files = (Path("benchmarks") / f"{name}.py" for name in ("gradient_problem", "vjp"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
        title = self.photos.name if self.photos else f"{self.classes}-classes"
        return (
            FOLDER
            / f"gradient-{place(self.model, 'fp32').parent.name}-{title}-{self.seed}-{digest}"
        )

    def prepare(self) -> Path:
        """Makes the problem if it is not there, in a process of its own."""
        options = ["--model", self.model, "--classes", self.classes, "--seed", self.seed]
        options += ["--set", self.photos] if self.photos else []
        _run("gradient_problem", *options, "--out", self.folder)
        return self.folder


def _run(module: str, *options: object) -> str:
    """The last line that a benchmark of its own process prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return (done.stdout.splitlines() or [""])[-1]


def run_side(*options: object) -> Result:
    """What `benchmarks.gradient_sides` prints."""
    found: Result = json.loads(_run("gradient_sides", *options))
    return found


class Bench:
    """One case: its sides, each measured unless its row is there."""

    def __init__(
        self,
        case: Case,
        folder: Path,
        threads: int,
        rows: list[Result],
        keep: Callable[[Result], None],
    ):
        """`rows` are the finished ones; new ones are added to it, and `keep` is told."""
        self.case, self.folder, self.threads, self.rows = case, folder, threads, rows
        self.keep = keep

    def row(self, side: str, rate: float | None = None) -> Result:
        """One side."""
        for row in self.rows:
            if (row["side"], row["rate"]) == (side, rate):
                return row
        options: list[object] = ["--problem", self.folder, "--side", side]
        options += ["--steps", max(self.case.queries) if side == OURS else self.case.steps]
        options += ["--threads", self.threads]
        options += ["--rate", rate] if rate else []
        options += ["--seconds", DENSE_SECONDS] if side == "torch-dense" else []
        found = run_side(*options)
        curve = found.pop("curve")
        steps = curve[-1][0]
        row = {"side": side, "rate": rate, "steps": steps, **found}
        row["ms_per_step"] = round(1e3 * found["seconds"] / steps, 3) if steps else None
        row["first_losses"] = [look[2] for look in curve[1 : 1 + SAME_LOSSES]]
        row["loss"], row["held_out"] = curve[-1][2:]
        if side == OURS:
            row["targets"] = {
                str(queries): targets(curve, queries) for queries in self.case.queries
            }
        aims = row["targets"] if side == OURS else self.row(OURS)["targets"]
        row["reached"] = {queries: reached(curve, aim) for queries, aim in aims.items()}
        self.rows.append(row)
        self.keep(row)
        return row

    def all_rows(self) -> None:
        """Every side; Adam's rate is the one that validates best, the same for all of them."""
        self.row(OURS)
        best = min((self.row(RATED, rate) for rate in RATES), key=lambda row: row["val_loss"])
        same = [self.row(side, best["rate"]) for side in ("torch-packed", "torch-dense")]
        for row in same:
            check_alike(best, row)
            multiply_out(row, best)
        for side in ("onnx-gauss-newton", "onnx-lbfgs"):
            self.row(side)


def targets(curve: list[list[Any]], queries: int) -> Result:
    """Training loss and held-out accuracy of the best prompt after so many queries."""
    best = min((look for look in curve if look[0] <= queries), key=lambda look: look[2])
    return {"loss": best[2], "held_out": best[3]}


def reached(curve: list[list[Any]], aim: Result) -> Result:
    """Count and seconds of the first look at least as good, by goal; None where there is none."""
    found: Result = {}
    for goal in GOALS:
        hits = (
            [count, round(seconds, 3)]
            for count, seconds, loss, held_out in curve
            if (goal == "loss" and loss <= aim["loss"])
            or (goal == "held_out" and held_out is not None and held_out >= aim["held_out"])
        )
        found[goal] = next(hits, None)
    return found


def check_alike(one: Result, other: Result) -> None:
    """Ends the benchmark where two sides of Adam do not compute the same numbers."""
    for ours, theirs in zip(one["first_losses"], other["first_losses"], strict=False):
        if not abs(ours - theirs) <= APART * abs(ours):
            sys.exit(f"{one['side']} and {other['side']} descend apart: {ours} and {theirs}")


def multiply_out(row: Result, whole: Result) -> None:
    """Gives a side that was stopped early the steps of `whole`, whose numbers are the same, at its
    own time a step.
    """
    if row["steps"] < whole["steps"]:
        row["multiplied_out"] = True
        for queries, goals in whole["reached"].items():
            for goal, hit in goals.items():
                each = row["ms_per_step"] / 1e3
                row["reached"][queries][goal] = hit and [hit[0], round(hit[0] * each, 3)]


def new_operators(folder: Path) -> dict[str, list[str]]:
    """Operators of the exported gradient that the product's text tower does not need."""
    import onnx

    tower = ClipOnnx(Opened(folder).problem.onnx).tower(Tower.TEXT)
    known = {node.op_type for node in tower.graph.node}
    return {
        file: sorted({node.op_type for node in onnx.load(str(folder / file)).graph.node} - known)
        for file in (FORWARD, BACKWARD)
    }


def cases_of(options: argparse.Namespace) -> list[Case]:
    """The cases that are asked for, the cheapest first."""
    found = []
    for model in reversed(options.model.split(",")):
        for classes in map(int, options.classes.split(",")):
            dear = model == FULL_SIZE and classes >= 100
            size: Result = {"queries": (1000,), "steps": 60} if dear else {}
            photos = options.data / options.set if options.data else None
            if model == EMBEDDED and classes == 10 and photos:
                seeds = map(int, options.seeds.split(","))
                found += [Case(model, classes, photos, seed, **size) for seed in seeds]
            else:
                found.append(Case(model, classes, **size))
    return found


def main() -> None:
    """Measures what is missing, writes it as JSON, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--classes", default="10,100")
    parser.add_argument("--data", type=Path, help="folder of photo sets")
    parser.add_argument("--set", default="dtd10", help="of ten classes")
    parser.add_argument("--seeds", default="0,1,2", help="of the set's draws")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    result = resumed(
        record({"install_mb": install_mb(), "cases": []}, options.threads), options.out
    )
    for case in cases_of(options):
        measure(case, case.prepare(), options.threads, result, options.out)
    print(tables(result))


def resumed(result: Result, out: Path) -> Result:
    """`result` with the cases that `out` holds. Ends the benchmark where they are of another
    machine: seconds of two machines do not compare.
    """
    if out.exists():
        before = json.loads(out.read_text(encoding="utf8"))
        for name in ("processor", "cores", "threads", "versions"):
            if before[name] != result[name]:
                sys.exit(
                    f"{out} was measured with another {name} ({before[name]}, here {result[name]}):"
                    " give another --out, or delete it"
                )
        result["cases"] = before["cases"]
    return result


def measure(case: Case, folder: Path, threads: int, result: Result, out: Path) -> None:
    """Adds to `result` the rows of a case that it lacks, and writes it after each."""
    entry = next((e for e in result["cases"] if {**e, **case.key} == e), None)
    if entry is None:
        entry = {**case.key, "new_operators": new_operators(folder), "whole": False, "rows": []}
        result["cases"].append(entry)

    def keep(row: Result) -> None:
        save(result, out)
        print(case.key, row["side"], row["rate"] or "", row["reached"], flush=True)

    Bench(case, folder, threads, entry["rows"], keep).all_rows()
    entry["whole"] = True
    save(result, out)


if __name__ == "__main__":
    main()
