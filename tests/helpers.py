"""What several test modules share: tiny models, photos, commands, black boxes with known minima."""

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_sharpzo.cli import app
from edge_sharpzo.clip.card import CARD_KEY
from edge_sharpzo.tuning.methods.presets import SharpZOSettings
from edge_sharpzo.tuning.methods.protocol import Optimizer

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}


RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}


TINY = Path(__file__).parent.parent / "models" / "build" / "tiny" / "clip.onnx"


# One small member of every tower family that open_clip has configurations of.
FAMILIES: dict[str, dict[str, Any]] = {
    "vit": {"vision_cfg": VIT, "text_cfg": TEXT},
    "vit-quickgelu": {"vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "resnet": {"vision_cfg": RESNET, "text_cfg": TEXT},
    "custom-text-causal": {"vision_cfg": VIT, "text_cfg": TEXT, "custom_text": True},
    "layer-scale": {
        "vision_cfg": {**VIT, "ls_init_value": 0.1},
        "text_cfg": {**TEXT, "ls_init_value": 0.1},
    },
    "no-causal-mask": {
        "vision_cfg": VIT,
        "text_cfg": {**TEXT, "no_causal_mask": True},
        "custom_text": True,
    },
    "siglip": {
        "vision_cfg": VIT,
        "text_cfg": {
            **TEXT,
            "context_length": 24,
            "vocab_size": 64,
            "hf_tokenizer_name": "TOKENIZER",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
            "act_kwargs": {"approximate": "tanh"},
        },
        "custom_text": True,
        "init_logit_bias": -10,
    },
    "causal-last": {
        "vision_cfg": VIT,
        "text_cfg": {**TEXT, "context_length": 24, "pool_type": "last"},
        "custom_text": True,
    },
}


def _write_tokenizer(folder: Path) -> None:
    """A word-level tokenizer with an end token, in the form that Hugging Face tokenizers are stored
    in.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from export.check import NAME_WORDS

    words = ["<pad>", "</s>", "<unk>", "a", "photo", "of", "an", "cat", *NAME_WORDS]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)


def write_model(folder: Path, family: str, seed: int = 0) -> Path:
    """An open_clip folder with random weights; returns it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model_cfg = json.loads(json.dumps({"embed_dim": 24, **FAMILIES[family]}))
    if model_cfg["text_cfg"].get("hf_tokenizer_name"):
        _write_tokenizer(folder)
    preprocess = {
        "mean": [0.48, 0.46, 0.41],
        "std": [0.27, 0.26, 0.28],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess})
    )
    torch.manual_seed(seed)
    model = (
        open_clip.factory.CustomTextCLIP
        if model_cfg.pop("custom_text", False)
        else open_clip.factory.CLIP
    )
    created = model(**model_cfg).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in created.parameters():  # biases and norms too: a wrong one must show
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    for module in created.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    state = {
        k: v.contiguous().clone()
        for k, v in created.state_dict().items()
        if not k.endswith("attn_mask")
    }
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


def slow_unless(fast: Callable[..., object], *axes: Iterable[Any]) -> list[Any]:
    """Every combination of the axes' values, for a parametrised test; those are marked slow that
    `fast` is not true of: further cases of what the others show.
    """
    return [
        pytest.param(*case, marks=[] if fast(*case) else pytest.mark.slow)
        for case in product(*axes)
    ]


def rest_slow(cases: Iterable[Any], fast: int = 1) -> list[Any]:
    """Cases of a parametrised test, of which all but the first so many are marked slow: further
    cases of what those show.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if number < fast else pytest.mark.slow,
        )
        for number, case in enumerate(cases)
    ]


@dataclass
class Exported:
    """A tiny model in PyTorch and as ONNX."""

    source: Any
    onnx: Path


def export_model(folder: Path, family: str) -> Exported:
    """A model of a family, exported to `clip.onnx` in `folder`."""
    from export.convert import export
    from export.source import load_source

    source = load_source(f"local-dir:{write_model(folder / 'model', family)}", None)
    export(source, folder / "clip.onnx", "fp32")
    return Exported(source, folder / "clip.onnx")


def write_photos(folder: Path, hue: int, count: int, seed: int, start: int = 0) -> None:
    """`count` noisy photos of one colour, of several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, hue])
    colour = np.array(Image.new("HSV", (1, 1), (hue, 200, 180)).convert("RGB"))[0, 0]
    for i in range(start, start + count):
        shape = (40 + int(rng.integers(20)), 40 + int(rng.integers(30)), 3)
        values = colour + rng.normal(0, 25, shape)
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def run_tune(onnx: Path, data: Path, out: Path, *more: object) -> Any:
    """The command, whatever comes of it."""
    return invoke("tune", "--onnx", onnx, "--data", data, "--out", out, *more)


def tune(onnx: Path, data: Path, out: Path, *more: object) -> dict[str, Any]:
    """The summary of a run that has to succeed."""
    result = run_tune(onnx, data, out, "--shots", 6, "--budget", 1500, "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@dataclass
class Place:
    """A model, photos, a finished run, and room for broken ones."""

    onnx: Path
    photos: Path
    run: Path
    tmp: Path

    def tune(
        self, *more: object, onnx: Path | None = None, data: Path | None = None
    ) -> list[object]:
        return [
            "tune",
            "--onnx",
            onnx or self.onnx,
            "--data",
            data or self.photos,
            "--out",
            self.tmp / "out",
            "--shots",
            6,
            "--budget",
            50,
            *more,
        ]

    def copied_photos(self) -> Path:
        return Path(shutil.copytree(self.photos, self.tmp / "data"))

    def edited_model(self, edit: Callable[[onnx.ModelProto], object]) -> Path:
        model = onnx.load(self.onnx)
        edit(model)
        onnx.save(model, self.tmp / "edited.onnx")
        return self.tmp / "edited.onnx"

    def edited_card(self, old: str, new: str) -> Path:
        def edit(model: onnx.ModelProto) -> None:
            card = next(entry for entry in model.metadata_props if entry.key == CARD_KEY)
            assert old in card.value
            card.value = card.value.replace(old, new)

        return self.edited_model(edit)

    def folder(self, name: str) -> Path:
        path = self.tmp / name
        path.mkdir()
        return path

    def file(self, name: str, content: bytes | str = b"") -> Path:
        path = self.tmp / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def photo(place: Place) -> Path:
    return place.photos / "test" / "red_things" / "000.png"


DIM = 12


SMALL = SharpZOSettings(
    sigma=0.5,
    rho=0.1,
    learning_rate=0.002,
    mu_rge=1e-3,
    mu_sharpness=1e-3,
    mu_mask=1e-3,
    steps=200,
    change_point=40,
    population=10,
    mask_every=50,
)


CENTRE = np.linspace(-1, 1, DIM)


def quadratic(points: np.ndarray) -> np.ndarray:
    return ((points - CENTRE) ** 2 * np.arange(1, DIM + 1)).sum(axis=1)


class Squares:
    """The sum of squared outputs, as a `ConvexLoss`."""

    def values(self, outputs: np.ndarray) -> np.ndarray:
        return (outputs.astype(np.float64) ** 2).sum(axis=1)

    def coordinates(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def expand(self, start: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2 * columns @ start, 2.0 * columns @ columns.T


def residuals(points: np.ndarray) -> np.ndarray:
    """A black box whose squares sum to `quadratic`."""
    return (points - CENTRE) * np.sqrt(np.arange(1, DIM + 1))


def run(
    optimizer: Optimizer,
    budget: int,
    loss: Callable[[np.ndarray], np.ndarray] = quadratic,
    box: Callable[[np.ndarray], np.ndarray] = residuals,
) -> list[tuple[Any, ...]]:
    """The trace (kind, stage, losses) of a run of at most `budget` queries."""
    trace, used = [], 0
    while not optimizer.finished:
        kind, points = optimizer.kind, optimizer.ask()
        used += len(points)
        if used > budget:
            break
        losses = loss(points)
        optimizer.tell(losses, box(points) if optimizer.wants_outputs else None)
        trace.append((kind, optimizer.stage, losses.tolist()))
    return trace


def clouds(
    seed: int, per_class: int, classes: int = 4, dim: int = 6, spread: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy photos around fixed class centres."""
    centres = np.random.default_rng(7).standard_normal((classes, dim))
    labels = np.repeat(np.arange(classes), per_class)
    features = centres[labels] + spread * np.random.default_rng(seed).standard_normal(
        (len(labels), dim)
    )
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )
