"""Makes the embedded default model from registry packages: `python -m models.recipe --out DIR`."""

import argparse
import json
import math
from pathlib import Path

import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

from models.recipe.sources import Sources
from models.recipe.space import shared_space
from models.recipe.targets import build_targets, encode
from models.recipe.texts import TextSampler
from models.recipe.train import class_recall, text_tower, train

DIM = 256
# Suits tuning; a larger one than the texts were learnt at, and rankings do not depend on it.
LOGIT_SCALE = 25.0
LICENCE = (
    "Apache-2.0 (weights of EfficientNet-Lite0, teacher all-MiniLM-L6-v2); "
    "WordNet 3.0 licence (texts)"
)
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 4}
VISION = {
    "timm_model_name": "tf_efficientnet_lite0",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
    "timm_proj_bias": True,
    "image_size": 224,
}
PREPROCESS = {
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def token_texts(tokenizer: SimpleTokenizer) -> list[str]:
    """Each BPE token as readable text."""
    texts = []
    for index in range(tokenizer.vocab_size):
        token = tokenizer.decoder[index].replace("</w>", "")
        texts.append(
            bytes(tokenizer.byte_decoder.get(c, 32) for c in token).decode("utf8", errors="replace")
        )
    return texts


def main() -> None:
    """Fetches, teaches, trains, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("models/lite-clip"), help="folder to write"
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=Path("models/build"),
        help="folder for downloads and intermediate results",
    )
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    sources = Sources(options.build)
    image_tower = sources.image_tower()
    head, bias, classes = shared_space(image_tower, DIM)

    from sentence_transformers import SentenceTransformer

    sentences = SentenceTransformer(
        str(sources.sentence_model_folder()),
        device="cpu",
        local_files_only=True,
        model_kwargs={"dtype": torch.bfloat16},
    )
    targets = build_targets(sources, sentences, classes)
    print("embedding the vocabulary", flush=True)
    tower = text_tower(
        encode(sentences, token_texts(SimpleTokenizer())),
        TEXT["width"],
        TEXT["layers"],
        TEXT["heads"],
        DIM,
    )
    del sentences

    def save() -> None:
        save_folder(options.build / "lite-clip", image_tower, head, bias, tower)

    train(tower, TextSampler(targets, options.seed), options.steps, save)
    print(f"class names nearest their own target: {100 * class_recall(tower, classes):.1f} %")
    save_folder(options.out, image_tower, head, bias, tower)
    check_folder(options.out)


def save_folder(
    out: Path,
    image_tower: torch.nn.Module,
    head: torch.Tensor,
    bias: torch.Tensor,
    tower: torch.nn.Module,
) -> None:
    """Writes open_clip's configuration and float16 weights to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        "visual.trunk." + k: v
        for k, v in image_tower.state_dict().items()
        if not k.startswith("classifier")
    }
    weights |= {
        "visual.head.proj.weight": head,
        "visual.head.proj.bias": bias,
        "logit_scale": torch.tensor(math.log(LOGIT_SCALE)),
    }
    weights |= {k: v for k, v in tower.state_dict().items() if k != "attn_mask"}
    half = {
        k: (v.half() if v.is_floating_point() else v).contiguous().clone()
        for k, v in weights.items()
    }
    save_file(half, out / "open_clip_model.safetensors")
    config = {
        "license": LICENCE,
        "model_cfg": {"embed_dim": DIM, "vision_cfg": VISION, "text_cfg": TEXT},
        "preprocess_cfg": PREPROCESS,
    }
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")


def check_folder(out: Path) -> None:
    """Loads the folder with open_clip, as a user would."""
    import open_clip

    model = open_clip.create_model(f"local-dir:{out}")
    stored = load_file(out / "open_clip_model.safetensors")
    if not torch.equal(model.state_dict()["text_projection"].half(), stored["text_projection"]):
        raise RuntimeError(f"open_clip did not load the weights of {out}")
    print(f"wrote {out}: {(out / 'open_clip_model.safetensors').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
