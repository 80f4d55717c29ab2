"""What the field does to a tool: odd names, odd text files, odd terminals, odd numbers."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, invoke, photo, run_tune, write_photos
from PIL import Image

import edge_sharpzo
from edge_sharpzo import UserError
from edge_sharpzo.clip.images import UnreadableImageError, load_image

SAME_TO_THE_MODEL = {
    "case": ("Cat", "cat"),
    "forms of one letter": ("cafe\u0301", "caf\u00e9"),
    "spaces and underscores": ("a_b", "a  b"),
    "entities": ("r&d", "r&amp;d"),
    "case in another alphabet": ("ÉCOLE", "école"),
    "three": ("dog", "DOG"),
}


@pytest.mark.parametrize("case", SAME_TO_THE_MODEL)
def test_classes_that_read_the_same_are_refused(case: str, tiny_onnx: Path, tmp_path: Path) -> None:
    for label, name in enumerate((*SAME_TO_THE_MODEL[case], "bicycle")):
        write_photos(tmp_path / "data" / name, 60 * label, 3, seed=1)
    done = run_tune(tiny_onnx, tmp_path / "data", tmp_path / "run", "--shots", 1, "--budget", 40)
    assert done.exit_code == 2
    assert "read the same to the model" in done.stderr
    for name in SAME_TO_THE_MODEL[case]:
        assert f"'{name}'" in done.stderr
    apart = tmp_path / "names.txt"
    apart.write_text(f"{SAME_TO_THE_MODEL[case][0]} = something else\n", encoding="utf8")
    more = ("--shots", 1, "--budget", 40, "--class-names", apart)
    assert run_tune(tiny_onnx, tmp_path / "data", tmp_path / "run", *more).exit_code == 0


def test_names_that_differ_a_little_are_two_classes(tiny_onnx: Path, tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "cats", "cat 2", unicodedata.normalize("NFD", "café"))):
        write_photos(tmp_path / "data" / name, 60 * label, 3, seed=1)
    done = run_tune(tiny_onnx, tmp_path / "data", tmp_path / "run", "--shots", 1, "--budget", 40)
    assert done.exit_code == 0, done.stderr


def test_text_files_with_a_mark_are_read(place: Place) -> None:
    names = place.file("names.txt", "\ufeffred_things = red paint\n")
    done = invoke(*place.tune("--class-names", names))
    assert done.exit_code == 0, done.stderr
    config = json.loads((place.tmp / "out" / "config.json").read_text())
    assert "red paint" in config["names"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_text_files_in_another_encoding_say_what_to_do(encoding: str, place: Place) -> None:
    names = place.file("names.txt", "red_things = peinture à l'eau\n".encode(encoding))
    done = invoke(*place.tune("--class-names", names))
    assert done.exit_code == 2
    assert "Save it as UTF-8" in done.stderr or "which is no class folder" in done.stderr


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge_sharpzo", *map(str, arguments)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_list_of_photos_with_a_mark_or_odd_bytes(mark: bytes, place: Place) -> None:
    odd = place.tmp / os.fsdecode(b"latin-\xe9.png")
    odd.write_bytes(photo(place).read_bytes())
    listed = mark + b"\n".join(os.fsencode(file) for file in (photo(place), odd)) + b"\n"
    done = subprocess.run(
        command("predict", place.run, "-", "--csv"), input=listed, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_a_closed_standard_input_says_so(place: Place) -> None:
    line = " ".join(command("predict", place.run, "-")) + " <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard input" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("more", ["", "--csv", "--json"])
def test_a_pipe_that_ends_is_no_error(more: str, place: Place) -> None:
    line = f"{' '.join(command('predict', place.run, place.photos))} {more} | head -c 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "cannot use" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root to become nobody")
def test_a_user_without_a_home_or_an_entry() -> None:
    script = """
import os, pwd, tempfile
from edge_sharpzo.system.storage import cache_folder
os.setgid(54321)
os.setuid(54321)
os.environ.pop("HOME", None)
print(cache_folder())
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("EDGE", "XDG", "HOME"))}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("edge-sharpzo-54321")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_photos_that_cannot_be_read(
    number: float, tiny_onnx: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = edge_sharpzo.ClipOnnx(tiny_onnx)
    session = clip.session

    class Broken:
        calls, at_once = 0, 1

        def run_all(self, calls: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
            (feeds,) = calls
            features = np.ones((len(feeds["pixel_values"]), clip.card.feature_dim), np.float32)
            if self.calls % 4 == 0:
                features[0, 3] = number
            self.calls += 1
            return [features]

    assert session is not None
    monkeypatch.setattr(clip, "session", lambda tower, integer=False: Broken())
    files = sorted((photos / "test").rglob("*.png"))[:6]
    skipped: dict[int, str] = {}
    with clip.image_tower() as tower:
        features, readable = tower.encode(files, skipped.__setitem__)
    assert readable.tolist() == [False, True, True, True, False, True]
    assert np.isfinite(features).all()
    assert set(skipped) == {0, 4}
    assert "no finite numbers" in skipped[0]
    with pytest.raises(UserError, match="no finite numbers"):
        clip.encode_images(files)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "ICO", "PCX", "SGI"])
def test_a_rare_format_under_another_name_is_no_photo(kind: str, tmp_path: Path) -> None:
    """Some start a converter of another program's, others are decoders that nobody looks at."""
    file = tmp_path / "a.jpg"
    if kind == "EPS":
        file.write_bytes(EPS)
    else:
        Image.new("RGB", (20, 20)).save(file, kind)
    with pytest.raises(UnreadableImageError, match="not an image"):
        load_image(file)
