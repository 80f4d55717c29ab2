"""`watch --save`: what it was not sure of is kept, once, and within bounds."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, invoke
from PIL import Image

from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.watching import unsure
from edge_sharpzo.watching.unsure import Unsure
from watch.sights import shot, watcher


def scene(seed: int) -> np.ndarray:
    field = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(field).resize((120, 90), Image.Resampling.BICUBIC))


def kept(keeper: Unsure, *seeds: int) -> None:
    for number, seed in enumerate(seeds, 1):
        features = np.random.default_rng(seed).normal(size=24).astype(np.float32)
        keeper.keep(scene(seed), features / np.linalg.norm(features), number)


def test_what_is_unsure_is_kept_once_a_scene(tmp_path: Path) -> None:
    told = list[str]()
    kept(Unsure(tmp_path / "a" / "b", lambda text, _: told.append(text)), 1, 1, 2, 1, 2, 3)
    files = sorted((tmp_path / "a" / "b").iterdir())
    assert [file.stem.split("-")[2] for file in files] == ["000001", "000003", "000006"]
    for file, seed in zip(files, (1, 2, 3), strict=True):
        difference = np.asarray(Image.open(file), float) - scene(seed)
        assert np.abs(difference).mean() < 3
    assert told == []


@pytest.mark.parametrize("watchers", [2, 3, 5])
def test_no_picture_takes_the_place_of_another(
    watchers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several cameras in one folder, or a clock that was set back: the same second and frame."""
    monkeypatch.setattr(unsure.time, "strftime", lambda _: "20000101-000017")
    for seed in range(watchers):
        kept(Unsure(tmp_path, lambda text, _: None), seed)
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(files) == watchers
    assert {name[:23] for name in files} == {"20000101-000017-000001-"}
    for seed in range(watchers):  # what is there already is neither lost nor there twice
        kept(Unsure(tmp_path, lambda text, _: None), seed)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files


@pytest.mark.parametrize(("limit", "value"), [("MOST_PHOTOS", 2), ("MOST_BYTES", 1)])
def test_the_folder_holds_no_more_than_it_may(
    limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsure, limit, value)
    (tmp_path / "earlier.jpg").write_bytes(b"of another run")
    told = list[str]()
    keeper = Unsure(tmp_path, lambda text, _: told.append(text))
    kept(keeper, 1, 2, 3, 4)
    assert len(list(tmp_path.iterdir())) == (2 if limit == "MOST_PHOTOS" else 1)
    assert len(told) == 1
    assert "as many as it may: label them" in told[0]
    for file in tmp_path.iterdir():
        file.unlink()
    kept(keeper, 5)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_told_once_and_watching_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, write = list[str](), unsure.write_atomic

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = Unsure(tmp_path, lambda text, _: told.append(text))
    monkeypatch.setattr(unsure, "write_atomic", full)
    kept(keeper, 1, 2, 3)
    assert [line.split(":")[0] for line in told] == [
        f"cannot save to {tmp_path} (No space left on device)"
    ]
    monkeypatch.setattr(unsure, "write_atomic", write)
    kept(keeper, 1)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("depth", [1, 3])
def test_a_folder_that_is_deleted_is_made_again(depth: int, tmp_path: Path) -> None:
    told = list[str]()
    place = tmp_path.joinpath(*"abc"[:depth])
    keeper = Unsure(place, lambda text, _: told.append(text))
    kept(keeper, 1, 2)
    shutil.rmtree(tmp_path / "a")
    kept(keeper, 3, 4)
    assert len(list(place.iterdir())) == 2
    assert told == []


def test_a_folder_that_cannot_be_made_again_is_told_once_and_tried_again(tmp_path: Path) -> None:
    told, place = list[str](), tmp_path / "kept"
    keeper = Unsure(place, lambda text, _: told.append(text))
    place.rmdir()
    place.write_bytes(b"")
    kept(keeper, 1, 2)
    assert [line.split(":")[0] for line in told] == [f"cannot save to {place} (File exists)"]
    assert "room" not in told[0]
    place.unlink()
    kept(keeper, 1, 2)
    assert len(list(place.iterdir())) == 2
    assert len(told) == 1


def test_each_cause_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    keeper = Unsure(tmp_path, lambda text, _: told.append(text))
    for number in (errno.ENOSPC, errno.ENOSPC, errno.EROFS, errno.EROFS):

        def fail(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(unsure, "write_atomic", fail)
        kept(keeper, 1)
    causes = [os.strerror(number) for number in (errno.ENOSPC, errno.EROFS)]
    assert all(cause in line for cause, line in zip(causes, told, strict=True))
    assert all("until that is mended" in line for line in told)


def test_a_photo_that_goes_while_the_folder_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody labels it just then."""
    told = list[str]()
    keeper = Unsure(tmp_path, lambda text, _: told.append(text))
    there = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda file: there(file) or file.suffix == ".gone")
    (tmp_path / "a.gone").symlink_to(tmp_path / "nowhere")
    kept(keeper, 1)
    assert told == []
    assert len(list(tmp_path.glob("*.jpg"))) == 1


def test_only_what_is_known_and_not_sure_is_kept(tmp_path: Path) -> None:
    keeper = Unsure(tmp_path, lambda text, _: None)
    pictures = [shot(0, 90), shot(1, 50), shot(1, 50, 0), shot(0, 85, 2)]
    list(watcher(pictures, unsure=keeper).rows(StopWhen()))
    assert [file.stem.split("-")[2] for file in tmp_path.iterdir()] == ["000002"]


def test_a_file_where_the_folder_should_be(place: Place) -> None:
    result = invoke(
        "watch", place.run, "--source", place.folder("in"), "--save", "unsure",
        "--save-to", place.file("taken"),
    )  # fmt: skip
    assert result.exit_code == 2
    assert "cannot save to" in result.stderr
    assert "give another --save-to" in result.stderr
