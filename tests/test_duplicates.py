"""Copies of a photo are named where they mislead, and only there."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers import run_tune, write_photos

from edge_sharpzo.photos.dataset import Photos
from edge_sharpzo.photos.duplicates import duplicates


def part(*pairs: tuple[str, int]) -> Photos:
    return Photos(
        [Path(name) for name, _ in pairs], np.array([label for _, label in pairs], np.int64)
    )


def named(*digests: bytes) -> list[str]:
    """What is said of photos a and b (training), c (validation), d and e (held out)."""
    parts = part(("a", 0), ("b", 1)), part(("c", 0)), part(("d", 1), ("e", 1))
    ends = (digests[:2], digests[2:3], digests[3:])
    pairs = zip(parts, ends, strict=True)
    return duplicates([replace(photos, digests=list(own)) for photos, own in pairs])


def test_what_is_named() -> None:
    assert named(b"1", b"2", b"3", b"4", b"5") == []
    assert named(b"", b"", b"", b"", b"") == []  # files that could not be opened
    assert named(b"1", b"2", b"1", b"4", b"4") == []  # copies that do no harm
    (text,) = named(b"1", b"1", b"3", b"4", b"5")
    assert text == "1 photo is of more than one class (a and b): delete the wrong one"
    (text,) = named(b"1", b"2", b"3", b"2", b"2")
    assert text == (
        "1 photo is both tuned on and held out (b and e), which inflates the accuracy: "
        "delete one of the two"
    )
    assert len(named(b"1", b"2", b"3", b"1", b"3")) == 2


def test_tune_names_them(tiny_onnx: Path, tmp_path: Path) -> None:
    for label, hue in enumerate((0, 120)):
        for split in ("train", "test"):
            write_photos(tmp_path / "data" / split / f"c{label}", hue, 3, seed=len(split))
    shutil.copy(
        tmp_path / "data" / "train" / "c0" / "000.png",
        tmp_path / "data" / "test" / "c0" / "copy.png",
    )
    done = run_tune(tiny_onnx, tmp_path / "data", tmp_path / "run", "--shots", 3, "--budget", 40)
    assert done.exit_code == 0
    assert "1 photo is both tuned on and held out" in done.stderr
    assert "copy.png" in done.stderr
