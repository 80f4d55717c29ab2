"""What the station's API tells of photos and classes."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stations import Station, picture

from edge_sharpzo.station import learner
from station.asking import BLUE, RED, cause, ids


def test_the_state_tells_what_is_there(served: Station, data: Path) -> None:
    for seed in range(6):
        (data / "_background").mkdir(exist_ok=True)
        (data / "_background" / f"{seed}.png").write_bytes(picture(40, seed))
    state = served.settled()
    names = ["blue_things", "green_things", "red_things"]
    assert [each["name"] for each in state["classes"]] == names
    assert [each["display"] for each in state["classes"]] == [n.replace("_", " ") for n in names]
    assert [each["photos"] for each in state["classes"]] == [6, 6, 6]
    assert (state["background"], state["set_aside"]) == (6, 0)
    assert state["template"] == "a photo of a {}."
    assert state["data"] == str(data)
    assert state["can_undo"] is state["can_redo"] is None
    assert state["learn"]["state"] == "idle"
    assert "history" not in state["learn"]
    look = state["look"]
    assert (look["state"], look["version"], look["why"]) == ("ready", state["version"], None)


def test_photos_are_listed_by_place_and_page(steady: Station) -> None:
    steady.settled()
    listed = steady.get("/api/photos?class=red_things&offset=1&limit=2").json()
    assert listed["total"] == 6
    assert [each["name"] for each in listed["photos"]] == ["001.png", "002.png"]
    assert {each["class"] for each in listed["photos"]} == {"red_things"}
    assert {each["part"] for each in listed["photos"]} == {"train"}
    assert steady.get("/api/photos").json()["total"] == 18
    assert steady.get("/api/photos?background").json() == {"photos": [], "total": 0}
    assert steady.get("/api/photos?set-aside=1").json() == {"photos": [], "total": 0}


def test_thumbnails_are_small_and_asked_for_once(steady: Station) -> None:
    photo = ids(steady, "class=red_things")[0]
    first = steady.get(f"/api/photos/{photo}/thumbnail")
    assert first.headers["content-type"] == "image/webp"
    assert first.content[:4] == b"RIFF"
    etag = first.headers["etag"]
    again = steady.get(f"/api/photos/{photo}/thumbnail", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    other = steady.get(f"/api/photos/{photo}/thumbnail", headers={"If-None-Match": '"0"'})
    assert other.status_code == 200


def test_an_image_is_the_file_itself(steady: Station, steady_data: Path) -> None:
    photo = ids(steady, "class=red_things")[0]
    answer = steady.get(f"/api/photos/{photo}/image")
    assert answer.content == (steady_data / "red_things" / "000.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_called_a_photo_is_never_sent_as_one(served: Station, data: Path) -> None:
    (data / "red_things" / "evil.png").write_bytes(b"<script>alert(1)</script>")
    (photo,) = [
        each["id"]
        for each in served.get("/api/photos?class=red_things").json()["photos"]
        if each["name"] == "evil.png"
    ]
    for what in ("image", "thumbnail"):
        assert "cannot be read" in cause(served.get(f"/api/photos/{photo}/{what}"), 415)


def test_what_watch_saved_waits_with_a_guess(served: Station, data: Path) -> None:
    red, blue = ids(served, "class=red_things")[0], ids(served, "class=blue_things")[0]
    served.post("/api/photos/move", {"ids": [red, blue], "to": "set-aside"})
    unsure = data / ".set-aside" / "unsure"
    unsure.mkdir()
    (unsure / "a.png").write_bytes(picture(RED, 5))
    (unsure / "broken.png").write_bytes(b"none")
    served.settled()
    state = served.get("/api/state").json()
    assert (state["set_aside"], state["waiting"]) == (4, 2)
    listed = served.get("/api/photos?set-aside=1").json()["photos"]
    by_name = {(each["class"], each["name"]): each for each in listed}
    saved, broken = by_name[None, "a.png"], by_name[None, "broken.png"]
    assert (saved["can_go_back"], broken["can_go_back"], broken["says"]) == (False, False, None)
    tried = served.send("/api/try", ("a.png", picture(RED, 5)), field="photo").json()
    top = tried["answers"][0]
    assert saved["says"]["probability"] == pytest.approx(top["probability"], abs=1e-5)
    assert [saved["says"][each] for each in ("class", "display", "known", "sure")] == [
        *(top[each] for each in ("class", "display")),
        *(tried[each] for each in ("known", "sure")),
    ]
    others = [each for each in listed if each["class"] is not None]
    assert [each["can_go_back"] for each in others] == [True, True]
    answer = served.post("/api/photos/move", {"ids": [saved["id"]], "to": "back"})
    assert "no longer there: move them to a class" in cause(answer, 409)
    assert all(each["says"] is None for each in served.get("/api/photos").json()["photos"])


@pytest.mark.parametrize(
    ("path", "class_name"),
    [
        ("unsure/a.png", None),  # as `watch` saves it
        ("unsure/door/b.png", None),
        ("c.png", None),
        ("_background/d.png", None),
        ("red_things/e.png", "red_things"),
        ("gone/f.png", "gone"),
    ],
)
@pytest.mark.parametrize("is_class", [False, True])
def test_photos_aside_have_the_class_that_they_come_from(
    path: str, class_name: str | None, is_class: bool, served: Station, data: Path
) -> None:
    if is_class:  # a class that is called as `watch`'s folder
        (data / "unsure").mkdir()
        (data / "unsure" / "own.png").write_bytes(picture(BLUE, 7))
    place = data / ".set-aside" / path
    place.parent.mkdir(parents=True)
    place.write_bytes(picture(RED, 5))
    served.settled()
    (photo,) = served.get("/api/photos?set-aside=1").json()["photos"]
    assert photo["class"] == class_name
    assert photo["can_go_back"] == path.startswith(("red_things", "_background"))


def test_files_that_are_left_out_are_counted_beside_the_photos(served: Station, data: Path) -> None:
    (data / "red_things" / "torn.png").write_bytes(picture(RED)[:60])
    (data / "red_things" / "empty.jpg").write_bytes(b"")
    shutil.copy(data / "green_things" / "000.png", data / "green_things" / "z-copy.png")
    (data / "_background").mkdir()
    for seed in range(6):
        (data / "_background" / f"{seed}.png").write_bytes(picture(40, seed))
    (data / "_background" / "torn.png").write_bytes(picture(40)[:60])
    state = served.settled()
    counts = {each["name"]: (each["photos"], each["left_out"]) for each in state["classes"]}
    assert counts == {"blue_things": (6, 0), "green_things": (6, 1), "red_things": (6, 2)}
    assert (state["background"], state["background_left_out"]) == (6, 1)
    assert served.get("/api/look").json()["taught"] == 18
    assert served.get("/api/photos?class=red_things").json()["total"] == 8  # all are shown
    (data / "red_things" / "torn.png").write_bytes(picture(RED, 9))
    (data / "red_things" / "empty.jpg").unlink()
    red = served.settled()["classes"][2]
    assert (red["photos"], red["left_out"]) == (7, 0)
    for photo in (data / "red_things").iterdir():  # so that nothing can be learnt
        photo.write_bytes(b"none")
    state = served.settled()
    assert state["look"]["state"] == "none"
    assert (state["classes"][2]["photos"], state["classes"][2]["left_out"]) == (0, 7)


def _one_class(data: Path) -> None:
    for name in ("blue_things", "green_things"):
        (data / name).rename(data.parent / name)
    shutil.copy(data / "red_things" / "002.png", data / "red_things" / "torn.png")


def _one_class_that_is_mended(data: Path) -> None:
    for name in ("blue_things", "green_things"):
        shutil.rmtree(data / name)
    (data / "red_things" / "torn.png").write_bytes(picture(RED, 9))


def _one_class_beside_background(data: Path) -> None:
    for name in ("blue_things", "green_things"):
        shutil.rmtree(data / name)
    (data / "_background").mkdir()
    shutil.copy(data / "red_things" / "003.png", data / "_background" / "a.png")
    (data / "_background" / "b.png").write_bytes(picture(40))


def _one_that_cannot_be_used(data: Path) -> None:
    (data / "red_things" / "torn.png").unlink()
    (data / "blue_things" / "000.png").unlink()
    shutil.copy(data / "blue_things" / "001.png", data / "blue_things" / "z.png")
    for photo in (data / "green_things").iterdir():
        photo.write_bytes(b"none")


def _two_of_one_name(data: Path) -> None:
    (data / "blue_things" / "000.png").unlink()
    (data / "green_things").rename(data / "red things")


def _none(data: Path) -> None:
    for photo in data.glob("*/*.png"):
        photo.unlink()


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (_one_class, {"red_things": (7, 1)}),
        (_one_class_that_is_mended, {"red_things": (8, 0)}),
        (_one_class_beside_background, {"red_things": (7, 1), None: (1, 1)}),
        (
            _one_that_cannot_be_used,
            {"blue_things": (5, 1), "green_things": (0, 6), "red_things": (7, 0)},
        ),
        (_two_of_one_name, {"blue_things": (5, 0), "red things": (6, 0), "red_things": (7, 1)}),
        (_none, {"blue_things": (0, 0), "green_things": (0, 0), "red_things": (0, 0)}),
    ],
)
def test_what_is_left_out_is_of_the_album_as_it_is_where_nothing_can_be_learnt(
    change: Callable[[Path], None],
    counts: dict[str | None, tuple[int, int]],
    served: Station,
    data: Path,
) -> None:
    (data / "red_things" / "torn.png").write_bytes(picture(RED)[:60])
    shutil.copy(data / "blue_things" / "000.png", data / "red_things" / "of-two.png")
    before = served.settled()
    assert _left_out(before) == {
        "blue_things": (5, 1),
        "green_things": (6, 0),
        "red_things": (6, 2),
    }
    change(data)
    after = served.settled()
    assert after["look"]["state"] == "none"
    assert _left_out(after) == counts


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "bad disk")])
@pytest.mark.parametrize("at", ["prepare", "sift"])
def test_nothing_is_said_to_be_left_out_where_that_cannot_be_told(
    at: str, error: Exception, served: Station, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "red_things" / "torn.png").write_bytes(picture(RED)[:60])
    assert _left_out(served.settled())["red_things"] == (6, 1)

    def fails(*given: object) -> None:  # noqa: ARG001
        raise error

    monkeypatch.setattr(learner, at, fails)
    for name in ("blue_things", "green_things"):
        if at == "sift":  # which is for an album that nothing can be learnt from
            shutil.rmtree(data / name)
    (data / "red_things" / "000.png").unlink()
    state = served.settled()
    assert state["look"]["state"] == "none"
    assert _left_out(state)["red_things"] == (6, 0)


def _left_out(state: dict[str, Any]) -> dict[str | None, tuple[int, int]]:
    """Photos and files that are none, by class; None: the background, if any."""
    counts: dict[str | None, tuple[int, int]] = {
        each["name"]: (each["photos"], each["left_out"]) for each in state["classes"]
    }
    background = (state["background"], state["background_left_out"])
    return counts | ({None: background} if any(background) else {})


def test_files_that_are_left_out_are_named(served: Station, data: Path) -> None:
    (data / "red_things" / "notes.txt").write_text("x")
    (data / "red_things" / "torn.png").write_bytes(picture(RED)[:60])
    shutil.copy(data / "red_things" / "000.png", data / "red_things" / "z-copy.png")
    served.settled()
    files = {each["file"]: each["why"] for each in served.get("/api/look").json()["left_out"]}
    names = ("notes.txt", "torn.png", "z-copy.png")
    assert set(files) == {f"red_things/{name}" for name in names}
    assert files["red_things/z-copy.png"].endswith("as red_things/000.png")
    assert all(files.values())
    assert not any(str(data) in why for why in files.values())
