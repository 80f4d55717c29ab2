"""One bad photo costs that photo alone: it is named with the reason, the others are classified."""

import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, invoke, photo, png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_sharpzo.clip.images import UnreadableImageError, load_image


def encoded(kind: str, size: tuple[int, int] = (40, 50), **more: object) -> bytes:
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(stream, kind, **more)
    return stream.getvalue()


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def flipped(content: bytes, at: float) -> bytes:
    damaged = bytearray(content)
    for index in range(int(len(content) * at), int(len(content) * at) + 40):
        damaged[index] ^= 0xFF
    return bytes(damaged)


UNREADABLE: dict[str, tuple[str, bytes]] = {
    "empty": ("a.jpg", b""),
    "text": ("a.jpg", b"hello, world\n" * 50),
    "a page": ("a.png", b"<!doctype html><html></html>"),
    "a document": ("a.jpg", b"%PDF-1.7\n" + b"x" * 500),
    "an archive": ("a.png", b"PK\x03\x04" + b"\0" * 500),
    "a drawing": ("a.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "a program": ("a.jpg", b"\x7fELF" + b"\0" * 500),
    "a photo of a newer phone": ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 500),
    "zeros": ("a.jpg", bytes(5000)),
    "noise": ("a.jpg", np.random.default_rng(0).bytes(5000)),
    "JPEG, its first bytes": ("a.jpg", encoded("JPEG")[:20]),
    "JPEG, half": ("a.jpg", encoded("JPEG", (400, 500))[: len(encoded("JPEG", (400, 500))) // 2]),
    "PNG, half": ("a.png", encoded("PNG", (200, 200))[:50_000]),
    "PNG, flipped bytes": ("a.png", flipped(encoded("PNG", (200, 200)), 0.5)),
    "PNG, no pixels": ("a.png", png(40, 40)),
    "PNG of 50,000 x 50,000": ("a.png", png(50_000, 50_000)),
    "PNG of 2^31 pixels wide": ("a.png", png(2**31 - 1, 2)),
    "PNG of no width": ("a.png", png(0, 40)),
    "BMP of 50,000 x 50,000": ("a.bmp", bmp(50_000, 50_000)),
    "BMP, its header": ("a.bmp", bmp(40, 40)),
    "GIF, half": ("a.gif", encoded("GIF")[:100]),
    "WebP, half": ("a.webp", encoded("WEBP")[:100]),
    "TIFF, half": ("a.tif", encoded("TIFF")[:100]),
    "a strip": ("a.png", encoded("PNG", (1, 200_000))),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_bad_photo_is_named_and_left_out(case: str, place: Place) -> None:
    name, content = UNREADABLE[case]
    bad = place.file(name, content)
    done = invoke("predict", place.run, bad, photo(place), "--json")
    assert done.exit_code == 0, done.output
    assert f"skipped {bad}: " in done.stderr
    assert "Traceback" not in done.output
    first, second = json.loads(done.stdout)
    assert first == {"file": str(bad), "error": first["error"]}
    assert second["class"]


def pipe(place: Place) -> Path:
    os.mkfifo(place.tmp / "a.jpg")
    return place.tmp / "a.jpg"


def dangling(place: Place) -> Path:
    (place.tmp / "a.jpg").symlink_to(place.tmp / "gone.jpg")
    return place.tmp / "a.jpg"


def loop(place: Place) -> Path:
    (place.tmp / "a.jpg").symlink_to(place.tmp / "b.jpg")
    (place.tmp / "b.jpg").symlink_to(place.tmp / "a.jpg")
    return place.tmp / "a.jpg"


def forbidden(place: Place) -> Path:
    file = place.file("a.jpg", encoded("JPEG"))
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    return file


@pytest.mark.parametrize("make", [pipe, dangling, loop, forbidden])
def test_what_is_no_file_is_named_and_left_out(make: Callable[[Place], Path], place: Place) -> None:
    bad = make(place)
    done = invoke("predict", place.run, bad, photo(place), "--json")
    assert done.exit_code == 0, done.output
    assert f"skipped {bad}: " in done.stderr


@pytest.mark.parametrize(
    "name",
    ["émoji 🦊.jpg", "-dash.jpg", "new\nline.jpg", "{}[b].jpg", os.fsdecode(b"latin-\xe9.jpg")],
)
def test_any_file_name_will_do(name: str, place: Place) -> None:
    folder = place.folder("camera")
    (folder / name).write_bytes(encoded("JPEG"))
    for more in ((), ("--json",), ("--csv",)):
        done = invoke("predict", place.run, folder, *more)
        assert done.exit_code == 0, done.output


def test_links_that_go_round_end(place: Place) -> None:
    folder = place.folder("camera")
    (folder / "a.jpg").write_bytes(encoded("JPEG"))
    (folder / "round").symlink_to(folder)
    done = invoke("predict", place.run, folder, "--json")
    assert len(json.loads(done.stdout)) == 1


SEEDS = [encoded(kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")]


@settings(
    max_examples=int(os.environ.get("EDGE_SHARPZO_FUZZ", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
    cut=st.floats(0.05, 1),
)
def test_fuzzed_photos_are_read_or_refused(
    tmp_path: Path, seed: bytes, edits: list[tuple[float, int]], cut: float
) -> None:
    """Any damage to any format: an RGB picture or an UnreadableImageError; nothing else."""
    content = bytearray(seed)
    for place_, value in edits:
        content[int(place_ * len(content))] = value
    file = tmp_path / "a.img"
    file.write_bytes(bytes(content[: int(cut * len(content))]))
    with suppress(UnreadableImageError):
        assert load_image(file).mode == "RGB"
