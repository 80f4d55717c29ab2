"""The models that speed and memory are measured on, exported once for all benchmarks.

`python -m benchmarks.exports --model ViT-B-16 [--precision fp32]` prints the file's path.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.source import Source

FOLDER = Path("models/build/benchmarks")
OWN = "local-dir:"  # before a folder that open_clip saved, weights and all
EMBEDDED, FULL_SIZE = f"{OWN}models/lite-clip", "ViT-B-16"
MODELS = f"{FULL_SIZE},{EMBEDDED}"
DENSE = "dense"  # in place of a precision: all positions of the text tower, float32


def add_models(parser: argparse.ArgumentParser) -> None:
    """The option `--model` of the benchmarks that take several."""
    parser.add_argument(
        "--model",
        default=MODELS,
        help="comma-separated: open_clip models (random weights) or local-dir:FOLDER",
    )


def known_precisions() -> list[str]:
    """What `python -m export --precision` takes."""
    from export.__main__ import Precision

    return [precision.value for precision in Precision]


def load(model: str) -> "Source":
    """An open_clip model in PyTorch: with random weights, or `local-dir:FOLDER` with its own."""
    from export.source import load_source

    return load_source(model, None, random_weights_seed=None if model.startswith(OWN) else 0)


def place(model: str, precision: str) -> Path:
    """Where the export lies or will lie; another version of the exporter or of open_clip's folder
    has another place.
    """
    digest = hashlib.sha256(
        b"".join(file.read_bytes() for file in sorted(Path("export").glob("*.py")))
    )
    if model.startswith(OWN):
        for file in sorted(Path(model.removeprefix(OWN)).glob("open_clip*")):
            digest.update(file.read_bytes())
    return FOLDER / f"{Path(model).name}-{precision}-{digest.hexdigest()[:12]}" / "clip.onnx"


def exported(model: str, precision: str = "fp32", source: "Source | None" = None) -> Path:
    """The model's `clip.onnx`, exported if it is not there; `source` is the model where it is
    loaded already.
    """
    path = place(model, precision)
    if not path.exists():
        from export.convert import export

        source = source or load(model)
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent.parent, prefix=".export-") as folder:
            whole = Path(folder) / "whole"
            if precision == DENSE:
                export_dense(source, whole / path.name)
            else:
                # Random weights have nothing to learn a start from.
                export(source, whole / path.name, precision, search_start=model.startswith(OWN))
            whole.rename(path.parent)
    return path


def exported_elsewhere(model: str, precision: str) -> Path:
    """The same, exported by a process of its own: the caller stays free of PyTorch."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.exports",
        "--model",
        model,
        "--precision",
        precision,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


def export_dense(source: "Source", out: Path) -> None:
    """Writes a causal text tower as one that is not: all positions of all classes are computed.
    Without the image tower.
    """
    from torch import Tensor, nn

    from edge_sharpzo.clip.card import Layout
    from export.convert import POOLS, model_card
    from export.graph import Towers, build_graph, write
    from export.tokenizer import tokenizer_card
    from export.towers import DenseTextTower, ImageTower, TokenTable, as_text_module

    class NoImages(nn.Module):
        """In place of the image tower: pixels [N, 3, H, W] -> the first D of them [N, D]."""

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels.flatten(1)[:, : card.feature_dim]

    text, pool_type = as_text_module(source.model)
    tokens = tokenizer_card(source.tokenizer, text.context_length)
    card = model_card(source, text, POOLS[pool_type], Layout.DENSE, tokens)
    card = replace(card, name=f"{card.name}, dense")
    towers = Towers(ImageTower(NoImages()), DenseTextTower(text), TokenTable(text))
    write(build_graph(towers, card), card, tokens.json, out)


def main() -> None:
    """Exports and prints where to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="fp32", help=f"as of `python -m export`, or {DENSE}")
    options = parser.parse_args()
    print(exported(options.model, options.precision))


if __name__ == "__main__":
    main()
