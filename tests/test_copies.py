"""Copies of photos, exact and saved anew: each picture is there once before the draw."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import invoke, run_tune, slow_unless, tune
from PIL import Image, ImageEnhance, ImageFilter

from edge_sharpzo.clip.card import ImageCard, Interpolation, ResizeMode
from edge_sharpzo.clip.images import load_image, preprocess
from edge_sharpzo.clip.sketch import SKETCH, sketch
from edge_sharpzo.photos.copies import first_alike, leave_out_copies, shows_same
from edge_sharpzo.photos.digests import PhotoFile
from edge_sharpzo.photos.found import Photos
from edge_sharpzo.runs.run_config import RunConfig

CARD = ImageCard(
    size=(64, 64),
    mean=(0.48, 0.46, 0.41),
    std=(0.27, 0.26, 0.28),
    resize_mode=ResizeMode.SHORTEST,
    interpolation=Interpolation.BICUBIC,
)


def picture(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A scene of smooth blobs, as photos are at a distance."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    fine = rng.normal(0, 6, (size[1], size[0], 3))
    scene = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), float) + fine
    return Image.fromarray(scene.clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **how: object) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return load_image(Image.open(stream))


def sketched(image: Image.Image) -> np.ndarray:
    return sketch(preprocess(image.convert("RGB"), CARD), CARD)


RESAVED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, hardly": lambda im: saved(im, "JPEG", quality=95),
    "JPEG, hard": lambda im: saved(im, "JPEG", quality=35),
    "WebP": lambda im: saved(im, "WEBP", quality=60),
    "half as large": lambda im: im.resize((80, 60), Image.Resampling.LANCZOS),
    "twice as large": lambda im: im.resize((320, 240), Image.Resampling.BILINEAR),
    "TIFF of a JPEG": lambda im: saved(saved(im, "JPEG", quality=80), "TIFF"),
}
OTHERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "another picture": lambda im: picture(99),
    "mirrored": lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda im: im.transpose(Image.Transpose.ROTATE_180),
    "another light": lambda im: ImageEnhance.Brightness(im).enhance(1.3),
    "another part": lambda im: im.crop((30, 20, 150, 110)),
    "grey": lambda im: im.convert("L").convert("RGB"),
    "one colour": lambda im: Image.new("RGB", im.size, (90, 120, 60)),
}


@pytest.mark.parametrize("how", RESAVED)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_picture_saved_anew_is_known(how: str, seed: int) -> None:
    one = picture(seed)
    assert shows_same(sketched(RESAVED[how](one))[None], sketched(one)[None])


@pytest.mark.parametrize("how", OTHERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_picture_is_another(how: str, seed: int) -> None:
    one = picture(seed)
    assert not shows_same(sketched(OTHERS[how](one))[None], sketched(one)[None])


def test_pictures_without_anything_on_them_are_not_compared() -> None:
    flat = [Image.new("RGB", (64, 64), colour) for colour in ("white", "white", "black", "grey")]
    sketches = np.stack([sketched(image) for image in flat])
    assert first_alike(sketches).tolist() == [0, 1, 2, 3]


def test_blocks_of_many_are_as_one_by_one() -> None:
    sketches = np.random.default_rng(0).integers(0, 256, (900, SKETCH), dtype=np.uint8)
    sketches[[300, 800, 801]] = sketches[[7, 7, 299]]
    first = np.arange(900)
    first[[300, 800, 801]] = 7, 7, 299
    assert first_alike(sketches).tolist() == first.tolist()


def test_copies_do_not_chain() -> None:
    """The last of many small steps is another picture than the first."""
    one, two = (sketched(picture(seed)).astype(float) for seed in (0, 1))
    steps = np.stack(
        [(one + share * (two - one)).astype(np.uint8) for share in np.linspace(0, 1, 99)]
    )
    first = first_alike(steps)
    assert first[1] == 0
    assert first[-1] > 50
    assert all(shows_same(steps[[i]], steps[[first[i]]]) for i in range(99))


SMALL_CHANGES: dict[str, tuple[int, int, int, int]] = {
    "a mark": (90, 40, 12, 60),
    "a lamp": (30, 30, 14, 110),
    "a missing screw": (70, 80, 13, 60),
    "a bird": (120, 20, 14, 80),
}


@pytest.mark.parametrize("what", SMALL_CHANGES)
def test_something_small_in_a_fixed_scene_is_another_picture(what: str) -> None:
    """As a fixed camera sees it, whose pictures are alike but for what they are about."""
    x, y, size, contrast = SMALL_CHANGES[what]
    scene = picture(3)
    pixels = np.asarray(scene).astype(int)
    part = pixels[y : y + size, x : x + size]
    part += np.where(part.mean() > 128, -contrast, contrast)
    other = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    assert not shows_same(sketched(other)[None], sketched(scene)[None])
    assert shows_same(sketched(saved(scene, "JPEG", quality=50))[None], sketched(scene)[None])


def left(contents: str, labels: str, looks: str, unusable: str = "") -> tuple[str, list[str]]:
    """Which photos, named by letters, are left, and why the others are not."""
    names = "abcdefgh"[: len(contents)]
    pairs = zip(names, contents, strict=True)
    photos = Photos(
        [Path(name) for name in names],
        np.array([int(label) for label in labels]),
        [PhotoFile(Path(name), content.encode()) for name, content in pairs],
    )
    parts = np.zeros(len(names), int)
    sketches = np.stack([sketched(picture(int(look))) for look in looks])
    usable = np.array([name not in unusable for name in names])
    kept, gone = leave_out_copies(photos, parts, sketches, usable)
    return (
        "".join(name for name, stays in zip(names, kept, strict=True) if stays),
        [f"{file.path} {file.reason.split()[-1]} {file.detail}" for file in gone],
    )


def test_what_is_left() -> None:
    assert left("1234", "0011", "1234") == ("abcd", [])
    assert left("1214", "0000", "1214") == ("abd", ["c others as a"])
    assert left("1111", "0000", "1111")[0] == "a"
    assert left("1234", "0000", "1224") == ("abd", ["c others as b"])  # one picture, saved anew
    assert left("1231", "0011", "1231") == ("bc", ["a classes as d", "d classes as a"])
    assert left("1234", "0011", "1224")[0] == "ad"  # saved anew, in two classes
    assert left("1131", "0001", "1131")[0] == "c"  # which of its labels is right, nobody knows
    assert left("1112", "0000", "1112", unusable="a") == ("bd", ["c others as b"])


def scenes(folder: Path, first: int, count: int) -> None:
    folder.mkdir(parents=True)
    for seed in range(first, first + count):
        picture(seed).save(folder / f"{seed}.png")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for label, name in enumerate(("hat", "shoe")):
        scenes(tmp_path / "data" / name, 100 * label, 10)
    return tmp_path / "data"


def copy_each(folder: Path, how: Callable[[Path], None]) -> None:
    for file in sorted(folder.rglob("*.png")):
        how(file)


COPYING: dict[str, Callable[[Path], None]] = {
    "downloaded twice": lambda f: shutil.copy(f, f.with_name(f"{f.stem} (1).png")) and None,
    "linked": lambda f: f.with_name(f"{f.stem}-link.png").symlink_to(f),
    "exported as JPEG": lambda f: Image.open(f).save(f.with_suffix(".jpg"), quality=85),
    "resized for the web": lambda f: (
        Image.open(f).resize((100, 75)).save(f.with_name(f"web-{f.stem}.webp"), quality=80)
    ),
    "blurred a little by a messenger": lambda f: (
        Image.open(f)
        .filter(ImageFilter.GaussianBlur(1))
        .save(f.with_name(f"IMG-WA{f.stem}.jpg"), quality=70)
    ),
}


@pytest.mark.parametrize(
    "how", slow_unless(lambda how: how in ("linked", "exported as JPEG"), COPYING)
)
def test_a_folder_with_a_copy_of_each_photo_tunes_as_one_without(
    how: str, tiny_onnx: Path, flat: Path, tmp_path: Path
) -> None:
    """The same photos are drawn, so that nothing is learnt that is held out."""
    plain = tune(tiny_onnx, flat, tmp_path / "plain", "--shots", 4, "--budget", 60)
    copy_each(flat, COPYING[how])
    copied = tune(tiny_onnx, flat, tmp_path / "copied", "--shots", 4, "--budget", 60)
    assert copied["data"]["left_out"][0]["files"] == 20
    assert "copies of others" in copied["data"]["left_out"][0]["reason"]
    for part in ("train", "val", "test"):
        assert copied["data"][part] == plain["data"][part]
    config = json.loads((tmp_path / "copied" / "config.json").read_text())
    known = RunConfig.read(tmp_path / "copied").sketches()
    assert len(known) == plain["data"]["train"] + plain["data"]["val"]
    assert first_alike(known).tolist() == list(range(len(known)))
    assert len(config["held_out"]) == plain["data"]["test"]


def test_a_copy_of_a_training_photo_is_not_held_out(tiny_onnx: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for label, name in enumerate(("hat", "shoe")):
        scenes(data / "train" / name, 100 * label, 4)
        scenes(data / "test" / name, 100 * label + 50, 3)
    shutil.copy(data / "train" / "hat" / "1.png", data / "test" / "hat" / "holiday.png")
    picture(2).save(data / "test" / "hat" / "2.jpg", quality=60)
    done = run_tune(tiny_onnx, data, tmp_path / "run", "--shots", 4, "--budget", 40)
    assert done.exit_code == 0
    assert (
        "files left out: 1 that are re-saved copies of others, 1 that are copies of others"
        in done.stdout
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["data"]["test"] == 6
    page = (tmp_path / "run" / "report.html").read_text()
    assert "holiday.png" in page
    assert "2.jpg" in page


@pytest.mark.parametrize("quality", [None, 85])
def test_one_photo_of_two_classes_is_in_none(
    quality: int | None, tiny_onnx: Path, flat: Path, tmp_path: Path
) -> None:
    if quality is None:
        shutil.copy(flat / "hat" / "3.png", flat / "shoe" / "also.png")
    else:
        Image.open(flat / "hat" / "3.png").save(flat / "shoe" / "also.jpg", quality=quality)
    summary = tune(tiny_onnx, flat, tmp_path / "run", "--shots", 4, "--budget", 60)
    (group,) = summary["data"]["left_out"]
    assert (group["files"], group["reason"]) == (2, "that lie in two classes")
    assert "3.png" in group["examples"][0]
    assert "also." in group["examples"][0]


def test_empty_files_are_copies_of_nothing(tiny_onnx: Path, flat: Path, tmp_path: Path) -> None:
    """Placeholders of photos that a cloud has not brought yet."""
    for name in ("hat", "shoe"):
        for number in range(3):
            (flat / name / f"cloud-{number}.jpg").touch()
            (flat / name / f"note-{number}.png").write_bytes(b"not here yet")
    plain = tune(tiny_onnx, flat, tmp_path / "run", "--shots", 4, "--budget", 60)
    (group,) = plain["data"]["left_out"]
    assert (group["files"], group["reason"]) == (12, "that cannot be read")
    assert plain["data"]["skipped"] == 12
    assert (plain["data"]["train"], plain["data"]["val"], plain["data"]["test"]) == (8, 8, 4)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_eval_knows_photos_that_were_tuned_on_saved_anew(
    kind: str, tiny_onnx: Path, flat: Path, tmp_path: Path
) -> None:
    tune(tiny_onnx, flat, tmp_path / "run", "--shots", 4, "--budget", 60)
    other = tmp_path / "other"
    for name in ("hat", "shoe"):
        (other / name).mkdir(parents=True)
        for file in sorted((flat / name).iterdir()):
            Image.open(file).save(other / name / f"{file.stem}.{kind.lower()}", kind)
    scenes(other / "hat" / "new", 70, 3)  # and the two of each class that were held out
    result = json.loads(invoke("eval", tmp_path / "run", "--data", other, "--json").stdout)
    assert (result["photos"], result["tuned_on"]) == (7, 16)


def test_a_run_of_before_sketches_is_still_measured(
    tiny_onnx: Path, flat: Path, tmp_path: Path
) -> None:
    tune(tiny_onnx, flat, tmp_path / "run", "--shots", 4, "--budget", 60)
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    del config["tuned_on_sketches"]
    file.write_text(json.dumps(config))
    scenes(tmp_path / "other" / "hat", 70, 3)
    result = json.loads(
        invoke("eval", tmp_path / "run", "--data", tmp_path / "other", "--json").stdout
    )
    assert result["photos"] == 3


def test_of_copies_the_largest_file_stays_in_the_first_part() -> None:
    paths = [Path(name) for name in ("IMG-WA.jpg", "original.jpg", "x (1).jpg", "x.jpg", "t.jpg")]
    sizes, contents = (40, 90, 70, 70, 500), "12334"
    files = [
        PhotoFile(path, content.encode(), (0, size, 0))
        for path, size, content in zip(paths, sizes, contents, strict=True)
    ]
    photos = Photos(paths, np.zeros(5, int), files)
    sketches = np.stack([sketched(picture(look)) for look in (1, 1, 2, 2, 1)])
    parts = np.array([0, 0, 0, 0, 2])
    kept, _ = leave_out_copies(photos, parts, sketches, np.ones(5, bool))
    assert [path.name for path, stays in zip(paths, kept, strict=True) if stays] == [
        "original.jpg",
        "x.jpg",
    ]
