"""Photos per second through the image tower: ours, from the file to the features, against PyTorch
and against one photo at a time.

`python -m benchmarks.image_cost [--model ViT-B-16,local-dir:models/lite-clip] [--photos DIR]
[--out FILE.json]`
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from benchmarks.exports import add_models, exported, load
from benchmarks.timing import fastest, record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.images import load_image, preprocess
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.photos.digests import PhotoFile
from edge_sharpzo.photos.features import encode_photos
from edge_sharpzo.system.machine import usable_cores
from export.source import Source

BATCH = 16  # photos in one call of PyTorch


def find_photos(folder: Path | None, count: int) -> list[Path]:
    """`count` photos spread over `folder`, or over the package conformal-clip-data."""
    if folder is None:
        spec = find_spec("conformal_clip_data")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    return found[:: max(1, len(found) // count)][:count]


class ImageSides:
    """The same photos on every side; each takes paths and gives normalised features [N, D]."""

    def __init__(self, source: Source, clip: ClipOnnx, photos: list[Path]):
        self.model, self.clip, self.photos = source.model, clip, photos
        self.transform = image_transform_v2(
            PreprocessCfg(**source.model.visual.preprocess_cfg), is_train=False
        )
        self.session = clip.session(Tower.IMAGE)

    def ours(self) -> np.ndarray:
        """The whole path of `tune`, session included, without its cache."""
        return encode_photos(
            self.clip, [PhotoFile(photo, b"-") for photo in self.photos], None
        ).features

    def pytorch(self) -> np.ndarray:
        """open_clip's transform and `encode_image`, in batches as large as ours."""
        parts = []
        for start in range(0, len(self.photos), BATCH):
            pixels = []
            for path in self.photos[start : start + BATCH]:
                with Image.open(path) as image:
                    pixels.append(self.transform(image))
            with torch.no_grad():
                parts.append(self.model.encode_image(torch.stack(pixels), normalize=True).numpy())
        return np.concatenate(parts)

    def one_by_one(self) -> np.ndarray:
        """Our preprocessing and onnxruntime, a call for each photo, in a session that is open
        already.
        """
        pixels = (preprocess(load_image(path), self.clip.card.image)[None] for path in self.photos)
        return np.concatenate(
            [self.session.run(None, {"pixel_values": photo})[0] for photo in pixels]
        )

    def calls(self) -> dict[str, Callable[[], np.ndarray]]:
        """The sides by name."""
        return {"ours": self.ours, "pytorch": self.pytorch, "one_by_one": self.one_by_one}


def measure(sides: ImageSides, rounds: int) -> dict[str, Any]:
    """Photos per second of each side, the ratios to ours, and how far our features are from
    PyTorch's.
    """
    seconds = fastest(sides.calls(), rounds)
    rates = {side: len(sides.photos) / value for side, value in seconds.items()}
    return {
        "photos": len(sides.photos),
        "batch": BATCH,
        "photos_a_second": {side: round(rate, 2) for side, rate in rates.items()},
        "ratio": {
            side: round(rates["ours"] / rate, 2) for side, rate in rates.items() if side != "ours"
        },
        "features_max_abs": float(np.abs(sides.ours() - sides.pytorch()).max()),
    }


def main() -> None:
    """Prints the figures and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument(
        "--photos", type=Path, help="folder; the photos of conformal-clip-data if not given"
    )
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=2, help="of two calls a side")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    photos = find_photos(options.photos, options.count)
    result = record({"models": []}, options.threads)
    print(f"{len(photos)} photos, {options.threads} threads of {result['processor']}")
    for name in options.model.split(","):
        source = load(name)
        found = measure(
            ImageSides(source, ClipOnnx(exported(name, source=source), options.threads), photos),
            options.rounds,
        )
        result["models"].append({"model": name, "weights": source.weights, **found})
        print(name)
        for side, rate in found["photos_a_second"].items():
            print(
                f"  {side:12} {rate:8.2f} photos per second"
                + (
                    f", ours is {found['ratio'][side]} times as fast"
                    if side in found["ratio"]
                    else ""
                )
            )
        print(f"  features apart by at most {found['features_max_abs']:.1e}", flush=True)
        save(result, options.out)


if __name__ == "__main__":
    main()
