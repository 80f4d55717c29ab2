"""Folders that change under the station, and stations that meet."""

import io
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stations import Station, files_of, picture, station

from edge_sharpzo.album import Album, InUseError
from edge_sharpzo.station.desk import Desk
from edge_sharpzo.system.errors import UserError
from station.asking import BLUE, GOOD, GREEN, RED, cause, ids


def test_a_folder_changed_by_hand(served: Station, data: Path) -> None:
    served.settled()
    photo = ids(served, "class=red_things")[0]
    (data / "red_things" / "000.png").unlink()
    assert cause(served.get(f"/api/photos/{photo}/image"), 404)
    assert cause(served.get(f"/api/photos/{photo}/thumbnail"), 404)
    shutil.move(data / "green_things", data / "grass")
    state = served.settled()
    assert [each["name"] for each in state["classes"]] == ["blue_things", "grass", "red_things"]
    assert served.get("/api/look").json()["photos"] == 17
    shutil.rmtree(data / "grass")
    shutil.rmtree(data / "blue_things")
    state = served.settled()
    assert state["look"]["state"] == "none"
    assert "only the class 'red things'" in state["look"]["why"]
    assert "red things" in cause(served.get("/api/look"), 409)
    assert cause(served.send("/api/try", ("a.png", GOOD), field="photo"), 409)
    assert served.send("/api/photos?class=red_things", ("a.png", GOOD)).json()["added"] == 1


def colour(picture: bytes) -> str:
    """Which of red, green and blue a photo mostly is."""
    mean = Image.open(io.BytesIO(picture)).convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert isinstance(mean, tuple)
    return ["red", "green", "blue"][mean.index(max(mean))]


def _one_over_another(data: Path) -> None:
    for photo in (data / "red_things").iterdir():
        (data / "blue_things" / photo.name).rename(photo)


def _written_over(data: Path) -> None:
    for photo in (data / "red_things").iterdir():
        photo.write_bytes((data / "blue_things" / photo.name).read_bytes())


def _folders_exchanged(data: Path) -> None:
    (data / "red_things").rename(data / ".t")
    (data / "blue_things").rename(data / "red_things")
    (data / ".t").rename(data / "blue_things")


@pytest.mark.parametrize("change", [_one_over_another, _written_over, _folders_exchanged])
def test_photos_replaced_by_hand_have_other_ids(change: Any, served: Station, data: Path) -> None:
    served.settled()
    old = ids(served, "class=red_things")
    assert {colour(served.get(f"/api/photos/{p}/thumbnail").content) for p in old} == {"red"}
    change(data)
    for photo in old:
        for kind in ("thumbnail", "image"):
            assert "replaced" in cause(served.get(f"/api/photos/{photo}/{kind}"), 404)
    before = {n: c for n, c in files_of(data).items() if not n.startswith(".station")}
    for to in ("set-aside", "background", {"class": "green_things"}):
        told = cause(served.post("/api/photos/move", {"ids": old, "to": to}), 404)
        assert "nothing was moved" in told
    after = {n: c for n, c in files_of(data).items() if not n.startswith(".station")}
    assert after == before
    new = ids(served, "class=red_things")
    assert (len(new), set(new) & set(old)) == (6, set())
    for kind in ("thumbnail", "image"):
        seen = {colour(served.get(f"/api/photos/{photo}/{kind}").content) for photo in new}
        assert seen == {"blue"}
    moved = served.post("/api/photos/move", {"ids": [old[0], new[0]], "to": "set-aside"}).json()
    assert moved["told"] == ["1 photo that you chose: no longer there, or replaced by another"]
    (aside,) = (data / ".set-aside").rglob("*.png")
    assert colour(aside.read_bytes()) == "blue"


def test_what_was_said_of_a_photo_is_not_said_of_the_next(served: Station, data: Path) -> None:
    (data / "red_things" / "000.png").rename(data / "green_things" / "wrong.png")
    served.settled()

    def suspects() -> list[str]:
        listed = served.get("/api/photos?class=green_things").json()["photos"]
        return [each["name"] for each in listed if each["suspect"]]

    assert suspects() == ["wrong.png"]
    (old,) = [each["id"] for each in served.get("/api/look").json()["suspects"]]
    (data / "green_things" / "wrong.png").write_bytes(picture(GREEN, 77))
    assert cause(served.get(f"/api/photos/{old}/thumbnail"), 404)
    assert suspects() == []


def test_an_empty_folder_waits_for_photos(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with station(tiny_onnx, tmp_path / "empty", tmp_path / "run") as served:
        assert served.settled()["look"]["state"] == "none"
        for name, hue in (("a", RED), ("b", BLUE)):
            served.post("/api/classes", {"name": name})
            photos = [(f"{i}", picture(hue, seed=i)) for i in range(4)]
            assert served.send(f"/api/photos?class={name}", *photos).json()["added"] == 4
        assert served.settled()["look"]["state"] == "ready"
        assert served.get("/api/look").json()["photos"] == 8


def test_a_second_station_names_the_first(served: Station, data: Path) -> None:
    served.desk.album.announce(served.url)
    with pytest.raises(InUseError, match=f"process {os.getpid()} at {served.url}"):
        Album.open(data)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("data/run", "lie in each other"),
        (".", "lie in each other"),
        ("data", "lie in each other"),
        ("other", "choose another"),
        ("file", "choose another"),
    ],
)
def test_run_folders_that_cannot_be(
    run: str, told: str, data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=told):
        Desk.opened(data, tmp_path / run, {"onnx": tiny_onnx}, print)
    Album.open(data).close()  # nobody holds it


def test_a_run_of_another_model_or_other_photos(
    finished_run: Path, photos: Path, data: Path, tmp_path: Path
) -> None:
    from edge_sharpzo.clip.embedded import EMBEDDED_MODEL

    with pytest.raises(UserError, match="is a run on the photos in"):
        Desk.opened(data, finished_run, {}, print)
    copy = Path(shutil.copytree(EMBEDDED_MODEL.parent, tmp_path / "model")) / EMBEDDED_MODEL.name
    moved = Path(shutil.copytree(photos, tmp_path / "photos"))
    run = Path(shutil.copytree(finished_run, tmp_path / "finished"))
    config = json.loads((run / "config.json").read_text())
    config["options"]["data"] = str(moved)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="was tuned with another model"):
        Desk.opened(moved, run, {"onnx": copy}, print)


def test_nothing_is_blocked_while_it_tunes(served: Station) -> None:
    served.settled()
    served.post("/api/learn", {})
    slowest = 0.0
    for round_ in range(15):
        photo = ids(served, "class=red_things")[0]
        for path in ("/api/state", "/api/look", "/api/learn", f"/api/photos/{photo}/thumbnail"):
            began = time.monotonic()
            assert served.get(path).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        began = time.monotonic()
        served.post("/api/photos/move", {"ids": [photo], "to": {"class": "blue_things"}})
        served.post("/api/undo")
        slowest = max(slowest, (time.monotonic() - began) / 2)
        assert round_ < 15
    assert slowest < 2
