"""Photos prepared as open_clip does, and odd files survived."""

import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import png
from odd_photos import JPEG, READABLE, REFUSED, SCENE, tiff
from PIL import Image, ImageOps

from edge_sharpzo.clip.card import ImageCard
from edge_sharpzo.clip.images import (
    UnreadableImageError,
    load_image,
    preprocess,
    why_no_file,
)
from edge_sharpzo.photos.digests import PhotoFile, read_files

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


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA", "LA", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
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


@pytest.mark.parametrize("case", READABLE)
def test_an_odd_file_gives_the_pixels_that_it_holds(case: str, tmp_path: Path) -> None:
    suffix, content, pixels = READABLE[case]
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert np.array_equal(np.asarray(load_image(tmp_path / f"a{suffix}")), pixels)


@pytest.mark.parametrize("case", [case for case in REFUSED if case != "a strip"])
def test_a_file_that_does_not_say_enough_is_refused(case: str, tmp_path: Path) -> None:
    suffix, content, reason = REFUSED[case]
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason) as error:
        load_image(tmp_path / f"a{suffix}")
    assert len(str(error.value)) <= 120


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 7, (7, 7, 7)),
        ("LA", (100, 51), (224, 224, 224)),
        ("La", (51, 51), (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
        ("RGBa", (128, 0, 0, 128), (255, 127, 127)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("LAB", (136, 208, 195), (250, 3, 11)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257, (1, 1, 1)),
        ("I;16B", 25700, (100, 100, 100)),
        ("I;16L", 25700, (100, 100, 100)),
        ("I;16N", 25700, (100, 100, 100)),
    ],
)
def test_a_picture_of_any_mode_gives_its_colours(
    mode: str, value: object, rgb: tuple[int, int, int]
) -> None:
    loaded = np.asarray(load_image(Image.new(mode, (3, 2), value)))
    assert np.array_equal(loaded, np.full((2, 3, 3), rgb, np.uint8))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_picture_whose_range_nothing_tells_is_refused(mode: str) -> None:
    with pytest.raises(UnreadableImageError, match="whose range nothing tells"):
        load_image(Image.new(mode, (3, 2), 200))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_as_pillow_turns_it(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    SCENE.save(tmp_path / "a.img", kind, exif=exif)
    with Image.open(tmp_path / "a.img") as image:
        theirs = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.img")), theirs)
    with Image.open(tmp_path / "a.img") as image:
        assert np.array_equal(np.asarray(load_image(image)), theirs)


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_tiles_of_a_tiff_are_put_together(planar: int, packed: bool, tmp_path: Path) -> None:
    pixels = np.asarray(SCENE)[:32, :64]
    squares = [pixels[y : y + 16, x : x + 16] for y in (0, 16) for x in (0, 16, 32, 48)]
    if planar == 2:
        squares = [square[..., band] for band in range(3) for square in squares]
    tiles = [zlib.compress(s.tobytes()) if packed else s.tobytes() for s in squares]
    places = np.cumsum([8, *map(len, tiles)])[:-1].tolist()
    content = np.frombuffer(b"".join(tiles), np.uint8)[None]
    tags = {256: 64, 257: 32, 258: (3, [8] * 3), 259: 8 if packed else 1, 262: 2, 277: 3}
    tags |= {284: planar, 322: 16, 323: 16, 324: (4, places), 325: (4, list(map(len, tiles)))}
    tags |= {273: None, 278: None, 279: None, 339: (3, [1] * 3)}
    (tmp_path / "a.tif").write_bytes(tiff(content, tags))
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.tif")), pixels)


@pytest.mark.parametrize(
    ("most_mb", "orientation", "size"),
    [
        (25, 1, (3000, 2000)),  # 24 MB, and twice that to turn it
        (49, 6, (2000, 3000)),
        (23, 1, (1500, 1000)),
        (25, 6, (1000, 1500)),
        (11, 8, (500, 750)),
        (1, 1, (375, 250)),
    ],
)
def test_a_large_jpeg_is_decoded_to_a_part_of_its_size(
    most_mb: int, orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    SCENE.resize((3000, 2000)).save(tmp_path / "a.jpg", exif=exif)
    loaded = load_image(tmp_path / "a.jpg", most_mb * 1_000_000)
    assert loaded.size == size
    turned = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")).resize(size)
    assert np.abs(np.asarray(loaded, int) - np.asarray(turned, int)).mean() < 4
    with pytest.raises(UnreadableImageError, match="3000 x 2000 pixels take"):
        load_image(tmp_path / "a.jpg", 100_000)


@pytest.mark.parametrize("size", [(12_000, 9_000), (20_000, 10_000), (40_000, 300)])
def test_a_jpeg_of_many_megapixels_is_read(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("L", size, 77).save(tmp_path / "a.jpg")
    loaded = load_image(tmp_path / "a.jpg", 50_000_000)
    assert max(loaded.size) >= max(size) // 8
    assert np.asarray(loaded)[0, 0].tolist() == [77, 77, 77]


SIZE = (3000, 2000)  # 6 million pixels
KINDS: dict[str, tuple[str, str, dict[str, object]]] = {
    "JPEG": ("JPEG", "RGB", {}),
    "JPEG, progressive": ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
    "JPEG, CMYK": ("JPEG", "CMYK", {}),
    "PNG": ("PNG", "RGB", {}),
    "PNG, alpha": ("PNG", "RGBA", {}),
    "PNG, palette": ("PNG", "P", {}),
    "PNG, 16 bits": ("PNG", "I;16", {}),
    "PNG, black and white": ("PNG", "1", {}),
    "WebP": ("WEBP", "RGB", {}),
    "WebP, lossless": ("WEBP", "RGBA", {"lossless": True}),
    "GIF": ("GIF", "P", {}),
    "BMP": ("BMP", "RGB", {}),
    "TIFF": ("TIFF", "RGB", {}),
    "TIFF, packed": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "TIFF, one strip": ("TIFF", "RGBA", {"compression": "tiff_deflate", "strip_size": 10**9}),
    "TIFF, CMYK": ("TIFF", "CMYK", {}),
}
FIRST_THAT_FITS = """
import sys
from edge_sharpzo.clip.images import UnreadableImageError, load_image
from edge_sharpzo.system.memory import MB, peak_mb, resident, return_large_arrays_at_once
from PIL import Image
return_large_arrays_at_once()
load_image(Image.new("LA", (10, 10)))
before = resident()
for most in range(10, 200, 5):
    try:
        assert load_image(sys.argv[1], most * MB).size in ((3000, 2000), (2000, 3000))
        break
    except (UnreadableImageError, AssertionError):  # refused, or a part of a JPEG
        pass
print(most, peak_mb() - before / MB)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory as Linux counts it")
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_takes_no_more_memory_than_it_may(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    form, mode, more = KINDS[kind]
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = Image.linear_gradient("L").resize(SIZE)
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey
    picture.convert(mode).save(tmp_path / "a.img", form, exif=exif, **more)
    done = subprocess.run(
        [sys.executable, "-c", FIRST_THAT_FITS, tmp_path / "a.img"],
        capture_output=True,
        text=True,
        check=True,
    )
    most, taken = map(float, done.stdout.split())
    assert 20 <= most <= 120
    assert taken <= most + 8


@pytest.mark.parametrize("gigabytes", [0.6, 3, 30])
def test_a_huge_file_is_refused_before_it_is_read(gigabytes: float, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    with file.open("wb") as stream:
        stream.write(JPEG)
        stream.truncate(int(gigabytes * 10**9))  # a hole, which takes no room
    with pytest.raises(UnreadableImageError, match="more than the 500 MB"):
        load_image(file)
    told: list[str] = []
    assert read_files([file], lambda path, reason: told.append(reason)) == [PhotoFile(file, b"")]
    assert told == [why_no_file(file)]
