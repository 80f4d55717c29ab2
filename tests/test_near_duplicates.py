"""Photos that are nearly the same: named, counted, and left out where that is asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import run_tune, tune
from PIL import Image, ImageEnhance
from test_copies import picture, sketched

from edge_sharpzo.photos.digests import PhotoFile
from edge_sharpzo.photos.found import POOL, TEST, VAL, Photos
from edge_sharpzo.photos.near_duplicates import near_duplicates, without_near_duplicates
from edge_sharpzo.runs.photo_check import NearDuplicates
from edge_sharpzo.runs.run_config import RunConfig

BOX = (10, 10, 150, 110)  # of a scene of 160 x 120
SHOTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda im: im.crop(BOX),
    "to the right": lambda im: im.crop((16, 10, 156, 110)),
    "up and to the left": lambda im: im.crop((6, 5, 146, 105)),
    "nearer": lambda im: im.crop((15, 14, 145, 106)),
    "further away": lambda im: im.crop((6, 7, 154, 113)),
    "turned": lambda im: im.rotate(3, Image.Resampling.BICUBIC).crop(BOX),
    "turned and moved": lambda im: im.rotate(-2, Image.Resampling.BICUBIC).crop((14, 7, 154, 107)),
    "brighter": lambda im: ImageEnhance.Brightness(im).enhance(1.25).crop((12, 12, 152, 112)),
    "of less contrast": lambda im: ImageEnhance.Contrast(im).enhance(0.7).crop((8, 12, 148, 112)),
}
OTHERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "another scene": lambda im: picture(99).crop(BOX),
    "mirrored": lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop(BOX),
    "upside down": lambda im: im.rotate(180).crop(BOX),
    "its negative": lambda im: Image.eval(im, lambda level: 255 - level).crop(BOX),
    "a corner": lambda im: im.crop((0, 0, 80, 60)),
    "nothing": lambda im: Image.new("RGB", (140, 100), (90, 120, 60)),
}


def alike(first: Image.Image, second: Image.Image, cosine: float = 0.9) -> bool:
    """Whether two pictures, whose features have this cosine, make a group."""
    features = np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]], np.float32)
    sketches = np.stack([sketched(first), sketched(second)])
    return near_duplicates(features, sketches, [0, 1]) == [[0, 1]]


@pytest.mark.parametrize("how", SHOTS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_shot_of_the_scene_is_nearly_the_same(how: str, seed: int) -> None:
    scene = picture(seed)
    assert alike(SHOTS[how](scene), scene.crop(BOX))
    assert alike(scene.crop(BOX), SHOTS[how](scene))


@pytest.mark.parametrize("how", OTHERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_picture_is_not(how: str, seed: int) -> None:
    """Whatever the model makes of it."""
    scene = picture(seed)
    assert not alike(OTHERS[how](scene), scene.crop(BOX), cosine=0.97)


@pytest.mark.parametrize("cosine", [0.6, 0.3, -1.0])
def test_pictures_that_the_model_tells_apart_are_not(cosine: float) -> None:
    assert not alike(picture(0), picture(0), cosine)


def test_groups_follow_the_order_and_do_not_chain() -> None:
    """Each member is nearly the same as its group's first; the last of many steps is another."""
    scenes = [picture(0).crop((s, 10, s + 120, 110)) for s in range(0, 40, 5)]
    sketches = np.stack([sketched(scene) for scene in scenes])
    features = np.tile(np.array([[1.0, 0]], np.float32), (len(scenes), 1))
    groups = near_duplicates(features, sketches, range(len(scenes)))
    assert groups[0][:2] == [0, 1]
    assert 7 not in groups[0]
    assert near_duplicates(features, sketches, [7, 1, 0]) == [[1, 0]]
    assert near_duplicates(features, sketches, []) == []
    assert near_duplicates(features, sketches, [3]) == []


def left(groups: list[list[int]], labels: str, parts: list[int], sizes: list[int]) -> str:
    """The places that are left, as digits."""
    paths = [Path(f"{i}.jpg") for i in range(len(labels))]
    files = [PhotoFile(p, b"x", (0, size, 0)) for p, size in zip(paths, sizes, strict=True)]
    photos = Photos(paths, np.array([int(label) for label in labels]), files)
    usable = np.ones(len(labels), bool)
    kept, gone = without_near_duplicates(photos, np.array(parts), groups, usable)
    assert [file.path for file in gone] == [
        p for p in (paths[i] for g in groups for i in g) if not kept[int(p.stem)]
    ]
    return "".join(str(i) for i in np.flatnonzero(kept))


def test_one_of_each_group_is_left_in_the_first_part_and_of_each_class() -> None:
    flat, even = [POOL] * 4, [5] * 4
    assert left([], "0011", flat, even) == "0123"
    assert left([[0, 1]], "0011", flat, even) == "023"
    assert left([[0, 1], [2, 3]], "0011", flat, even) == "02"
    assert left([[1, 0]], "0011", flat, [5, 9, 5, 5]) == "123"  # the largest file
    assert left([[0, 1, 2]], "0001", [POOL, VAL, TEST, TEST], even) == "03"
    assert left([[0, 2]], "0011", flat, even) == "0123"  # which label is right, is not known
    assert left([[0, 1, 2, 3]], "0011", flat, even) == "02"


def test_groups_are_counted_among_the_photos_that_are_used() -> None:
    photos = Photos([Path(f"{i}.jpg") for i in range(6)], np.zeros(6, int))
    groups = [[0, 1], [2, 3], [4, 5]]
    found = NearDuplicates.among(photos, groups, np.array([POOL, POOL, POOL, TEST, VAL, -1]))
    assert (found.groups, found.photos, found.across) == (2, 4, 1)
    assert [group.photos for group in found.examples] == [["2.jpg", "3.jpg"], ["0.jpg", "1.jpg"]]
    assert "1 group lies in different splits" in found.told()
    assert NearDuplicates.among(photos, [], np.zeros(6)).told() == ""


def bursts(folder: Path) -> None:
    """Two classes of five scenes, and three more shots of the first scene of each."""
    for label, name in enumerate(("hat", "shoe")):
        (folder / name).mkdir(parents=True)
        for seed in range(5):
            picture(100 * label + seed).crop(BOX).save(folder / name / f"{seed}.png")
        for more, right in enumerate((-5, 4, 8)):
            scene = picture(100 * label).crop((10 + right, 10, 150 + right, 110))
            scene.save(folder / name / f"0-{more}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    bursts(tmp_path / "data")
    return tmp_path / "data"


def test_bursts_are_told_and_dropped_on_demand(tiny_onnx: Path, data: Path, tmp_path: Path) -> None:
    few = ("--shots", 3, "--budget", 40)
    plain = tune(tiny_onnx, data, tmp_path / "plain", *few)
    found = plain["photo_check"]["near_duplicates"]
    assert (found["groups"], found["photos"], found["across"]) == (2, 8, 2)
    assert plain["data"]["left_out"] == []
    told = run_tune(tiny_onnx, data, tmp_path / "told", *few)
    assert "8 photos are nearly the same as others (2 groups)" in told.output
    assert "tune with --drop-duplicates" in told.output

    dropped = tune(tiny_onnx, data, tmp_path / "dropped", *few, "--drop-duplicates")
    assert dropped["photo_check"]["near_duplicates"]["groups"] == 0
    (group,) = dropped["data"]["left_out"]
    assert (group["reason"], group["files"]) == ("that are nearly the same as others", 6)
    used = [sum(d["data"][part] for part in ("train", "val", "test")) for d in (plain, dropped)]
    assert used == [16, 10]
    report = (tmp_path / "plain" / "report.html").read_text(encoding="utf8")
    assert "Photos that are nearly the same" in report


def test_a_run_is_known_by_whether_it_drops_them(finished_run: Path) -> None:
    """One that does not is the run that it was before there was the option."""
    config = RunConfig.read(finished_run)
    other = replace(config, options=replace(config.options, drop_duplicates=True))
    assert config.fingerprint != other.fingerprint
    assert config.options.drop_duplicates is False
