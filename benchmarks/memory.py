"""Memory of a whole `edge-sharpzo tune`: its peak, and what stays resident while it tunes, with the
image tower let go.

`python -m benchmarks.memory [--model ViT-B-16,local-dir:models/lite-clip] [--out FILE.json]`

Linux only. The tool runs as a user runs it, in a process of its own, on the three-class photos of
the demo. A child's peak counts what its parent held when it started, so this process imports no
PyTorch; models are exported by another one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.exports import add_models, exported_elsewhere, known_precisions
from benchmarks.timing import record, save
from edge_sharpzo.system.machine import usable_cores

# The environment that devices have (`make setup`); this one's packages take memory of their own.
DEVICE = ".venv/bin/python"
HERTZ = 20  # samples a second
PHOTOS_DONE, TUNING = "photos ", "about "  # how lines on stderr begin: photos encoded, tuning begun
# Of /proc/PID/status: all, the process's own, mapped files.
FIELDS = {
    "VmRSS": "resident",
    "RssAnon": "own",
    "RssFile": "files",
}


def resident_mb(pid: int) -> dict[str, float]:
    """Resident memory of a process in MB (10^6 bytes), by `FIELDS`; empty when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return {
        title: 1024 * int(values[name].split()[0]) / 1e6
        for name, title in FIELDS.items()
        if name in values
    }


@dataclass
class Watched:
    """What was seen of a process: samples and the lines of its stderr, each with its time, s."""

    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    peak_mb: float = 0.0  # ru_maxrss

    def when(self, start: str) -> float:
        """Time of the last line that begins with `start`."""
        return max(moment for moment, line in self.lines if line.startswith(start))


def watch(command: list[str], environment: dict[str, str]) -> Watched:
    """Runs `command` to its end, sampling its memory. Raises RuntimeError with its messages when it
    fails.
    """
    seen = Watched()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    stderr = process.stderr
    reader = threading.Thread(
        target=lambda: seen.lines.extend((time.monotonic(), line.rstrip("\n")) for line in stderr)
    )
    reader.start()
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if values := resident_mb(process.pid):
            seen.samples.append((time.monotonic(), values))
        time.sleep(1 / HERTZ)
    reader.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError("\n".join(line for _, line in seen.lines))
    seen.peak_mb = usage.ru_maxrss * 1024 / 1e6
    return seen


def tuning_phase(seen: Watched, tuning_seconds: float) -> dict[str, float]:
    """Median memory of the second half of tuning, which began when the photos were done and took
    `tuning_seconds`.
    """
    end = seen.when(PHOTOS_DONE) + tuning_seconds
    start = (seen.when(TUNING) + end) / 2
    samples = [values for moment, values in seen.samples if start <= moment <= end]
    if not samples:
        raise RuntimeError("tuning was too short to look at: give a larger --budget")
    titles = [title for title in FIELDS.values() if all(title in values for values in samples)]
    return {
        title: round(statistics.median(values[title] for values in samples), 1) for title in titles
    }


def measure(onnx: Path, budget: int, threads: int, *photos: object) -> dict[str, Any]:
    """Peak and tuning memory in MB of one run; `photos` are the arguments that name its photos,
    which it encodes itself.
    """
    with tempfile.TemporaryDirectory(prefix="edge-sharpzo-memory-") as folder:
        out = Path(folder) / "run"
        arguments = [
            *photos,
            "--onnx",
            onnx,
            "--out",
            out,
            "--budget",
            budget,
            "--threads",
            threads,
        ]
        command = [
            DEVICE if Path(DEVICE).exists() else sys.executable,
            "-m",
            "edge_sharpzo",
            "tune",
            *map(str, arguments),
        ]
        seen = watch(command, {**os.environ, "EDGE_SHARPZO_CACHE": str(Path(folder) / "cache")})
        summary = json.loads((out / "summary.json").read_text())
    return {
        "file_mb": round(
            sum(file.stat().st_size for file in onnx.parent.glob(f"{onnx.name}*")) / 1e6, 1
        ),
        "peak_mb": round(seen.peak_mb, 1),
        "tuning_mb": tuning_phase(seen, summary["seconds"]["tuning"]),
        "queries": summary["queries"]["total"],
        "samples": len(seen.samples),
    }


def main() -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument(
        "--precision",
        default="fp32,int8",
        help="comma-separated; one that the export does not know is left out",
    )
    parser.add_argument("--budget", type=int, default=3000, help="queries of each run")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = record({"budget": options.budget, "runs": []}, options.threads)
    print(f"MB of `edge-sharpzo tune`, {options.threads} threads of {result['processor']}")
    print(
        f"{'model':26} {'precision':9} {'file':>7} {'peak':>7}   while tuning: {'resident':>8} "
        f"{'own':>8} {'files':>8}"
    )
    with tempfile.TemporaryDirectory(prefix="edge-sharpzo-memory-") as folder:
        data, names = Path(folder) / "textile", Path(folder) / "names.txt"
        demo = import_module("examples.demo")  # its photos' package has no types
        demo.link_photos(data)
        names.write_text("".join(f"{name} = {text}\n" for name, text in demo.CLASSES.items()))
        photos = ("--data", data, "--class-names", names, "--template", "a photo of {}.")
        for model in options.model.split(","):
            for precision in options.precision.split(","):
                if precision not in known_precisions():
                    print(f"{model:26} {precision:9} left out: the export does not know it")
                    continue
                found = measure(
                    exported_elsewhere(model, precision), options.budget, options.threads, *photos
                )
                result["runs"].append({"model": model, "precision": precision, **found})
                tuning = " ".join(
                    f"{found['tuning_mb'].get(title, float('nan')):8.1f}"
                    for title in FIELDS.values()
                )
                print(
                    f"{model:26} {precision:9} {found['file_mb']:7.1f} {found['peak_mb']:7.1f}    "
                    f"             {tuning}",
                    flush=True,
                )
                save(result, options.out)


if __name__ == "__main__":
    main()
