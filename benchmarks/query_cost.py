"""What one query costs: our packed text tower against open_clip's dense `encode_text`, same weights, same cores.

`python -m benchmarks.query_cost [--model ViT-B-16] [--out FILE.json]`
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.machine import processor
from edge_sharpzo import text_tower
from edge_sharpzo.clip_file import ClipOnnx
from edge_sharpzo.machine import usable_cores, versions
from edge_sharpzo.objective import DEFAULT_TEMPLATE
from edge_sharpzo.text_tower import TextTower
from export.check import context_replaced, dense_reference
from export.convert import export
from export.source import load_source

# EuroSAT's class names as CoOp writes them.
EUROSAT = [
    "Annual Crop Land", "Forest", "Herbaceous Vegetation Land", "Highway or Road", "Industrial Buildings",
    "Pasture Land", "Permanent Crop Land", "Residential Buildings", "River", "Sea or Lake",
]  # fmt: skip


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of `repeats` calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_peak(threads: int) -> float:
    """GFLOP/s of the faster of torch and onnxruntime at the largest product of a ViT-B/16-size tower, 784 x 512 x 2,048."""
    rows, inner, columns = 784, 512, 2048
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(right.numpy(), "w")],
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    seconds = min(fastest(lambda: left @ right, 30), fastest(lambda: session.run(None, {"x": left.numpy()}), 30))
    return 2e-9 * rows * inner * columns / seconds


def packed_gflop(model: torch.nn.Module, rows: int, classes: int) -> float:
    """Matrix products of one candidate in 10^9 operations: every layer in full, the last one for the end tokens alone."""
    text = getattr(model, "text", model)
    layers, width = len(text.transformer.resblocks), text.transformer.width
    # In units of rows times width^2: q, k, v, the attention's output, and eight of the two linear layers behind it.
    products = (layers - 1) * 12 * rows + 2 * rows + 10 * classes
    return 2e-9 * products * width**2


def measure(model_name: str, repeats: int) -> dict[str, Any]:
    """Milliseconds a candidate for both sides, their ratio, and how far the features are apart."""
    threads = usable_cores()
    torch.set_num_threads(threads)
    local = model_name.startswith("local-dir:")
    source = load_source(model_name, None, random_weights_seed=None if local else 0)
    ids = source.tokenizer([DEFAULT_TEMPLATE.replace("{}", name) for name in EUROSAT])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        export(source, Path(folder) / "clip.onnx", "fp32")
        clip = ClipOnnx(Path(folder) / "clip.onnx", threads)
        prompt = clip.prompts.for_tuning(EUROSAT, DEFAULT_TEMPLATE)
        card = clip.card.text
        contexts = (rng.standard_normal((64, 4, card.width)) * 4 * card.embedding_std).astype(np.float32)
        tower = TextTower(clip, prompt.classes, 4)

        reference = dense_reference(source.model, ids, contexts[:16], len(card.start))
        max_abs = float(np.abs(tower(contexts[:16]) - reference).max())
        with torch.no_grad(), context_replaced(source.model, torch.from_numpy(contexts[0]), len(card.start)):
            dense = fastest(lambda: source.model.encode_text(ids, normalize=True), repeats)
        ours = {}
        for batch in (1, 4, 16, 64):
            text_tower.BATCH = batch
            ours[batch] = fastest(partial(tower, contexts[:batch]), repeats) / batch
        text_tower.BATCH = 16
    peak = matrix_peak(threads)
    rows = len(card.start) + 4 + sum(len(row) for row in prompt.classes)
    floor = packed_gflop(source.model, rows, len(EUROSAT)) / peak
    return {
        "model": model_name,
        "classes": len(EUROSAT),
        "threads": threads,
        "open_clip_ms": round(1e3 * dense, 2),
        "packed_ms_by_batch": {batch: round(1e3 * seconds, 3) for batch, seconds in ours.items()},
        "ratio_by_batch": {batch: round(dense / seconds, 1) for batch, seconds in ours.items()},
        "features_max_abs": max_abs,
        "matrix_peak_gflops": round(peak, 1),
        "floor_ms": round(1e3 * floor, 2),
        "highest_ratio": round(dense / floor, 1),
    }


def main() -> None:
    """Prints the figures and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="ViT-B-16", help="open_clip model (random weights) or local-dir:FOLDER")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = measure(options.model, options.repeats) | {"processor": processor(), "versions": versions() | {"torch": torch.__version__}}
    print(f"{result['model']}, {result['classes']} classes, {result['threads']} threads of {result['processor']}")
    print(f"  open_clip encode_text, dense: {result['open_clip_ms']:8.2f} ms a candidate")
    for batch, ms in result["packed_ms_by_batch"].items():
        print(f"  packed, {batch:2} candidates:        {ms:8.2f} ms a candidate, {result['ratio_by_batch'][batch]:.1f} times faster")
    peak = result["matrix_peak_gflops"]
    print(f"  matrix products alone, at this machine's peak of {peak} GFLOP/s: {result['floor_ms']} ms, {result['highest_ratio']} times faster")
    print(f"  features apart by at most {result['features_max_abs']:.1e}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
