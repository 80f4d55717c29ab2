"""Bursts: how many shots of one scene are found to be nearly the same, and how many others.

`python -m benchmarks.near_duplicates --data DIR`; DIR holds the sets. Other shots of a scene are
made of real photos: the camera moves, turns and comes nearer, the light changes and there is noise,
each by up to 2, 4 or 8 per cent (see `shot`). `results/near_duplicates.json` has the share that is
found, and the groups that are found among the photos of each set as they are. Half a minute.
"""

import math
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.accuracy import set_names
from benchmarks.whole_sets import options_for, whole_set, write
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.images import load_image
from edge_sharpzo.photos.near_duplicates import near_duplicates
from edge_sharpzo.system.machine import usable_cores

RESULTS = Path("benchmarks/results/near_duplicates.json")
STRENGTHS = (0.02, 0.04, 0.08)
SCENES = 40  # of each set
SIDE = 800  # pixels that a photo is reduced to first


def shot(photo: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Another shot of the scene.

    At 0.08 it is turned by up to 3 degrees, cut to 92 % of its width and height or a little less,
    shifted by up to 4 %, up to 20 % brighter or darker, with noise of 8 levels.
    """
    width, height = photo.size
    angle = rng.uniform(-1, 1) * strength * 37.5
    corners = math.sin(abs(math.radians(angle))) / 2
    part = 1 - strength - corners
    free = (1 - part) / 2 - corners / 2  # how far the part may lie from the middle
    x, y = (0.5 + rng.uniform(-1, 1) * free for _ in range(2))
    box = (
        max(0.0, (x - part / 2) * width),
        max(0.0, (y - part / 2) * height),
        min(float(width), (x + part / 2) * width),
        min(float(height), (y + part / 2) * height),
    )
    turned = photo.rotate(angle, Image.Resampling.BICUBIC)
    levels = np.asarray(turned.resize(photo.size, Image.Resampling.BICUBIC, box), np.float64)
    levels = levels * (1 + rng.uniform(-1, 1) * strength * 2.5)
    levels = levels + rng.normal(0, 100 * strength, levels.shape)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def measured(clip: ClipOnnx, folder: Path) -> dict[str, Any]:
    """The share of other shots that are found, by strength, and the groups of the set itself."""
    photos, rng = whole_set(clip, folder), np.random.default_rng(1)
    scenes = np.sort(rng.choice(len(photos.labels), SCENES, replace=False))
    made = []
    for scene in scenes:
        photo = load_image(photos.paths[scene]).convert("RGB")
        photo.thumbnail((SIDE, SIDE))
        made += [shot(photo, strength, rng) for strength in STRENGTHS]
    with clip.image_tower() as tower:
        seen = list(tower.each(made, lambda index, reason: print(index, reason)))

    def is_found(index: int) -> bool:
        scene = scenes[index // len(STRENGTHS)]
        features = np.stack([photos.features[scene], seen[index].features])
        sketches = np.stack([photos.sketches[scene], seen[index].sketch])
        return bool(near_duplicates(features, sketches, [0, 1]))

    found = [is_found(index) for index in range(len(made))]
    groups = near_duplicates(photos.features, photos.sketches, range(len(photos.labels)))
    return {
        "set": folder.name,
        "photos": len(photos.labels),
        "found": {str(s): mean(found[i :: len(STRENGTHS)]) for i, s in enumerate(STRENGTHS)},
        "groups": [[str(photos.paths[i].relative_to(folder)) for i in each] for each in groups],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """By set; Markdown."""
    steps = " | ".join(f"{100 * strength:.0f} %" for strength in STRENGTHS)
    text = f"| photos | {steps} | photos of the set | in groups |\n|{'---|' * 6}\n"
    for row in rows:
        shares = " | ".join(f"{100 * row['found'][str(s)]:.0f} %" for s in STRENGTHS)
        grouped = sum(map(len, row["groups"]))
        text += f"| {row['set']} | {shares} | {row['photos']:,} | {grouped} |\n"
    shares = " | ".join(f"{100 * mean(r['found'][str(s)] for r in rows):.0f} %" for s in STRENGTHS)
    every = sum(sum(map(len, row["groups"])) for row in rows)
    return text + f"| all | {shares} | {sum(row['photos'] for row in rows):,} | {every} |\n"


def main() -> None:
    """Measures all sets and writes the table."""
    options = options_for(__doc__, RESULTS)
    clip = ClipOnnx(options.onnx, usable_cores())
    rows = [measured(clip, options.data / name) for name in set_names(options.data)]
    write(options.out, rows, table(rows))


if __name__ == "__main__":
    main()
