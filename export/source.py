"""Loads an open_clip model with the weights it was asked for, or says what to type instead."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from torch import nn

WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)


class ExportError(Exception):
    """Something the user can mend; the message names the cure."""


@dataclass
class Source:
    """A loaded model and where it came from."""

    model: nn.Module
    tokenizer: Any
    name: str
    weights: str
    sha256: str | None  # of the weights' file; None for random weights
    licence: str | None
    preprocess: dict[str, Any]  # size, mean, std, interpolation, resize_mode, fill_color


def load_source(
    name: str,
    pretrained: str | None,
    activation: str | None = None,
    random_weights_seed: int | None = None,
) -> Source:
    """Loads `name` (an open_clip model or `local-dir:FOLDER`) with weights `pretrained` (a tag or a
    file).

    `activation` (`gelu` or `quickgelu`) says what a weights file was trained with; a tag knows.
    `random_weights_seed` builds the model without weights instead; for tests and benchmarks. Raises
    ExportError when the name, the tag or the file does not fit, or a download is not possible.
    """
    if random_weights_seed is not None:
        torch.manual_seed(random_weights_seed)
        model = _create(name, None)
        return _source(model, name, "random", None, None)
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        file = next((folder / f for f in WEIGHT_FILES if (folder / f).is_file()), None)
        if not (folder / "open_clip_config.json").is_file() or file is None:
            raise ExportError(
                f"{folder} is not an open_clip folder: it needs open_clip_config.json and "
                f"{WEIGHT_FILES[0]}"
            )
        licence = json.loads((folder / "open_clip_config.json").read_text()).get("license")
        return _source(
            _create(name, None), folder.resolve().name, file.name, _sha256(file), licence, folder
        )
    if name.startswith("hf-hub:"):
        return _source(_create(name, None), name, "hub", None, None)
    if name not in open_clip.list_models():
        raise ExportError(
            f"open_clip knows no model '{name}'. `python -m export --list` prints the names; a "
            "folder is local-dir:FOLDER"
        )
    if not pretrained:
        tags = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise ExportError(
            f"which weights for {name}? Add --pretrained with one of its tags ({tags}) or a "
            "weights file"
        )
    if Path(pretrained).is_file():
        chosen = _for_weights_file(name, activation)
        return _source(
            _create(chosen, pretrained),
            chosen,
            Path(pretrained).name,
            _sha256(Path(pretrained)),
            None,
        )
    card = get_pretrained_cfg(name, pretrained)
    if not card:
        tags = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise ExportError(f"'{pretrained}' is neither a file nor a tag of {name}. Its tags: {tags}")
    chosen = _with_matching_gelu(name, needs_quick_gelu=bool(card.get("quick_gelu", False)))
    return _source(_create(chosen, pretrained), chosen, pretrained, _downloaded_sha256(card), None)


def _for_weights_file(name: str, activation: str | None) -> str:
    """The configuration for a weights file, which does not tell its activation: where open_clip has
    both, the user must.
    """
    if activation is not None:
        return _with_matching_gelu(name, activation == "quickgelu")
    if f"{name}-quickgelu" in open_clip.list_models():
        raise ExportError(
            f"open_clip has {name} with GELU and with QuickGELU, and a weights file does not tell "
            "which it needs (the wrong one gives wrong features): add --activation quickgelu "
            "(make export: ACTIVATION=quickgelu) for OpenAI's weights, gelu for most others"
        )
    return name


def _with_matching_gelu(name: str, needs_quick_gelu: bool) -> str:
    """The configuration of `name` with the activation its weights were trained with (QuickGELU or
    GELU).
    """
    plain = name.removesuffix("-quickgelu")
    config = open_clip.get_model_config(name) or {}
    uses_quick_gelu = bool(config.get("quick_gelu", False))
    if needs_quick_gelu == uses_quick_gelu:
        return name
    other = f"{plain}-quickgelu" if needs_quick_gelu else plain
    if other not in open_clip.list_models():
        kind = "QuickGELU" if needs_quick_gelu else "GELU"
        raise ExportError(
            f"these weights need {kind}, and open_clip has no '{other}': the features would be "
            "wrong"
        )
    print(
        f"these weights were trained with {'QuickGELU' if needs_quick_gelu else 'GELU'}: "
        f"exporting {other}"
    )
    return other


def _create(name: str, pretrained: str | None) -> nn.Module:
    try:
        model = open_clip.create_model(
            name,
            pretrained=pretrained,
            weights_only=True,
            require_pretrained=pretrained is not None,
        )
    except (OSError, RuntimeError, ValueError, KeyError, AssertionError, AttributeError) as error:
        raise ExportError(_explain(name, pretrained, error)) from error
    return model.eval().float()


def _explain(name: str, pretrained: str | None, error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if pretrained and Path(pretrained).is_file():
        return f"{pretrained} does not hold weights for {name}: {first_line}"
    return (
        f"cannot fetch {name} with weights '{pretrained}': {first_line}. If this machine has no "
        "network, download the "
        f"weights elsewhere and give the file: --model {name} --pretrained /path/to/weights "
        "(make export: PRETRAINED=), and --activation (ACTIVATION=) where open_clip has two"
        "/path/to/open_clip_model.safetensors"
    )


def _source(
    model: nn.Module,
    name: str,
    weights: str,
    sha256: str | None,
    licence: str | None,
    folder: Path | None = None,
) -> Source:
    preprocess = dict(open_clip.get_model_preprocess_cfg(model))
    image_size = model.visual.image_size
    preprocess["size"] = (
        list(image_size) if isinstance(image_size, (list, tuple)) else [image_size, image_size]
    )
    try:
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}" if folder else name)
    except (OSError, ValueError, ImportError) as error:
        raise ExportError(
            f"cannot load the tokenizer of {name}: {str(error).strip().splitlines()[0]}"
        ) from error
    return Source(model, tokenizer, name, weights, sha256, licence, preprocess)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _downloaded_sha256(card: dict[str, Any]) -> str | None:
    """SHA-256 of the weights that open_clip has just fetched."""
    from open_clip.pretrained import download_pretrained

    file = Path(download_pretrained(card, prefer_hf_hub=True))
    return _sha256(file) if file.is_file() else None


logging.getLogger("open_clip").setLevel(logging.ERROR)
