"""What it costs that the text tower runs behind a service: rounds there and here, in turn.

`python -m benchmarks.remote_cost [--model ViT-B-16,local-dir:models/lite-clip] [--out FILE.json]`

The server is MLServer as `python -m serving` starts it, with as many threads as the rounds here.
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exports import add_models, exported_elsewhere
from benchmarks.synthetic import class_names, contexts
from benchmarks.timing import fastest, milliseconds, record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.providers import CPU
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.engines.opening import open_clip
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE

CLASSES, CANDIDATES = 10, 16
PORTS = {"kserve": 18001, "kserve+http": 18000}


@contextmanager
def served(onnx: Path, threads: int) -> Iterator[None]:
    """Within it MLServer serves a model file at `PORTS`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "serving",
            "--onnx",
            str(onnx),
            "--out",
            f"{folder}/served",
        ]
        command += ["--grpc-port", str(PORTS["kserve"]), "--http-port", str(PORTS["kserve+http"])]
        command += ["--threads", str(threads)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            if "--engine" not in process.stdout.readline():
                raise SystemExit("the server did not start")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def measure(model: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of a round of `CANDIDATES` here and there; the fastest of `rounds`."""
    onnx, threads = exported_elsewhere(model, "fp32"), usable_cores()
    here = ClipOnnx(onnx, threads)
    prompt = here.prompts.for_tuning(class_names(CLASSES), DEFAULT_TEMPLATE)
    card, tokens = here.card.text, len(prompt.context)
    batch = contexts(CANDIDATES, tokens, card.width, card.embedding_std)
    with served(onnx, threads):
        clips = {"local": here} | {
            scheme: open_clip(
                onnx,
                f"{scheme}://127.0.0.1:{port}/clip",
                None,
                threads=threads,
                provider=CPU,
                memory=MemoryLimit(),
                tell=lambda text, warning: print(text),
            )
            for scheme, port in PORTS.items()
        }
        towers = {side: TextTower(clip, prompt.classes, tokens) for side, clip in clips.items()}
        features = [tower(batch) for tower in towers.values()]
        same = all(np.array_equal(features[0], each) for each in features)
        best = fastest({side: partial(tower, batch) for side, tower in towers.items()}, rounds)
    return {
        "model": model,
        "classes": CLASSES,
        "candidates": CANDIDATES,
        "candidates_in_a_call": towers["local"].batch,
        "same_bits": same,
        "round_ms": {side: milliseconds(seconds) for side, seconds in best.items()},
        "ratio": {side: round(best[side] / best["local"], 3) for side in PORTS},
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as a table of the guide."""
    sides = ("local", *PORTS)
    lines = [f"| a round of {CANDIDATES} candidates, {CLASSES} classes | here | gRPC | REST |"]
    lines.append("|---|---|---|---|")
    for result in results:
        times = [f"{result['round_ms'][side]:.0f} ms" for side in sides]
        times[1:] = [
            f"{time} ({result['ratio'][side]:.2f} times)"
            for side, time in zip(PORTS, times[1:], strict=True)
        ]
        name = result["model"].removeprefix("local-dir:models/")
        lines.append(f"| {name} | {' | '.join(times)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures the models that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = [measure(model, options.rounds) for model in options.model.split(",")]
    for result in results:
        print(result)
    save(record({"results": results}, usable_cores()), options.out)


if __name__ == "__main__":
    main()
