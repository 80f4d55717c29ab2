"""Tiny CLIP models, exported once a session, and folders of photos that a machine can learn to tell apart."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command line does; before NumPy is loaded
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
from PIL import Image

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}

# One small member of every tower family that open_clip has configurations of.
FAMILIES: dict[str, dict[str, Any]] = {
    "vit": {"vision_cfg": VIT, "text_cfg": TEXT},
    "vit-quickgelu": {"vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "resnet": {"vision_cfg": RESNET, "text_cfg": TEXT},
    "custom-text-causal": {"vision_cfg": VIT, "text_cfg": TEXT, "custom_text": True},
    "layer-scale": {"vision_cfg": {**VIT, "ls_init_value": 0.1}, "text_cfg": {**TEXT, "ls_init_value": 0.1}},
    "no-causal-mask": {"vision_cfg": VIT, "text_cfg": {**TEXT, "no_causal_mask": True}, "custom_text": True},
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
    "causal-last": {"vision_cfg": VIT, "text_cfg": {**TEXT, "context_length": 24, "pool_type": "last"}, "custom_text": True},
}


def _write_tokenizer(folder: Path) -> None:
    """A word-level tokenizer with an end token, in the form that Hugging Face tokenizers are stored in."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from export.check import NAME_WORDS

    words = ["<pad>", "</s>", "<unk>", "a", "photo", "of", "an", "cat", *NAME_WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
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
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}))
    torch.manual_seed(seed)
    model = open_clip.factory.CustomTextCLIP if model_cfg.pop("custom_text", False) else open_clip.factory.CLIP
    created = model(**model_cfg).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in created.parameters():  # biases and norms too: a wrong one must show
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    for module in created.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    state = {k: v.contiguous().clone() for k, v in created.state_dict().items() if not k.endswith("attn_mask")}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


@dataclass
class Exported:
    """A tiny model in PyTorch and as ONNX."""

    source: Any
    onnx: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Exports a family, once."""
    done: dict[str, Exported] = {}

    def make(family: str) -> Exported:
        from export.convert import export
        from export.source import load_source

        if family not in done:
            folder = tmp_path_factory.mktemp(family)
            source = load_source(f"local-dir:{write_model(folder / 'model', family)}", None)
            export(source, folder / "clip.onnx", "fp32")
            done[family] = Exported(source, folder / "clip.onnx")
        return done[family]

    return make


@pytest.fixture(scope="session")
def tiny_onnx(exported: Callable[[str], Exported]) -> Path:
    """The smallest ordinary model."""
    return exported("vit").onnx


def write_photos(folder: Path, hue: int, count: int, seed: int, start: int = 0) -> None:
    """`count` noisy photos of one colour, of several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, hue])
    colour = np.array(Image.new("HSV", (1, 1), (hue, 200, 180)).convert("RGB"))[0, 0]
    for i in range(start, start + count):
        shape = (40 + int(rng.integers(20)), 40 + int(rng.integers(30)), 3)
        values = colour + rng.normal(0, 25, shape)
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ with three colours: 6 training and 6 test photos each. Do not change it; copy it."""
    root = tmp_path_factory.mktemp("photos")
    for hue, name in ((0, "red_things"), (90, "green_things"), (170, "blue_things")):
        write_photos(root / "train" / name, hue, 6, seed=1)
        write_photos(root / "test" / name, hue, 6, seed=2)
    return root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SHARPZO_CACHE", str(tmp_path / "cache"))
