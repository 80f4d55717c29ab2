"""The paper's few-shot protocol on CoOp's sets: SharpZO as published and this project's default
beside its Table 1.

`make reproduce DATA=DIR MODEL=ViT-B-16 PRETRAINED=openai`. Finished rows are kept in
`results/reproduce.jsonl`, so it can be stopped at any time. The sets and the OpenAI weights have to
be there; see `coop_sets.py`.
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
from pathlib import Path
from typing import Any

from benchmarks.accuracy import append, read_lines
from benchmarks.coop_sets import SETS, load_coop_set
from benchmarks.machine import describe_machine
from benchmarks.one_run import closed_form, searched
from benchmarks.sets import encoded, preferred
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.tuning.methods.plan import Preset, Request

RESULTS = Path("benchmarks/results/reproduce.jsonl")


def run_cell(
    clip: ClipOnnx, root: Path, method: str, name: str, shots: int, seed: int
) -> dict[str, Any]:
    """One method on one draw of one set; see `one_run.searched` for the fields."""
    found = load_coop_set(name, root, shots, seed)
    problem = encoded(clip, found, SETS[name].template, shots, seed)
    if method == "zero-shot":
        return closed_form("zero-shot", problem)
    published = Request(preset=Preset.PAPER, paper_task=name)
    request = published if method == "sharpzo" else Request(budget=5000)
    return searched(preferred(clip, method, request), problem)[0]


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--methods", default="zero-shot,gauss-newton,sharpzo")
    parser.add_argument("--shots", default="16", help="comma-separated: 1,2,4,8,16")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    clip = ClipOnnx(options.onnx, usable_cores())
    done = {entry["key"]: entry for entry in read_lines(options.out)}
    for shots in map(int, options.shots.split(",")):
        rows = [
            f"| {shots} shots | " + " | ".join(options.sets.split(",")) + " |",
            "|---" * (len(options.sets.split(",")) + 1) + "|",
        ]
        for method in options.methods.split(","):
            columns = []
            for name in options.sets.split(","):
                values = []
                for seed in map(int, options.seeds.split(",")):
                    key = f"{clip.sha256[:16]} {method} {name} {shots} {seed}"
                    if key not in done:
                        result = run_cell(clip, options.data, method, name, shots, seed)
                        done[key] = {"key": key, **result, "machine": describe_machine()}
                        append(options.out, done[key])
                    values.append(100 * done[key]["held_out"])
                columns.append(f"{statistics.mean(values):.2f}")
            rows.append(f"| {method}, ours | " + " | ".join(columns) + " |")
        rows.append(
            "| zero-shot, the paper's | "
            + " | ".join(f"{SETS[name].zero_shot:.2f}" for name in options.sets.split(","))
            + " |"
        )
        rows.append(
            "| SharpZO, the paper's (ViT-B/16, 16 shots) | "
            + " | ".join(f"{SETS[name].sharpzo:.2f}" for name in options.sets.split(","))
            + " |"
        )
        print("\n".join(rows) + "\n", flush=True)


if __name__ == "__main__":
    main()
