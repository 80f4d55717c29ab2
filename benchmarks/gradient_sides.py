"""One side of `benchmarks.gradient_cost`, in a process of its own: prints a line of JSON.

`python -m benchmarks.gradient_sides --problem FOLDER --side onnx-adam --rate 0.01 --steps 200`
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.descent import Loss, Seen, TextGradient, adam, gauss_newton, lbfgs
from benchmarks.gradient_problem import BACKWARD, FORWARD, TORCH, Opened
from benchmarks.gradient_table import OURS, TITLES
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.system.memory import peak_mb
from edge_sharpzo.tuning.loss import accuracy, cross_entropy


class Look(NamedTuple):
    """A point of a side's curve."""

    at: int  # queries of ours, steps of the others
    seconds: float
    loss: float
    held_out: float | None


class Clock:
    """Seconds that a side has worked."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.perf_counter()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens within it is not the side's work."""
        self.seconds += time.perf_counter() - self._since
        yield
        self._since = time.perf_counter()


class OnnxGradient:
    """The exported gradient in plain onnxruntime."""

    def __init__(self, opened: Opened, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._forward, self._backward = (
            onnxruntime.InferenceSession(str(opened.folder / file), options)
            for file in (FORWARD, BACKWARD)
        )
        self._outputs = [output.name for output in self._forward.get_outputs()]
        self._wanted = [given.name for given in self._backward.get_inputs()]
        self._opened, self._parts = opened, opened.parts()
        self._counts = [int(part.pop("count")) for part in self._parts]
        self._saved: list[dict[str, np.ndarray]] = []

    def text(self, context: np.ndarray) -> np.ndarray:
        """See `TextGradient`."""
        self._saved.clear()
        for part in self._parts:
            given = {**part, "ctx": context[None]}
            found = self._forward.run(self._outputs, given)
            self._saved.append({**part, **dict(zip(self._outputs, found, strict=True))})
        text = [s["text_features"][0, :n] for s, n in zip(self._saved, self._counts, strict=True)]
        return np.concatenate(text)

    def pull(self, upstream: np.ndarray) -> np.ndarray:
        """See `TextGradient`."""
        slopes = []
        for own, saved in zip(self._opened.in_parts(upstream), self._saved, strict=True):
            given = {**saved, "upstream": own}
            feeds = {name: given[name] for name in self._wanted}
            slopes.append(self._backward.run(None, feeds)[0][0])
        return np.asarray(sum(slopes))


class TorchGradient:
    """PyTorch's autograd, packed or dense."""

    def __init__(self, opened: Opened, threads: int, dense: bool):
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        model = torch.load(opened.folder / TORCH, mmap=True, weights_only=False)
        encode = self._dense if dense else self._packed
        self._encode = encode(opened, model.requires_grad_(False))
        self._graph: Any = None

    def text(self, context: np.ndarray) -> np.ndarray:
        """See `TextGradient`."""
        ctx = self._torch.from_numpy(context).requires_grad_(True)
        text = self._encode(ctx)
        self._graph = (text, ctx)
        return text.detach().numpy()

    def pull(self, upstream: np.ndarray) -> np.ndarray:
        """See `TextGradient`."""
        text, ctx = self._graph
        self._graph = None
        (slope,) = self._torch.autograd.grad(text, ctx, self._torch.from_numpy(upstream))
        return slope.numpy()

    def _packed(self, opened: Opened, model: Any) -> Any:
        """All sequences of the packed tower."""
        from export.towers import PackedTextTower, as_text_module

        torch, parts = self._torch, opened.parts()
        start = ClipOnnx(opened.problem.onnx).card.text.start[0]
        tower = PackedTextTower(as_text_module(model)[0], start).eval()
        counts = [int(part.pop("count")) for part in parts]
        order = ("names", "positions", "mask", "eot")
        inputs = [[torch.from_numpy(part[name]) for name in order] for part in parts]

        def encode(ctx: Any) -> Any:
            text = [tower(ctx[None], *given)[0] for given in inputs]
            return torch.cat([t[:n] for t, n in zip(text, counts, strict=True)])

        return encode

    def _dense(self, opened: Opened, model: Any) -> Any:
        """Every class's prompt in full, all positions of the tower."""
        from benchmarks.reference import PublishedEvaluation

        problem, card = opened.problem, ClipOnnx(opened.problem.onnx).card.text
        rows = [[*card.start, *problem.context, *row] for row in problem.classes]
        ids = [row + [card.pad] * (card.context_length - len(row)) for row in rows]
        train = opened.split("train")
        published = PublishedEvaluation(
            model,
            self._torch.tensor(ids),
            len(card.start),
            len(problem.context),
            train.features,
            train.labels,
        )
        return published.text_features


def ours(opened: Opened, queries: int, threads: int) -> tuple[list[Look], dict[str, Any]]:
    """The default method as the product runs it; and milliseconds of a forward pass alone."""
    from benchmarks.timing import fastest, milliseconds
    from edge_sharpzo.clip.text_tower import TextTower
    from edge_sharpzo.tuning.budget import Budget
    from edge_sharpzo.tuning.loop import Watch, run_loop
    from edge_sharpzo.tuning.loss import FewShotLoss
    from edge_sharpzo.tuning.methods.plan import Request
    from edge_sharpzo.tuning.methods.registry import plan
    from edge_sharpzo.tuning.objective import PromptObjective
    from edge_sharpzo.tuning.space import PromptSpace

    problem, clip = opened.problem, ClipOnnx(opened.problem.onnx, threads)
    chosen = plan(request=Request(start=problem.start))
    space = PromptSpace(opened.start, clip.card.text.embedding_std, chosen.dim)
    encode = TextTower(clip, problem.classes, len(opened.start))
    loss = FewShotLoss(*opened.split("train"), problem.scale)
    objective = PromptObjective.assembled(space, encode, loss)
    forward = fastest({0: lambda: encode(opened.start[None])}, 5)[0]
    optimizer = chosen.make(objective.dim, loss, problem.seed)
    test, looks = opened.split("test"), []
    clock = Clock()

    def look(record: Any, text: np.ndarray) -> None:
        with clock.stopped():
            held_out = accuracy(text, *test)
            looks.append(Look(record.queries, clock.seconds, record.loss, held_out))

    run_loop(
        objective,
        optimizer,
        opened.split("val"),
        Budget(queries),
        chosen.criterion,
        watch=Watch(on_record=look),
    )
    return looks, {"forward_ms": milliseconds(forward)}


def descend(
    opened: Opened, side: str, rate: float, steps: int, seconds: float, threads: int
) -> tuple[list[Look], dict[str, Any]]:
    """Looks at `steps` steps of a side with gradients, fewer where they take over `seconds`; and
    the last prompt's validation loss.
    """
    tower: TextGradient = (
        OnnxGradient(opened, threads)
        if side.startswith("onnx")
        else TorchGradient(opened, threads, dense=side.endswith("dense"))
    )
    unit, scale = ClipOnnx(opened.problem.onnx).card.text.embedding_std, opened.problem.scale
    loss = Loss(tower, opened.start, unit, opened.split("train"), scale)
    tower.pull(np.zeros_like(tower.text(opened.start)))  # the engine's first call is no step
    ways = {"onnx-gauss-newton": gauss_newton, "onnx-lbfgs": lbfgs}
    way: Iterator[Seen] = ways[side](loss) if side in ways else adam(loss, rate)
    test, looks, clock = opened.split("test"), list[Look](), Clock()
    for seen in way:
        with clock.stopped():
            looks.append(Look(len(looks), clock.seconds, seen.loss, accuracy(seen.text, *test)))
        if len(looks) > steps or clock.seconds > seconds:
            break
    validated = cross_entropy(seen.text[None], *opened.split("val"), scale)
    return looks, {"val_loss": float(validated[0])}


def measured(
    opened: Opened, side: str, rate: float, steps: int, seconds: float, threads: int
) -> dict[str, Any]:
    """What a side did: its curve, its seconds, and the process's most memory in MB."""
    looks, found = (
        ours(opened, steps, threads)
        if side == OURS
        else descend(opened, side, rate, steps, seconds, threads)
    )
    curve = [list(look) for look in looks]
    return {**found, "curve": curve, "seconds": looks[-1].seconds, "peak_mb": peak_mb()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", type=Path, required=True)
    parser.add_argument("--side", choices=TITLES, required=True)
    parser.add_argument("--steps", type=int, required=True, help="queries of ours")
    parser.add_argument("--rate", type=float, default=0.01, help="of Adam")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, gradients")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    opened = Opened(options.problem)
    found = measured(
        opened, options.side, options.rate, options.steps, options.seconds, options.threads
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
