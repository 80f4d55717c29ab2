"""What the speed benchmarks compute on: real class names, and random photo features and contexts,
for time does not depend on those.
"""

import numpy as np

# EuroSAT's class names as CoOp writes them.
EUROSAT = [
    "Annual Crop Land",
    "Forest",
    "Herbaceous Vegetation Land",
    "Highway or Road",
    "Industrial Buildings",
    "Pasture Land",
    "Permanent Crop Land",
    "Residential Buildings",
    "River",
    "Sea or Lake",
]


def class_names(count: int) -> list[str]:
    """EuroSAT's names for ten classes, else the first of ImageNet's as open_clip has them, up to
    1,000.
    """
    from open_clip import IMAGENET_CLASSNAMES  # it loads torch

    return EUROSAT[:count] if count <= len(EUROSAT) else IMAGENET_CLASSNAMES[:count]


def photo_features(
    photos: int, classes: int, dim: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random L2-normalised features [photos, dim], float32, and labels [photos] that go round the
    classes.
    """
    features = np.random.default_rng(seed).standard_normal((photos, dim)).astype(np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True), np.arange(photos) % classes


def contexts(
    count: int, tokens: int, width: int, embedding_std: float, seed: int = 0
) -> np.ndarray:
    """Random contexts [count, tokens, width], float32, as far from the token embeddings as tuned
    ones lie.
    """
    values = np.random.default_rng(seed).standard_normal((count, tokens, width))
    return (4 * embedding_std * values).astype(np.float32)
