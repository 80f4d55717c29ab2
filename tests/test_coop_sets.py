"""CoOp's layouts, on tiny copies."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.coop_sets import SETS, load_coop_set
from edge_sharpzo.photos.found import POOL, TEST, VAL
from edge_sharpzo.system.errors import UserError


def write_set(name: str, root: Path) -> None:
    """Two classes with 5 training, 3 validation and 2 test photos each; the photos themselves are
    not read here.
    """
    place = SETS[name]
    folder = root / place.folder
    folder.mkdir(parents=True)
    classes = ["big_dog", "cat"]
    counts = {"train": 5, "val": 3, "test": 2}
    if name == "fgvc":
        (folder / "variants.txt").write_text("\n".join(classes))
        for part, count in counts.items():
            lines = [f"{part}{c}{i} {c}" for c in classes for i in range(count)]
            (folder / f"images_variant_{part}.txt").write_text("\n".join(lines))
    elif name == "imagenet":
        (folder / "classnames.txt").write_text("n01 big dog\nn02 cat\n")
        for part, count in (("train", 5), ("val", 2)):
            for wnid in ("n01", "n02"):
                (folder / "images" / part / wnid).mkdir(parents=True)
                for i in range(count):
                    (folder / "images" / part / wnid / f"{i}.JPEG").touch()
    else:
        parts = {
            part: [
                [f"{c}/{part}{i}.jpg", label, c]
                for label, c in enumerate(classes)
                for i in range(count)
            ]
            for part, count in counts.items()
        }
        (folder / str(place.split)).write_text(json.dumps(parts))


@pytest.mark.parametrize("name", SETS)
def test_every_layout_is_read(name: str, tmp_path: Path) -> None:
    write_set(name, tmp_path)
    found = load_coop_set(name, tmp_path, shots=2, seed=1)
    assert found.names == ["big dog", "cat"]
    for part in (POOL, VAL, TEST):
        assert np.bincount(found.photos.labels[found.parts == part]).tolist() == [2, 2]
    assert len(set(found.photos.paths)) == 12
    place = SETS[name]
    assert all(
        path.is_relative_to(tmp_path / place.folder / place.images) for path in found.photos.paths
    )


def test_draws_depend_on_the_seed_alone(tmp_path: Path) -> None:
    write_set("dtd", tmp_path)
    draws = [load_coop_set("dtd", tmp_path, 2, seed).photos.paths for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2] or draws[0] != draws[3]


def test_the_papers_table() -> None:
    assert len(SETS) == 11
    assert round(sum(s.sharpzo for s in SETS.values()) / 11, 2) == 75.64
    assert round(sum(s.zero_shot for s in SETS.values()) / 11, 2) == 65.23


@pytest.mark.parametrize("damage", ["no folder", "no split", "half a split"])
def test_what_is_missing_is_named(damage: str, tmp_path: Path) -> None:
    if damage != "no folder":
        write_set("dtd", tmp_path)
        split = tmp_path / "dtd" / str(SETS["dtd"].split)
        split.unlink() if damage == "no split" else split.write_text('{"train": [')
    with pytest.raises(UserError, match=r"DATASETS\.md"):
        load_coop_set("dtd", tmp_path, 2, 0)
