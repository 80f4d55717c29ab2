"""Photos prepared as open_clip does, and odd files survived."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import png
from PIL import Image

from edge_sharpzo.clip.card import ImageCard
from edge_sharpzo.clip.images import UnreadableImageError, load_image, preprocess

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng([width, height])
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(
    "size",
    [
        (224, 224),
        (37, 61),
        (61, 37),
        (500, 333),
        (333, 501),
        (225, 224),
        (1000, 90),
        (5, 300),
        (1, 1),
    ],
)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("target", [64, (48, 64)])
def test_pixels_equal_open_clip(
    resize_mode: str, size: tuple[int, int], interpolation: str, target: int | tuple[int, int]
) -> None:
    transform = pytest.importorskip("open_clip.transform")
    if isinstance(target, tuple) and resize_mode == "shortest" and interpolation != "bicubic":
        pytest.skip("open_clip ignores the interpolation there")
    config = transform.PreprocessCfg(
        size=target, mean=MEAN, std=STD, interpolation=interpolation, resize_mode=resize_mode
    )
    theirs = transform.image_transform_v2(config, is_train=False)(noise(*size)).numpy()
    shape = target if isinstance(target, tuple) else (target, target)
    ours = preprocess(noise(*size), ImageCard(shape, resize_mode, interpolation, MEAN, STD))
    assert ours.shape == theirs.shape
    assert np.abs((ours - theirs) * np.array(STD)[:, None, None]).max() <= 2 / 255
    assert np.abs(ours - theirs).max() < 1e-5  # in fact the same pixels


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    image = noise(20, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.png")), np.asarray(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA", "LA", "1", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    suffix = "tif" if mode in ("CMYK", "F") else "png"
    levels = np.linspace(0, 65535, 200).astype(np.uint16).reshape(10, 20)
    image = Image.fromarray(levels) if mode == "I;16" else noise(20, 10, mode)
    image.save(tmp_path / f"a.{suffix}")
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert (loaded.mode, loaded.size) == ("RGB", (20, 10))
    assert np.asarray(loaded).std() > 20


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert np.asarray(load_image(tmp_path / "a.png")).min() == 255


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(load_image(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


def test_a_strip_too_narrow_to_resize_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="too narrow a strip"):
        preprocess(
            Image.new("RGB", (1, 100_000)), ImageCard((224, 224), "shortest", "bicubic", MEAN, STD)
        )


def truncated(path: Path) -> None:
    noise(60, 60).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:900])


def huge_header(path: Path) -> None:
    path.write_bytes(png(50_000, 50_000))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (truncated, "truncated"),
        (huge_header, "pixels"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.write_text("hello"), "not an image"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: None, "no such file"),
    ],
)
def test_a_bad_file_gives_a_short_reason(
    make: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    make(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=f"(?i){reason}") as error:
        load_image(tmp_path / "a.png")
    assert len(str(error.value)) <= 120
