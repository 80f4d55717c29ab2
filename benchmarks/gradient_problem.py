"""One few-shot problem for `benchmarks.gradient_cost`, made ready once for all its sides.

`python -m benchmarks.gradient_problem --model M --classes 10 --seed 0 [--set DIR] --out FOLDER`
writes photo features, prompts, the exported gradient and PyTorch's text tower to FOLDER. Without a
set the photos are made up: the text features of a hidden prompt, plus noise.
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.text_tower import CHUNK_TOKENS, MASKED, TextTower, chunks, pack
from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.tuning.methods.gauss_newton import CONTEXT_TOKENS
from edge_sharpzo.tuning.methods.plan import Request
from edge_sharpzo.tuning.methods.registry import DEFAULT_METHOD
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE
from edge_sharpzo.tuning.start import Start, initial_context

SHOTS, VALIDATING = 16, 4  # made-up photos a class
NOISE = 1.0  # length of the noise on them, beside centres of length 1
SCALE = 100.0  # of their logits, as in trained models; random weights have none to speak of
PROBLEM, ARRAYS, TORCH = "problem.json", "arrays.safetensors", "text.pt"
FORWARD, BACKWARD = "forward.onnx", "backward.onnx"  # see `benchmarks.vjp`
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """What all sides start from."""

    onnx: str  # the model file
    classes: list[list[int]]  # token ids of each class behind the context
    context: list[int]  # of the initial words
    start: Start  # whether it is these or what the model's export has learned
    seed: int
    scale: float  # of the logits


def write(folder: Path, problem: Problem, splits: dict[str, Split]) -> None:
    """Writes what needs no PyTorch; the packed prompts too."""
    arrays: Feeds = {}
    for name, split in splits.items():
        arrays |= {f"{name}.features": split.features, f"{name}.labels": split.labels}
    clip = ClipOnnx(problem.onnx)
    arrays["start"] = initial_context(clip, problem.start, problem.context)
    for i, part in enumerate(packed(clip, problem.classes)):
        arrays |= {f"{i}.{name}": array for name, array in part.items()}
    folder.mkdir(parents=True)
    save_file(arrays, folder / ARRAYS)
    (folder / PROBLEM).write_text(json.dumps(asdict(problem)), encoding="utf8")


class Opened:
    """A problem read back, without PyTorch."""

    def __init__(self, folder: Path):
        self.folder = folder
        written = json.loads((folder / PROBLEM).read_text(encoding="utf8"))
        self.problem = Problem(**{**written, "start": Start(written["start"])})
        self._arrays = load_file(folder / ARRAYS)
        self.start = self._arrays["start"]  # [n, W]

    def split(self, name: str) -> Split:
        """`train`, `val` or `test`."""
        return Split(self._arrays[f"{name}.features"], self._arrays[f"{name}.labels"])

    def parts(self) -> list[Feeds]:
        """The packed sequences; see `packed`."""
        parts: list[Feeds] = []
        while f"{len(parts)}.eot" in self._arrays:
            prefix = f"{len(parts)}."
            parts.append(
                {
                    name.removeprefix(prefix): array
                    for name, array in self._arrays.items()
                    if name.startswith(prefix)
                }
            )
        return parts

    def in_parts(self, upstream: np.ndarray) -> list[np.ndarray]:
        """Gradients by the text features [K, D] for each sequence [1, its classes, D], 0 where it
        was filled up.
        """
        found, done = [], 0
        for part in self.parts():
            count, filled = int(part["count"]), len(part["eot"])
            own = np.zeros((1, filled, upstream.shape[1]), np.float32)
            own[0, :count] = upstream[done : done + count]
            done += count
            found.append(own)
        return found


def packed(clip: ClipOnnx, classes: Sequence[Sequence[int]]) -> list[Feeds]:
    """The text tower's inputs, `ctx` aside, for as many sequences as the product takes, and the
    `count` of classes in each.

    All are filled up to one shape, so that one graph serves them; no class sees the filling.
    """
    prefix = len(clip.card.text.start) + CONTEXT_TOKENS
    fewest = len(chunks(classes, CHUNK_TOKENS))
    total = sum(map(len, classes))
    groups = next(
        found
        for tokens in range(-(-total // fewest), CHUNK_TOKENS + 1)
        if len(found := chunks(classes, tokens)) == fewest
    )
    packings = [pack(classes[group], prefix) for group in groups]
    rows = max(len(packing.positions) for packing in packings)
    most = max(len(packing.eot) for packing in packings)
    parts = []
    for packing in packings:
        own = len(packing.positions)
        mask = np.full((rows, rows), MASKED, np.float32)
        np.fill_diagonal(mask, 0)
        mask[:own, :own] = packing.mask
        names = clip.token_embeddings(packing.ids.tolist())
        parts.append(
            {
                "names": np.pad(names, ((0, rows - own), (0, 0))),
                "positions": np.pad(packing.positions, (0, rows - own)),
                "mask": mask,
                "eot": np.pad(packing.eot, (0, most - len(packing.eot)), mode="edge"),
                "count": np.array(len(packing.eot)),
            }
        )
    return parts


def from_photos(onnx: Path, folder: Path, seed: int) -> tuple[Problem, dict[str, Split]]:
    """The draw of a set that the accuracy benchmark has, photos that validate apart."""
    from benchmarks.sets import load_problem, preferred

    clip = ClipOnnx(onnx)
    drawn = load_problem(clip, folder, SHOTS, seed)
    found, template = drawn.task.found, drawn.task.options.template
    prompt = clip.prompts.for_tuning(found.names, template, CONTEXT_TOKENS)
    start = preferred(clip, DEFAULT_METHOD, Request()).start
    problem = Problem(str(onnx), prompt.classes, prompt.context, start, seed, clip.card.logit_scale)
    splits = drawn.splits
    return problem, {"train": splits.train, "val": splits.val, "test": splits.test}


def made_up(onnx: Path, classes: int, seed: int) -> tuple[Problem, dict[str, Split]]:
    """Photo features that a prompt can learn to tell apart and the initial words cannot.

    A class's centre lies where a hidden prompt's text feature is seen from the initial words'.
    """
    from benchmarks.synthetic import class_names, contexts

    clip = ClipOnnx(onnx)
    card = clip.card.text
    prompt = clip.prompts.for_tuning(class_names(classes), DEFAULT_TEMPLATE, CONTEXT_TOKENS)
    hidden = contexts(1, CONTEXT_TOKENS, card.width, card.embedding_std, seed)
    tower = TextTower(clip, prompt.classes, CONTEXT_TOKENS)
    centres = tower(hidden)[0] - tower(clip.token_embeddings(prompt.context)[None])[0]
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    dim, rng = centres.shape[1], np.random.default_rng([seed, classes])

    def photos(each: int) -> Split:
        labels = np.arange(each * classes) % classes
        noise = rng.standard_normal((len(labels), dim)) * NOISE / np.sqrt(dim)
        features = centres[labels] + noise
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return Split(features.astype(np.float32), labels)

    problem = Problem(str(onnx), prompt.classes, prompt.context, Start.WORDS, seed, SCALE)
    return problem, {
        "train": photos(SHOTS),
        "val": photos(VALIDATING),
        "test": Split(np.zeros((0, dim), np.float32), np.zeros(0, np.int64)),
    }


def write_torch(folder: Path, model: Any) -> None:
    """Adds what the sides with gradients need: the exported gradient, PyTorch's text tower."""
    import torch

    from benchmarks.vjp import export_gradient
    from export.towers import PackedTextTower, as_text_module

    opened = Opened(folder)
    card = ClipOnnx(opened.problem.onnx).card.text
    text, _ = as_text_module(model)
    tower = PackedTextTower(text, card.start[0])
    export_gradient(tower, {"ctx": opened.start[None], **opened.parts()[0]}, folder)
    torch.save(model, folder / TORCH)


def main() -> None:
    """Writes one problem; a folder that is there is whole."""
    from benchmarks.exports import exported, load

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--classes", type=int, default=10, help="of made-up photos")
    parser.add_argument("--set", type=Path, help="folder of photos in place of made-up ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.out.exists():
        return
    source = load(options.model)
    onnx = exported(options.model, source=source)
    problem, splits = (
        from_photos(onnx, options.set, options.seed)
        if options.set
        else made_up(onnx, options.classes, options.seed)
    )
    begun = options.out.with_name(f".{options.out.name}")
    shutil.rmtree(begun, ignore_errors=True)
    write(begun, problem, splits)
    source.model.visual = None  # no side needs it
    write_torch(begun, source.model)
    begun.rename(options.out)


if __name__ == "__main__":
    main()
