"""What one query costs: our packed text tower against the dense ones, same weights, same cores, one
run.

`python -m benchmarks.query_cost [--model ViT-B-16,local-dir:models/lite-clip] [--precision int8]
[--out FILE.json]`

The dense sides: the published loop's loss evaluation (`benchmarks.reference`), open_clip's
`encode_text`, and the same dense tower in onnxruntime. Ours: the packed tower, by candidates in one
call. Random weights serve as well as others: time does not depend on them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.exports import DENSE, add_models, exported, known_precisions, load
from benchmarks.products import ProductsOnly, packed_products, peak_product
from benchmarks.reference import PublishedEvaluation
from benchmarks.synthetic import class_names, contexts, photo_features
from benchmarks.timing import fastest, milliseconds, processor_seconds, record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE
from export.check import context_replaced, dense_reference
from export.source import Source

CLASSES, BATCHES = (10, 100, 1000), (1, 4, 8, 16, 32, 64)
PHOTOS, TOKENS = 160, 4  # cached image features; context tokens
LONGEST_CALL = (
    20.0  # seconds; longer calls are not run: dense sides are extrapolated, batches left out
)
DENSE_SIDES = {
    "published": "published loop's evaluation",
    "encode_text": "open_clip encode_text",
    "onnxruntime_dense": "dense in onnxruntime",
}
Result = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """One text tower on every side."""

    source: Source
    clip: ClipOnnx
    dense: ClipOnnx
    integer: ClipOnnx | None = None  # int8 weights

    @classmethod
    def open(cls, name: str, precision: str, threads: int) -> "Model":
        """Exports what is missing."""
        source = load(name)
        integer = (
            None if precision == "fp32" else ClipOnnx(exported(name, precision, source), threads)
        )
        return cls(
            source,
            ClipOnnx(exported(name, "fp32", source), threads),
            ClipOnnx(exported(name, DENSE, source), threads),
            integer,
        )


class Sides:
    """One query of some classes on every side."""

    def __init__(self, model: Model, classes: int):
        names, card = class_names(classes), model.clip.card
        prompt = model.clip.prompts.for_tuning(names, DEFAULT_TEMPLATE, TOKENS)
        self.first, self.classes = len(card.text.start), classes
        self.rows = self.first + TOKENS + sum(map(len, prompt.classes))
        self.contexts = contexts(max(BATCHES), TOKENS, card.text.width, card.text.embedding_std)
        self.model = model.source.model
        self.ids = model.source.tokenizer([DEFAULT_TEMPLATE.replace("{}", name) for name in names])
        photos = photo_features(PHOTOS, classes, card.feature_dim)
        self.published = PublishedEvaluation(self.model, self.ids, self.first, TOKENS, *photos)
        self.dense = TextTower(model.dense, prompt.classes, TOKENS)
        self.packed = {"packed": TextTower(model.clip, prompt.classes, TOKENS)}
        if model.integer:
            self.packed["packed_int8"] = TextTower(model.integer, prompt.classes, TOKENS)
            self.packed["packed_int8_in_integers"] = TextTower(
                model.integer, prompt.classes, TOKENS, integer=True
            )

    def encode_text(self) -> None:
        """open_clip's text features of one candidate."""
        with (
            torch.no_grad(),
            context_replaced(self.model, torch.from_numpy(self.contexts[0]), self.first),
        ):
            self.model.encode_text(self.ids, normalize=True)

    def dense_calls(self) -> dict[str, Callable[[], object]]:
        """One candidate on each dense side."""
        context = torch.from_numpy(self.contexts[0])
        return {
            "published": lambda: self.published(context),
            "encode_text": self.encode_text,
            "onnxruntime_dense": lambda: self.dense(self.contexts[:1]),
        }

    def at_once(self, tower: str, batch: int) -> np.ndarray:
        """Features [batch, K, D] of that many candidates in one call."""
        self.packed[tower].batch = batch
        return self.packed[tower](self.contexts[:batch])

    def packed_calls(self, tower: str) -> dict[tuple[str, int], Callable[[], object]]:
        """Calls of the batches that do not take too long, judged by one candidate's time."""
        alone = fastest({0: partial(self.at_once, tower, 1)}, 1)[0]
        return {
            (tower, batch): partial(self.at_once, tower, batch)
            for batch in BATCHES
            if batch == 1 or batch * alone < LONGEST_CALL
        }


def measure_classes(model: Model, classes: int, rounds: int, fewer: Result | None) -> Result:
    """Milliseconds a query of each side; dense sides that would take too long are multiples of
    theirs with `fewer` classes.
    """
    sides = Sides(model, classes)
    calls: dict[Any, Callable[[], object]] = {}
    extrapolated: dict[str, float] = {}
    for side, call in sides.dense_calls().items():
        multiple = fewer["ms"][side] * classes / fewer["classes"] if fewer else 0.0
        if multiple > 1e3 * LONGEST_CALL:
            extrapolated[side] = multiple
        else:
            calls[side] = call
    for tower in sides.packed:
        calls |= sides.packed_calls(tower)
    seconds = fastest(calls, rounds)
    dense = {side: extrapolated.get(side) or milliseconds(seconds[side]) for side in DENSE_SIDES}
    result: Result = {"classes": classes, "ms": dense, "extrapolated": list(extrapolated)}
    for tower in sides.packed:
        by_batch = {
            key[1]: milliseconds(value / key[1])
            for key, value in seconds.items()
            if key[0] == tower
        }
        best = min(
            (batch for batch in by_batch if batch > 1), key=lambda batch: by_batch[batch], default=1
        )
        ratios = {
            side: {batch: round(dense[side] / ms, 1) for batch, ms in by_batch.items()}
            for side in dense
        }
        result[tower] = {"ms_by_batch": by_batch, "best_batch": best, "ratio_by_batch": ratios}
    return result


def agreement(model: Model) -> Result:
    """Largest differences from open_clip for ten classes: of all sides' features, and of the
    re-created loop's loss.
    """
    sides = Sides(model, CLASSES[0])
    theirs = dense_reference(sides.model, sides.ids, sides.contexts[:4], sides.first)
    apart = {tower: float(np.abs(sides.at_once(tower, 4) - theirs).max()) for tower in sides.packed}
    apart["onnxruntime_dense"] = float(np.abs(sides.dense(sides.contexts[:4]) - theirs).max())
    with torch.no_grad():
        published = np.stack(
            [
                sides.published.text_features(context).numpy()
                for context in torch.from_numpy(sides.contexts[:4])
            ]
        )
    return {**apart, "published": float(np.abs(published - theirs).max())}


def efficiency(model: Model, batches: tuple[int, int], threads: int, rounds: int) -> Result:
    """Ten classes: matrix products in GFLOP/s, as shares of the machine's peak and of the time that
    they take on their own.
    """
    sides = Sides(model, CLASSES[0])
    products = {
        batch: ProductsOnly(packed_products(sides.model, batch, sides.rows, sides.classes), threads)
        for batch in batches
    }
    peak = peak_product(threads)
    left, right = torch.randn(784, 512), torch.randn(512, 2048)
    calls: dict[Any, Callable[[], object]] = {"peak": peak, "torch peak": lambda: left @ right}
    for batch in products:
        calls |= {
            ("call", batch): partial(sides.at_once, "packed", batch),
            ("products", batch): products[batch],
        }
    seconds = fastest(calls, 2 * rounds)
    highest = 1e-9 * peak.flop / min(seconds["peak"], seconds["torch peak"])
    result: Result = {"matrix_peak_gflops": round(highest, 1)}
    for batch, alone in products.items():
        rate = 1e-9 * alone.flop / seconds["call", batch]
        result[f"batch_{batch}"] = {
            "gflop_a_candidate": round(1e-9 * alone.flop / batch, 3),
            "gflops": round(rate, 1),
            "share_of_peak": round(rate / highest, 3),
            "share_of_products_own_time": round(
                seconds["products", batch] / seconds["call", batch], 3
            ),
        }
    return result


def measure(
    name: str, precision: str, threads: int, rounds: int, counts: tuple[int, ...] = CLASSES
) -> Result:
    """All figures of one model."""
    model = Model.open(name, precision, threads)
    cases: list[Result] = []
    for classes in counts:
        cases.append(
            measure_classes(
                model,
                classes,
                rounds if classes <= 10 else max(1, rounds // 2),
                cases[-1] if cases else None,
            )
        )
        show(cases[-1])
    sides = Sides(model, counts[0])
    best = cases[0]["packed"]["best_batch"]
    lowest = [min(case["packed"]["ms_by_batch"].values()) for case in cases]
    return {
        "model": name,
        "weights": model.clip.card.weights,
        "cases": cases,
        "published_processor_ms": milliseconds(
            processor_seconds(sides.dense_calls()["published"], rounds)
        ),
        "features_max_abs": agreement(model),
        "efficiency": efficiency(model, (1, best), threads, rounds),
        "most_to_fewest_classes": round(lowest[-1] / lowest[0], 1),
    }


def show(case: Result) -> None:
    """Prints one case."""
    print(f"  {case['classes']} classes")
    for side, title in DENSE_SIDES.items():
        print(
            f"    {title:28} {case['ms'][side]:10.2f} "
            f"ms{'  (extrapolated)' if side in case['extrapolated'] else ''}"
        )
    for tower in (
        name for name in ("packed", "packed_int8", "packed_int8_in_integers") if name in case
    ):
        for batch, ms in case[tower]["ms_by_batch"].items():
            ratios = ", ".join(
                f"{values[batch]:.1f}" for values in case[tower]["ratio_by_batch"].values()
            )
            best = "  <- best" if batch == case[tower]["best_batch"] else ""
            print(
                f"    {tower + f', {batch} at once':28} {ms:10.2f} ms, {ratios} times faster than "
                f"those{best}",
                flush=True,
            )


def show_totals(found: Result) -> None:
    """Prints what is not about one number of classes."""
    peak = found["efficiency"]["matrix_peak_gflops"]
    for batch, share in found["efficiency"].items():
        if isinstance(share, dict):
            print(
                f"  {batch}: {share['gflops']} GFLOP/s, {100 * share['share_of_peak']:.0f} % of "
                f"the machine's peak of {peak}; ",
                end="",
            )
            print(
                f"its products alone take {100 * share['share_of_products_own_time']:.0f} % of "
                "its time"
            )
    print(f"  most classes to fewest: {found['most_to_fewest_classes']} times the milliseconds")
    apart = [f"{value:.1e} ({side})" for side, value in found["features_max_abs"].items()]
    print(f"  features apart by at most {', '.join(apart)}", flush=True)


def main() -> None:
    """Prints the figures and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=known_precisions(),
        help="of one more row, beside fp32",
    )
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=5, help="of two calls a side")
    parser.add_argument("--classes", default=",".join(map(str, CLASSES)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = record({"models": []}, options.threads)
    print(f"one query of one candidate, {options.threads} threads of {result['processor']}")
    for name in options.model.split(","):
        print(name)
        found = measure(
            name,
            options.precision,
            options.threads,
            options.rounds,
            tuple(map(int, options.classes.split(","))),
        )
        result["models"].append(found)
        show_totals(found)
        save(result, options.out)


if __name__ == "__main__":
    main()
