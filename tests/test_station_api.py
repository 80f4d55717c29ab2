"""Each endpoint of the station's API: right answers, and plain errors for everything else."""

import errno
import io
import json
import os
import re
import shutil
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers import invoke, png
from PIL import Image
from stations import MARKED, Station, files_of, picture, station

from edge_sharpzo.album import Album, InUseError
from edge_sharpzo.runs.records import Summary
from edge_sharpzo.station import learner, pages, server, uploads
from edge_sharpzo.station.api import ENDPOINTS
from edge_sharpzo.station.desk import Desk
from edge_sharpzo.station.errors import TOO_MANY, as_asked_error
from edge_sharpzo.station.take_api import zipped
from edge_sharpzo.station.tokens import MOST_WRONG, WITHIN, Tokens, TooManyError, kept_token
from edge_sharpzo.system.errors import UserError, os_errors_told

NAME = Tokens("right" * 9).cookie_name
JSON = {"Content-Type": "application/json"}
RED, GREEN, BLUE = 0, 90, 170


@pytest.fixture
def data(photos: Path, tmp_path: Path) -> Path:
    """Three classes of six photos, without splits."""
    return Path(shutil.copytree(photos / "train", tmp_path / "data"))


@pytest.fixture
def served(tiny_onnx: Path, data: Path, tmp_path: Path) -> Iterator[Station]:
    with station(tiny_onnx, data, tmp_path / "run") as running:
        yield running


@pytest.fixture(scope="module")
def steady_data(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(photos / "train", tmp_path_factory.mktemp("steady") / "data"))


@pytest.fixture(scope="module")
def steady(tiny_onnx: Path, steady_data: Path) -> Iterator[Station]:
    """A station that nothing changes: whatever is asked of it is refused, or reads alone."""
    with station(tiny_onnx, steady_data, steady_data.parent / "run") as running:
        before = {n: c for n, c in files_of(steady_data).items() if n != ".station/lock"}
        running.settled()
        yield running
        after = {n: c for n, c in files_of(steady_data).items() if n != ".station/lock"}
        assert after == before
        assert not any("Traceback" in line for line in running.log)


def cause(answer: Any, status: int) -> str:
    """The cause of an error, which has the shape of all errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"cause", "field"}
    text: str = told["error"]["cause"]
    assert text
    assert "Traceback" not in text
    return text


def ids(served: Station, query: str) -> list[str]:
    return [each["id"] for each in served.get(f"/api/photos?{query}").json()["photos"]]


# What is there.


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


# Steps.


def test_each_step_is_done_undone_and_done_again(served: Station, data: Path) -> None:
    before = sorted(each.name for each in data.iterdir())
    made = served.post("/api/classes", {"name": "odd ones"}).json()
    assert made["step"]["text"] == "new class 'odd ones'"
    assert (data / "odd ones").is_dir()
    served.post("/api/classes/odd%20ones/rename", {"to": "strange ones"})
    assert (data / "strange ones").is_dir()
    served.post("/api/classes/strange%20ones/display", {"display": "strange little things"})
    photo = ids(served, "class=red_things")[0]
    served.post("/api/photos/move", {"ids": [photo], "to": {"class": "strange ones"}})
    assert [p.name for p in (data / "strange ones").iterdir()] == ["000.png"]
    served.post("/api/classes/strange%20ones/merge", {"into": "red_things"})
    assert not (data / "strange ones").exists()
    served.post("/api/template", {"template": "a {} on the belt"})
    state = served.get("/api/state").json()
    assert state["template"] == "a {} on the belt"
    texts = [each["text"] for each in served.get("/api/history").json()["steps"]]
    assert len(texts) == 6
    assert state["can_undo"] == texts[-1]
    for _ in texts:
        assert served.post("/api/undo").status_code == 200
    assert cause(served.post("/api/undo"), 404)
    assert sorted(each.name for each in data.iterdir() if each.name[0] != ".") == [
        each for each in before if each[0] != "."
    ]
    assert served.post("/api/redo").json()["step"]["text"] == f"done again: {texts[0]}"
    assert served.get("/api/state").json()["can_undo"] == texts[0]


@pytest.mark.parametrize("to", ["background", "set-aside"])
def test_photos_go_away_and_come_back(to: str, served: Station, data: Path) -> None:
    kept = (data / "red_things" / "000.png").read_bytes()
    (photo, *_) = ids(served, "class=red_things")
    served.post("/api/photos/move", {"ids": [photo], "to": to})
    (moved,) = ids(served, to)
    assert len(ids(served, "class=red_things")) == 5
    back = {"class": "red_things"} if to == "background" else "back"
    served.post("/api/photos/move", {"ids": [moved], "to": back})
    assert (data / "red_things" / "000.png").read_bytes() == kept
    assert ids(served, to) == []


@pytest.mark.parametrize("name", ["hat", "owls & more", "größe"])
@pytest.mark.parametrize("mark", [None, ".gitkeep"])
def test_an_empty_class_goes_and_comes_back(
    name: str, mark: str | None, served: Station, data: Path
) -> None:
    assert served.post("/api/classes", {"name": name}).status_code == 200
    if mark:
        (data / name / mark).write_text("x")
    before = {path for path in data.rglob("*") if ".station" not in path.parts}
    path = f"/api/classes/{quote(name)}/remove"
    step = served.post(path).json()["step"]
    assert step["text"] == f"'{name}' removed"
    assert not (data / name).exists()
    assert name not in {each["name"] for each in served.get("/api/state").json()["classes"]}
    assert cause(served.post(path), 404)
    assert served.post("/api/undo").status_code == 200
    after = {path for path in data.rglob("*") if ".station" not in path.parts}
    assert {each for each in after if ".set-aside" not in each.parts} == before


@pytest.mark.parametrize(
    ("path", "body", "cure"),
    [
        ("/api/photos/move", {"to": "back"}, "not set aside: move them to a class"),
        ("/api/photos/move", {"to": {"class": "red_things"}}, "that class already: choose another"),
        ("/api/classes/red_things/rename", {"to": "red_things"}, "give another name"),
        ("/api/classes/red_things/display", {"display": "red things"}, "give another name"),
        ("/api/classes/red_things/display", {"display": ""}, "give another name"),
        ("/api/classes/red_things/merge", {"into": "red_things"}, "choose another"),
        ("/api/template", {"template": "a {}."}, "give another one"),
    ],
)
def test_what_would_do_nothing_is_refused_with_the_cure(
    path: str, body: Any, cure: str, served: Station, data: Path
) -> None:
    served.post("/api/template", {"template": "a {}."})
    if path == "/api/photos/move":
        body["ids"] = ids(served, "class=red_things")
    before = files_of(data)
    assert cure in cause(served.post(path, body), 409)
    assert files_of(data) == before


@pytest.mark.parametrize(
    ("first", "to", "cure"),
    [("background", "background", "move them to a class"), ("set-aside", "set-aside", "put them")],
)
def test_photos_that_are_there_already_do_not_go_again(
    first: str, to: str, cure: str, served: Station
) -> None:
    chosen = ids(served, "class=red_things")[:2]
    served.post("/api/photos/move", {"ids": chosen, "to": first})
    again = {"ids": ids(served, first), "to": to}
    assert cure in cause(served.post("/api/photos/move", again), 409)
    assert len(served.get("/api/history").json()["steps"]) == 1


@pytest.mark.parametrize("kept", [1, 6])
def test_a_class_with_photos_stays(kept: int, served: Station, data: Path) -> None:
    for photo in sorted((data / "red_things").iterdir())[kept:]:
        photo.unlink()
    text = "1 photo:" if kept == 1 else "6 photos:"
    assert text in cause(served.post("/api/classes/red_things/remove"), 409)
    assert len(list((data / "red_things").iterdir())) == kept
    assert cause(served.post("/api/classes/nothing/remove"), 404)


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
    assert photo["class"] == ("unsure" if is_class and path.startswith("unsure") else class_name)


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


def test_uploads_are_added_counted_and_named_here(served: Station, data: Path) -> None:
    new, twin = picture(RED, seed=9), picture(RED, seed=10, kind="JPEG")
    there = (data / "red_things" / "000.png").read_bytes()
    answer = served.send(
        "/api/photos?class=red_things",
        ("../../../etc/cron.d/x", new),
        ("C:\\windows\\b.exe", twin),
        ("same.png", new),
        ("there.png", there),
        ("text.png", b"no picture"),
    ).json()
    assert (answer["added"], answer["copies"], answer["near_duplicates"]) == (2, 2, 0)
    assert answer["copies_of"] == ["red_things"]
    assert answer["refused"] == [{"file": "text.png", "why": "not an image"}]
    names = sorted(path.name for path in (data / "red_things").iterdir())
    assert len(names) == 8
    assert not any("x" in name.split(".")[0] or "exe" in name for name in names)
    added = [data / "red_things" / name for name in names if len(name) > 8]
    assert sorted(path.read_bytes() for path in added) == sorted([new, twin])
    assert sorted(answer["ids"]) == sorted(
        set(ids(served, "class=red_things")) & set(answer["ids"])
    )
    assert list((data / ".station" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "to", "copies", "copies_of"),
    [
        (["green_things/000.png"], "class=red_things", 1, ["green_things"]),
        (["red_things/000.png", "new"], "class=red_things", 1, ["red_things"]),
        (
            [
                "red_things/000.png",
                "blue_things/001.png",
                "_background/0.png",
                "blue_things/002.png",
            ],
            "class=green_things",
            4,
            ["blue_things", "red_things", None],
        ),
        (["new", "new"], "background=1", 1, [None]),
        (
            ["new", "new", "red_things/000.png"],
            "class=blue_things",
            2,
            ["blue_things", "red_things"],
        ),
        (["new"], "class=red_things", 0, []),
        ([".set-aside/0.png"], "class=red_things", 0, []),
    ],
)
def test_copies_are_told_with_the_classes_that_have_them(
    sent: list[str],
    to: str,
    copies: int,
    copies_of: list[str | None],
    served: Station,
    data: Path,
) -> None:
    for seed, folder in enumerate(("_background", ".set-aside")):
        (data / folder).mkdir()
        (data / folder / "0.png").write_bytes(picture(40, seed))
    new = picture(RED, seed=9)
    files = [("a.png", new if each == "new" else (data / each).read_bytes()) for each in sent]
    answer = served.send(f"/api/photos?{to}", *files).json()
    assert (answer["copies"], answer["copies_of"]) == (copies, copies_of)
    assert answer["added"] == len(sent) - copies


def test_near_duplicates_of_a_burst_are_dropped(served: Station) -> None:
    from PIL import Image

    rng = [picture(hue, seed=hue) for hue in (20, 120)]
    burst = []
    for content in rng:
        image = Image.open(io.BytesIO(content)).resize((200, 160))
        for quality in (95, 90, 85):
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality)
            burst.append((f"{quality}.jpg", stream.getvalue()))
    answer = served.send("/api/photos?class=red_things&burst=1", *burst).json()
    assert (answer["added"], answer["near_duplicates"]) == (2, 4)
    answer = served.send("/api/photos?class=blue_things", *burst[1:2]).json()
    assert (answer["added"], answer["near_duplicates"]) == (1, 0)


def test_the_background_takes_photos(served: Station, data: Path) -> None:
    assert (
        served.send("/api/photos?background=1", ("a", picture(40)), ("b", picture(41))).json()[
            "added"
        ]
        == 2
    )
    assert served.get("/api/state").json()["background"] == 2
    assert len(list((data / "_background").iterdir())) == 2


# Learning and answering; the figures are in test_station_learner.py.


def test_a_try_answers_with_photos_as_the_reason(steady: Station, steady_data: Path) -> None:
    steady.settled()
    photo = (steady_data / "red_things" / "003.png").read_bytes()
    answer = steady.send("/api/try", ("photo.png", photo), field="photo").json()
    assert answer["by"] == "heads"
    assert {each["class"] for each in answer["answers"]} == {
        p.name for p in steady_data.glob("*_things")
    }
    assert sum(each["probability"] for each in answer["answers"]) == pytest.approx(1, abs=1e-5)
    assert answer["answers"] == sorted(answer["answers"], key=lambda a: -a["probability"])
    assert answer["answers"][0]["display"] == answer["answers"][0]["class"].replace("_", " ")
    assert len(answer["like"]) == 6
    threshold = answer["threshold"] or 0
    likely = answer["answers"][0]["probability"] >= threshold
    assert answer["sure"] is (likely and answer["known"] is not False)
    assert answer["threshold"] == steady.get("/api/look").json()["threshold"]
    assert answer["like"][0]["similarity"] == pytest.approx(1, abs=1e-3)  # itself
    assert answer["like"][0]["id"] == ids(steady, "class=red_things")[3]


def test_other_words_show_their_effect(steady: Station) -> None:
    steady.settled()
    now = steady.get("/api/look").json()
    same = steady.get("/api/words", params={"template": "a photo of a {}."}).json()
    assert same["before"] == same["after"]
    assert (same["before"]["right"], same["photos"]) == (now["before"]["right"], 18)
    named = {"class": "red_things", "display": "blue things"}
    other = steady.get("/api/words", params=named).json()
    assert other["before"] == same["before"]
    assert other["after"]["photos"] == 18
    assert steady.get("/api/state").json()["classes"][2]["display"] == "red things"  # as it was


def test_taking_it_elsewhere(
    served: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.settled()
    assert served.get("/api/take").json()["ready"] is False
    for name in ("classifier.onnx", "labels.txt", "run.zip"):
        assert "learn first" in cause(served.get(f"/api/take/{name}"), 409)
    served.post("/api/learn", {})
    served.until(lambda state: state["learn"]["state"] == "done", most=120)
    told = served.get("/api/take").json()
    assert told["ready"] is told["up_to_date"] is True
    run = tmp_path / "run"
    sizes = {each["name"]: each["bytes"] for each in told["files"]}
    assert sizes["labels.txt"] == (run / "labels.txt").stat().st_size
    for name in ("classifier.onnx", "labels.txt"):
        assert served.get(f"/api/take/{name}").content == (run / name).read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(served.get("/api/take/run.zip").content))
    assert archive.testzip() is None
    assert {name.removeprefix("run/") for name in archive.namelist()} == set(sizes)
    assert archive.read("run/summary.json") == (run / "summary.json").read_bytes()
    archive.extractall(tmp_path / "elsewhere")
    photo = next((tmp_path / "data" / "red_things").iterdir())
    typed = told["command"].split()
    assert (typed[0], typed[-1]) == ("edge-sharpzo", "photo.jpg")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert invoke(*typed[1:-1], photo).exit_code == 0
    assert served.get("/api/learn").json()["queries"] == Summary.read(run).queries.total
    answer = served.send("/api/try", ("a.png", picture(RED)), field="photo").json()
    assert answer["by"] == "run"


@pytest.mark.parametrize("year", [1970, 1979, 1981, 2150])
def test_a_zip_takes_files_of_any_year(year: int, tmp_path: Path) -> None:
    file, seconds = tmp_path / "labels.txt", (year - 1970) * 31_557_600 + 86_400
    file.write_text("cat\n")
    os.utime(file, (seconds, seconds))
    made = zipfile.ZipFile(io.BytesIO(b"".join(zipped([file], "run"))))
    assert made.read("run/labels.txt") == b"cat\n"
    assert made.infolist()[0].date_time[0] == min(max(year, 1980), 2107)


def test_news_come_as_they_happen(served: Station) -> None:
    served.settled()
    with served.client() as client, client.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        first = json.loads(next(lines)[6:])
        served.post("/api/classes", {"name": "more"})
        second = json.loads(next(lines)[6:])
    assert first["version"] != second["version"]
    assert first["learn"]["state"] == "idle"


def test_without_a_camera_it_says_why(served: Station) -> None:
    served.desk.camera._video = Path("/dev/no-such-camera")
    told = served.get("/api/camera").json()
    assert (told["available"], "no camera" in told["why"]) == (False, True)
    assert "no camera" in cause(served.get("/api/camera/frame"), 409)


def test_pages_and_the_openapi_file_are_served(steady: Station) -> None:
    for path in ("/", "/learn", "/look", "/try", "/take"):
        answer = steady.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    described = steady.get("/api/openapi.json").json()
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {each.path for each in ENDPOINTS}


# Bad input, by kind.

NAMES = [
    "",
    " ",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "/etc",
    ".hidden",
    "_background",
    "train",
    "new\nline",
    "nul\0",
    "\u202egnp",
    "x" * 81,
    "ü" * 101,
    "\ud800",
]


@pytest.mark.parametrize("name", NAMES)
def test_bad_names_of_classes(name: str, steady: Station, steady_data: Path) -> None:
    before = files_of(steady_data)
    body = json.dumps({"name": name})  # \ud800 as an escape, too
    with steady.client() as client:
        made = client.post("/api/classes", content=body, headers={**MARKED, **JSON})
    assert made.status_code in (400, 422)
    assert cause(made, made.status_code)
    body = json.dumps({"to": name})
    with steady.client() as client:
        made = client.post(
            "/api/classes/red_things/rename", content=body, headers={**MARKED, **JSON}
        )
    assert made.status_code in (400, 422)
    assert {n for n in files_of(steady_data) if not n.startswith(".station")} == {
        n for n in before if not n.startswith(".station")
    }


@pytest.mark.parametrize("name", ["green_things", "Green things", "GREEN_THINGS"])
def test_a_class_cannot_take_anothers_name(name: str, steady: Station, steady_data: Path) -> None:
    assert cause(steady.post("/api/classes", {"name": name}), 409)
    assert cause(steady.post("/api/classes/red_things/rename", {"to": name}), 409)
    assert len(list((steady_data / "red_things").iterdir())) == 6


@pytest.mark.parametrize(
    "path",
    [
        "/api/photos/0123456789abcdef/thumbnail",
        "/api/photos/..%2f..%2fetc%2fpasswd/image",
        "/api/photos/%2e%2e/image",
        "/api/photos//etc/passwd/image",
        "/api/photos/%00/image",
        "/api/photos/" + "a" * 3000 + "/image",
        "/api/photos/%ff%fe/thumbnail",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/desk.py",
        "/static/..%5c..%5capp.py",
        "/static//etc/passwd",
        "/static/no-such.js",
        "/templates/base.html.jinja",
        "/api/take/config.json",
        "/api/take/..%2fconfig.json",
        "/api/",
        "/.station/token",
        "//evil.example/",
    ],
)
def test_nothing_else_is_served(path: str, steady: Station) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\nConnection: close\r\n\r\n"
    answer = steady.raw(request.encode())
    assert answer.startswith(b"HTTP/1.1 404"), answer[:300]
    assert b'"cause"' in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/api/classes/no-such/rename",
        "/api/classes/..%2f..%2fdata/rename",
        "/api/classes/%2e%2e/rename",
        "/api/classes/.station/rename",
        "/api/classes/red_things%00/rename",
        "/api/classes/%ed%a0%80/rename",
    ],
)
def test_classes_are_looked_up_never_joined(path: str, steady: Station, steady_data: Path) -> None:
    before = sorted(each.name for each in steady_data.iterdir())
    answer = steady.post(path, {"to": "mine"})
    assert cause(answer, 404)
    assert sorted(each.name for each in steady_data.iterdir()) == before


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=99999999999999999999999",
        "limit=1e9",
        "limit=-1",
        "limit=NaN",
        "offset=-1",
        "offset=10000000000",
        "offset=%F0%9F%92%A9",
        "limit=1&limit=2",
        "class=a&background=1",
        "class=" + "x" * 300,
        "page=2",
    ],
)
def test_queries_that_make_no_sense(query: str, steady: Station) -> None:
    assert cause(steady.get(f"/api/photos?{query}"), 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"name": "a"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 200_000, 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"name": 3}', 422),
        (b'{"name": null}', 422),
        (b'{"name": "a", "more": 1}', 422),
        (b'{"name": "' + b"a" * 2_000_000 + b'"}', 413),
        (b"1" * 5000, 422),
    ],
)
def test_bodies_that_are_no_request(body: bytes, status: int, steady: Station) -> None:
    with steady.client() as client:
        answer = client.post("/api/classes", content=body, headers={**MARKED, **JSON})
    assert cause(answer, status)


@pytest.mark.parametrize(
    "body",
    [
        {"ids": [], "to": "background"},
        {"ids": ["../../etc/passwd"], "to": "background"},
        {"ids": ["0123456789ABCDEF"], "to": "background"},
        {"ids": ["0123456789abcdef"], "to": "nowhere"},
        {"ids": ["0123456789abcdef"], "to": {"class": ""}},
        {"ids": ["0123456789abcdef"], "to": {"folder": "red_things"}},
        {"ids": "0123456789abcdef", "to": "background"},
        {"ids": [1], "to": "background"},
    ],
)
def test_moves_that_make_no_sense(body: Any, steady: Station) -> None:
    assert cause(steady.post("/api/photos/move", body), 422)


@pytest.mark.parametrize(
    ("path", "body", "told", "field"),
    [
        ("/api/classes", {"name": ""}, "name is empty", "name"),
        ("/api/classes", {"name": "x" * 201}, "name has more than 200 characters", "name"),
        ("/api/classes", {"name": 3}, "name has to be text, and is a whole number", "name"),
        ("/api/classes", {}, "name is missing", "name"),
        ("/api/classes", {"name": "a", "more": 1}, "more is nothing that is taken here", "more"),
        ("/api/classes", {"name": "a", "{x}": 1}, "{x} is nothing that is taken here", "{x}"),
        ("/api/classes", {"name": "a", "a\nb": 1}, "a\\nb is nothing that is taken here", "a\\nb"),
        ("/api/classes", [], "what is sent has to be an object, and is a list", None),
        ("/api/learn/auto", {"on": "yes"}, "on has to be true or false, and is text", "on"),
        (
            "/api/photos/move",
            {"ids": [], "to": "back"},
            "ids is empty: give at least one entry",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16] * 20_001, "to": "back"},
            "ids has more than 20000 entries",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16, "../a"], "to": "back"},
            "an entry of ids is no photo's id, 16 digits of 0 to 9, a to f",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16, None], "to": "back"},
            "an entry of ids has to be text, and is null",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16], "to": 3},
            "to has to be text or an object, and is a whole number",
            "to",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16], "to": {"class": ""}},
            "class in to is empty",
            "to",
        ),
        ("/api/photos/move", {"ids": ["0" * 16], "to": {}}, "class in to is missing", "to"),
    ],
)
def test_a_field_of_another_shape_is_told(
    path: str, body: Any, told: str, field: str | None, steady: Station
) -> None:
    answer = steady.post(path, body)
    assert cause(answer, 422) == told
    assert answer.json()["error"]["field"] == field


@pytest.mark.parametrize(
    ("query", "told", "field"),
    [
        ("limit=0", "limit has to be 1 or more", "limit"),
        ("class=a&limit=1001", "limit has to be 1000 or less", "limit"),
        ("offset=some", "offset has to be a whole number, and is text", "offset"),
        ("set-aside=12345678901", "set-aside has more than 10 characters", "set-aside"),
        ("page=2", "page is nothing that is taken here", "page"),
    ],
)
def test_a_parameter_of_another_shape_is_told(
    query: str, told: str, field: str, steady: Station
) -> None:
    answer = steady.get(f"/api/photos?{query}")
    assert cause(answer, 422) == told
    assert answer.json()["error"]["field"] == field


def test_moves_of_photos_that_are_gone(steady: Station) -> None:
    photo = ids(steady, "class=red_things")[0]
    for to in ("background", {"class": "red_things"}, "set-aside", "back"):
        body = {"ids": ["0123456789abcdef"], "to": to}
        assert cause(steady.post("/api/photos/move", body), 404)
    assert cause(steady.post("/api/photos/move", {"ids": [photo], "to": {"class": "no"}}), 404)


@pytest.mark.parametrize("template", ["", "no place", "{} and {}", "{0}", "a\n{}", "{}\ud800"])
def test_templates_without_a_place(template: str, steady: Station) -> None:
    body = json.dumps({"template": template})
    with steady.client() as client:
        made = client.post("/api/template", content=body, headers={**MARKED, **JSON})
    assert made.status_code in (400, 422)
    if "\ud800" not in template:
        assert cause(steady.get("/api/words", params={"template": template}), 422)


def test_a_template_too_long_for_the_model_is_refused(steady: Station) -> None:
    steady.settled()
    long = "word " * 300 + "{}"
    assert "tokens" in cause(steady.get("/api/words", params={"template": long}), 422)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/template", {"template": "long " * 90 + "{}"}, "template"),
        ("/api/template", {"template": "{}" + " , ." * 60}, "template"),
        ("/api/template", {"template": "\U0001f600" * 80 + "{}"}, "template"),
        ("/api/classes", {"name": "\u8d64\u3044\u8eca" * 20}, "name"),
        ("/api/classes/red_things/rename", {"to": "\U0001f9ff" * 45}, "to"),
        ("/api/classes/red_things/display", {"display": "q7" * 40}, "display"),
    ],
)
def test_words_that_are_too_long_for_the_model_are_refused(
    path: str, body: dict[str, str], field: str, steady: Station
) -> None:
    answer = steady.post(path, body)
    assert "tokens and the model reads" in cause(answer, 422)
    assert answer.json()["error"]["field"] == field
    assert steady.settled()["look"]["state"] == "ready"


@pytest.mark.parametrize("path", ["/api/events", "/api/state", "/", "/api/look"])
def test_heads_end(path: str, steady: Station) -> None:
    steady.settled()
    with steady.client() as client:
        began = time.monotonic()
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert client.get("/api/state").status_code == 200
        assert time.monotonic() - began < 5
    request = f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\nConnection: close\r\n\r\n"
    assert steady.raw(request.encode(), timeout=5).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("folder", [b"caf\xe9", b"train/na\xefve", b"\xff\xfe/sub", b"dog\xc3"])
def test_folders_aside_whose_names_are_no_text(folder: bytes, served: Station, data: Path) -> None:
    for place in (folder, b"cow"):
        path = data / ".set-aside" / os.fsdecode(place) / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(RED))
    listed = served.get("/api/photos?set-aside=1").json()
    first = folder.split(b"/")[0].decode(errors="backslashreplace")
    assert (listed["total"], sorted(each["class"] for each in listed["photos"])) == (
        2,
        sorted(["cow", first]),
    )
    assert served.get("/api/state").json()["set_aside"] == 2
    assert served.get("/api/photos").json()["total"] == 18


def test_a_run_folder_whose_name_is_no_text(tiny_onnx: Path, data: Path, tmp_path: Path) -> None:
    with station(tiny_onnx, data, tmp_path / os.fsdecode(b"run\xe9")) as running:
        for path in ("/api/state", "/api/take", "/api/learn"):
            assert running.get(path).status_code == 200


@pytest.mark.parametrize("name", ["%00", "a%00.js", "css%2f%00", "..%00", "n" * 300, "%ff"])
def test_static_files_that_cannot_be(name: str, steady: Station) -> None:
    assert cause(steady.get(f"/static/{name}"), 404)


@pytest.mark.parametrize("ranges", ["0-1", "0-,5-9", ",".join(["0-1"] * 6000), "x", "-5"])
def test_everything_is_sent_whole(ranges: str, steady: Station, steady_data: Path) -> None:
    photo = ids(steady, "class=red_things")[0]
    path = steady_data / "red_things" / "000.png"
    answer = steady.get(f"/api/photos/{photo}/image", headers={"Range": f"bytes={ranges}"})
    assert (answer.status_code, answer.content) == (200, path.read_bytes())
    assert answer.headers["content-length"] == str(path.stat().st_size)
    css = next((Path(pages.__file__).parent / "static").glob("*.css"))
    answer = steady.get(f"/static/{css.name}", headers={"Range": f"bytes={ranges}"})
    assert (answer.status_code, answer.content) == (200, css.read_bytes())


@pytest.mark.parametrize("what", ["pipe", "folder", "nothing", "link to a pipe"])
def test_a_photo_that_became_no_file_while_it_was_listed(
    what: str, served: Station, data: Path
) -> None:
    photo, path = ids(served, "class=red_things")[0], data / "red_things" / "000.png"
    served.desk.contents()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to a pipe":
        os.mkfifo(data.parent / "pipe")
        path.symlink_to(data.parent / "pipe")
    with served.client() as client:
        assert cause(client.get(f"/api/photos/{photo}/image", timeout=5), 404)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_json_alone_is_taken_as_json(kind: str, steady: Station) -> None:
    with steady.client() as client:
        answer = client.post(
            "/api/classes", content=b'{"name": "a"}', headers={**MARKED, "Content-Type": kind}
        )
    assert cause(answer, 415)


@pytest.mark.parametrize("path", ["/api/classes", "/api/state", "/", "/api/photos/move"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods(method: str, path: str, steady: Station) -> None:
    with steady.client() as client:
        assert cause(client.request(method, path, headers=MARKED), 405)


# Uploads.


def form(*parts: bytes, boundary: bytes = b"b", end: bool = True) -> bytes:
    made = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return made + (b"--" + boundary + b"--\r\n" if end else b"")


def part(content: bytes, name: str = "photos", more: str = '; filename="a.png"') -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content


def send(served: Station, body: bytes, kind: str = "multipart/form-data; boundary=b") -> Any:
    with served.client() as client:
        return client.post(
            "/api/photos?class=red_things",
            content=body,
            headers={**MARKED, "Content-Type": kind},
        )


GOOD = picture(RED, seed=77)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(part(GOOD)), "multipart/form-data", 415),
        (form(part(GOOD)), "multipart/form-data; boundary=", 415),
        (form(part(GOOD)), f"multipart/form-data; boundary={'x' * 500}", 415),
        (form(part(GOOD)), "application/octet-stream", 415),
        (form(part(GOOD)), "multipart/form-data; boundary=other", 400),
        (b"", "multipart/form-data; boundary=b", 400),
        (b"GIF89a", "multipart/form-data; boundary=b", 400),
        (form(end=True), "multipart/form-data; boundary=b", 422),
        (form(part(GOOD, "other")), "multipart/form-data; boundary=b", 422),
        (form(part(b"x", "photos", "")), "multipart/form-data; boundary=b", 422),
        (form(b"Nonsense: 1\r\n\r\nx"), "multipart/form-data; boundary=b", 422),
        (
            form(b"X: " + b"a" * 20_000 + b"\r\n" + part(GOOD)),
            "multipart/form-data; boundary=b",
            400,
        ),
        (form(part(GOOD), end=False), "multipart/form-data; boundary=b", 400),
        (form(part(GOOD))[:-400], "multipart/form-data; boundary=b", 400),
        (form(*[part(b"x")] * 201), "multipart/form-data; boundary=b", 413),
    ],
)
def test_forms_that_are_none(
    body: bytes, kind: str, status: int, steady: Station, steady_data: Path
) -> None:
    assert cause(send(steady, body, kind), status)
    assert len(list((steady_data / "red_things").iterdir())) == 6
    assert list((steady_data / ".station" / "incoming").iterdir()) == []
    assert steady.get("/api/state").json()["can_undo"] is None


def bomb_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";"


def bomb_png() -> bytes:
    return png(50_000, 50_000, bytes(100_000))


def bomb_jpeg() -> bytes:
    content = bytearray(picture(RED, kind="JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def bomb_webp() -> bytes:
    size = (16_383).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bomb_text() -> bytes:
    """A small PNG whose text unpacks to 200 MB."""
    good = picture(RED)
    packed = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = struct.pack(">I", len(packed)) + b"zTXt" + packed
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + packed))
    return good[:33] + chunk + good[33:]


@pytest.mark.parametrize("bomb", [bomb_gif, bomb_png, bomb_jpeg, bomb_webp])
def test_pictures_that_unpack_to_gigabytes(bomb: Any, served: Station, data: Path) -> None:
    began = time.monotonic()
    answer = send(served, form(part(bomb()), part(GOOD))).json()
    assert time.monotonic() - began < 5
    assert answer["added"] == 1
    (refused,) = answer["refused"]
    assert "pixels" in refused["why"], refused
    assert len(list((data / "red_things").iterdir())) == 7


def test_a_text_that_unpacks_to_much_takes_no_memory(served: Station) -> None:
    from edge_sharpzo.system.memory import resident

    before = resident() or 0
    answer = send(served, form(part(bomb_text()))).json()
    assert answer["added"] + len(answer["refused"]) == 1
    assert (resident() or 0) - before < 150_000_000


@pytest.mark.parametrize(
    "content", [GOOD[:40], GOOD[: len(GOOD) // 2], b"", b"\xff\xd8\xff", b"%PDF-1.7", b"\0" * 5000]
)
def test_pictures_that_are_none(content: bytes, steady: Station, steady_data: Path) -> None:
    answer = send(steady, form(part(content))).json()
    assert answer["added"] == 0
    assert answer["refused"][0]["why"]
    assert len(list((steady_data / "red_things").iterdir())) == 6
    assert cause(steady.send("/api/try", ("x", content), field="photo"), 422)


def test_200_megabytes_are_not_kept(steady: Station, steady_data: Path) -> None:
    head = form(part(b"\xff\xd8\xff"), end=False)[:-2]
    tail = b"\r\n--b--\r\n"
    zeros = bytes(1_000_000)
    largest = 0

    def body() -> Iterator[bytes]:
        nonlocal largest
        yield head
        for _ in range(200):
            yield zeros
            incoming = list((steady_data / ".station" / "incoming").iterdir())
            largest = max([largest, *(path.stat().st_size for path in incoming)])
        yield tail

    with steady.client() as client:
        answer = client.post(
            "/api/photos?class=red_things",
            content=body(),
            headers={**MARKED, "Content-Type": "multipart/form-data; boundary=b"},
        ).json()
    assert answer["refused"][0]["why"] == "more than the 25 MB of a photo"
    assert 0 < largest < 26_000_000
    assert list((steady_data / ".station" / "incoming").iterdir()) == []


@pytest.mark.parametrize("length", [500_000_001, 10**15, 10**30])
def test_a_request_that_is_too_long_is_not_read(length: int, steady: Station) -> None:
    head = (
        f"POST /api/photos?class=red_things HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\n"
        "X-Edge-Sharpzo: 1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", steady.port), timeout=20) as line:
        line.sendall(head.encode() + b"--b\r\n")
        answer = line.recv(4096)
    assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_whole_request_is_counted_while_it_comes(
    steady: Station, steady_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "REQUEST_BYTES", 3_000_000)

    def body() -> Iterator[bytes]:  # chunked: without a length
        yield form(part(b"\xff\xd8\xff"), end=False)
        for _ in range(10):
            yield bytes(1_000_000)

    with steady.client() as client:
        answer = client.post(
            "/api/photos?class=red_things",
            content=body(),
            headers={**MARKED, "Content-Type": "multipart/form-data; boundary=b"},
        )
    assert cause(answer, 413)
    assert list((steady_data / ".station" / "incoming").iterdir()) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_browser_that_closes_in_the_middle(
    share: float, steady: Station, steady_data: Path
) -> None:
    content = form(part(picture(RED, 5)), part(picture(RED, 6)), part(picture(RED, 7)))
    head = (
        f"POST /api/photos?class=red_things HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\n"
        "X-Edge-Sharpzo: 1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    before = list(steady.log)
    with socket.create_connection(("127.0.0.1", steady.port)) as line:
        line.sendall(head.encode() + content[: int(share * len(content))])
        time.sleep(0.2)
    ends = time.monotonic() + 10
    while list((steady_data / ".station" / "incoming").iterdir()) and time.monotonic() < ends:
        time.sleep(0.05)
    assert list((steady_data / ".station" / "incoming").iterdir()) == []
    assert len(list((steady_data / "red_things").iterdir())) == 6
    assert steady.get("/api/state").status_code == 200
    assert steady.log == before  # nobody is to be told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("at", [0, 1])
def test_a_full_disk_while_photos_arrive(
    number: int, at: int, served: Station, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refuse(*what: object) -> None:
        calls.append(what)
        if len(calls) > at:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(uploads.Received, "_write", refuse)
    answer = send(served, form(part(GOOD), part(picture(RED, 8))))
    assert cause(answer, 503 if number == errno.EIO else 507)
    assert list((data / ".station" / "incoming").iterdir()) == []
    assert len(list((data / "red_things").iterdir())) == 6
    monkeypatch.undo()
    assert send(served, form(part(GOOD))).json()["added"] == 1


@pytest.mark.parametrize(
    "query", ["", "?class=no-such", "?class=..", "?class=red_things&background"]
)
def test_uploads_to_nowhere(query: str, steady: Station) -> None:
    answer = steady.send(f"/api/photos{query}", ("a.png", GOOD))
    assert answer.status_code in (404, 422)
    assert cause(answer, answer.status_code)


# Who may ask.


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "localhost:{port}@evil.example",
        "2130706433:{port}",
        "0.0.0.0:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/state", "/static/station.css"])
def test_other_names_for_this_host(host: str, path: str, steady: Station) -> None:
    name = host.format(port=steady.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    answer = steady.raw(request.encode())
    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400")), answer[:200]
    assert b"red_things" not in answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_this_host(host: str, steady: Station) -> None:
    request = f"GET /api/state HTTP/1.1\r\nHost: {host}:{steady.port}\r\nConnection: close\r\n\r\n"
    assert steady.raw(request.encode()).startswith(b"HTTP/1.1 200")


def test_two_hosts_or_none(steady: Station) -> None:
    ours = f"Host: 127.0.0.1:{steady.port}\r\n"
    for hosts in (ours + ours, ours + "Host: evil.example\r\n", ""):
        request = f"GET /api/state HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        assert not steady.raw(request.encode()).startswith(b"HTTP/1.1 200")


STEPS = ["/api/classes", "/api/undo", "/api/photos?class=red_things", "/api/learn", "/api/try"]


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize("headers", [{}, {"X-Edge-Sharpzo": "0"}, {"X-Edge-Sharpzo": "1, 1"}])
def test_what_changes_something_needs_the_header(
    path: str, headers: dict[str, str], steady: Station
) -> None:
    with steady.client() as client:
        answer = client.post(path, json={"name": "a"}, headers=headers)
    assert "X-Edge-Sharpzo" in cause(answer, 400)


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "null",
        "",
    ],
)
def test_what_comes_from_another_page(path: str, origin: str, steady: Station) -> None:
    headers = {"Origin": origin.format(port=steady.port)}
    answer = steady.post(path, {"name": "a"}, headers=headers)
    assert "Origin" in cause(answer, 400)
    ours = steady.post("/api/learn/stop", headers={"Origin": steady.url})
    assert ours.status_code == 200


def test_no_other_origin_is_allowed_to_read(steady: Station) -> None:
    with steady.client() as client:
        asked = client.options("/api/state", headers={"Origin": "http://evil.example"})
    for answer in (asked, steady.get("/api/state", headers={"Origin": "http://evil.example"})):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


# The token.


@pytest.fixture(scope="module")
def guarded_station(
    tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Station]:
    room = tmp_path_factory.mktemp("guarded")
    shutil.copytree(photos / "train", room / "data")
    with station(tiny_onnx, room / "data", room / "run", Tokens("right" * 9)) as running:
        yield running


@pytest.fixture
def guarded(guarded_station: Station) -> Station:
    """With no wrong token so far."""
    guarded_station.tokens._wrong.clear()
    return guarded_station


def test_the_link_opens_a_browser(guarded: Station) -> None:
    for path in ("/", "/api/state", "/static/photos.js", "/api/events"):
        assert "link" in cause(guarded.get(path), 401)
    with guarded.client() as client:
        first = client.get("/?token=" + "right" * 9)
        assert first.status_code == 200
        assert 'url=/"' in first.text
        cookie = first.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "right" not in cookie
        assert client.get("/api/state").status_code == 200
        assert client.post("/api/learn/stop", headers=MARKED).status_code == 200
        assert cause(client.post("/api/learn/stop"), 400)


@pytest.mark.parametrize("path", ["/", "/look", "/?token=wrong", "/api/state"])
def test_a_browser_without_the_token_is_asked_for_it(path: str, guarded: Station) -> None:
    with guarded.client() as client:
        answer = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
        assert answer.status_code == 401
        assert answer.headers["content-type"].startswith("text/html")
        assert '<form action="/"' in answer.text
        assert 'name="token"' in answer.text
        assert not any(each in answer.text for each in ("<script", "<style", " style=", "right"))
        assert client.get("/", params={"token": "right" * 9}).status_code == 200  # what it sends
        assert client.get("/look").status_code == 200


def test_learning_begins_without_a_body(served: Station) -> None:
    with served.client() as client:
        assert client.post("/api/learn", headers=MARKED).status_code == 200
        for path in ("/api/classes", "/api/template", "/api/learn/auto"):
            assert "send JSON" in cause(client.post(path, headers=MARKED), 415)


def test_a_script_brings_the_token_as_a_header(guarded: Station) -> None:
    headers = {"Authorization": "Bearer " + "right" * 9}
    assert guarded.get("/api/state", headers=headers).status_code == 200
    assert guarded.post("/api/learn/stop", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {"params": {"token": "wrong"}},
        {"params": {"token": "right" * 8}},
        {"params": {"token": "ü\u202e\0"}},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Cookie": f"{NAME}=right"}},
        {"headers": {"Cookie": f"{NAME}=" + "right" * 9}},
        {"headers": {"Cookie": "; ; =;;" + NAME}},
    ],
)
def test_wrong_tokens(given: Any, guarded: Station) -> None:
    assert cause(guarded.get("/api/state", **given), 401)


def test_after_too_many_wrong_ones_none_is_looked_at() -> None:
    now = [0.0]
    tokens = Tokens("right", lambda: now[0])
    for _ in range(MOST_WRONG):
        assert not tokens.admits("wrong", [])
    for token in ("wrong", "right"):
        with pytest.raises(TooManyError):
            tokens.admits(token, [])
    assert tokens.admits(None, [tokens.cookie])  # strangers lock nobody out
    assert not tokens.admits(None, [])
    now[0] = WITHIN + 1
    assert tokens.admits("right", [])
    assert not tokens.admits("wrong", [])


def test_too_many_are_told(guarded: Station) -> None:
    for _ in range(MOST_WRONG):
        guarded.get("/?token=wrong")
    assert "ten minutes" in cause(guarded.get("/?token=" + "right" * 9), 429)
    page = guarded.get("/?token=" + "right" * 9, headers=BROWSER)
    assert page.status_code == 429
    assert "ten minutes" in page.text


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/", "/learn", "/look", "/try", "/take"])
def test_a_page_asks_for_the_token(path: str, guarded: Station) -> None:
    for query, wrong in (("", False), ("?token=", False), ("?token=%3Cb%3Estale", True)):
        page = guarded.get(path + query, headers=BROWSER)
        assert page.status_code == 401
        assert page.headers["content-type"].startswith("text/html")
        assert '<form action="/"' in page.text
        assert 'name="token"' in page.text
        assert ("That is not the token." in page.text) == wrong
        assert "stale" not in page.text
    for file in re.findall(r'(?:href|src)="(/static/[^"]+)', page.text):
        assert guarded.get(file).status_code == 200
    assert cause(guarded.post(path, headers=MARKED), 401)


def test_the_token_is_kept_where_its_owner_alone_reads_it(tmp_path: Path) -> None:
    token = kept_token(tmp_path / "own")
    assert len(token) >= 43
    assert (tmp_path / "own" / "token").stat().st_mode & 0o777 == 0o600
    assert kept_token(tmp_path / "own") == token
    for broken in (b"", b"short", b"\xff\xfe"):
        file = tmp_path / "own" / "token"
        file.write_bytes(broken)
        if broken == b"\xff\xfe":
            with pytest.raises(UserError, match="delete the file"):
                kept_token(tmp_path / "own")
        else:
            assert len(kept_token(tmp_path / "own")) >= 43


@pytest.mark.parametrize("what", ["link", "link to nothing", "pipe", "folder"])
@pytest.mark.parametrize("name", ["token", "lock", "journal.jsonl"])
def test_a_file_of_the_station_is_never_one_elsewhere(
    name: str, what: str, data: Path, tmp_path: Path
) -> None:
    victim, place = tmp_path / "victim", data / ".station" / name
    place.parent.mkdir()
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to(victim)
    if what == "link":
        victim.write_text("mine")
        victim.chmod(0o644)
    with pytest.raises(UserError, match=name):
        kept_token(data / ".station") if name == "token" else Album.open(data)
    if what == "link":
        assert victim.read_text() == "mine"
        assert victim.stat().st_mode & 0o777 == 0o644
    else:
        assert not victim.exists()


@pytest.mark.parametrize("stale", ["0" * 64, "", "ü", "right" * 9])
def test_a_page_left_open_locks_nobody_out(stale: str) -> None:
    tokens = Tokens("another one")
    for _ in range(MOST_WRONG * 2):
        assert not tokens.admits(None, [stale])
    assert tokens.admits("another one", [stale])


@pytest.mark.parametrize(
    "others",
    [
        "{right}",
        'prefs={{"a":"b"}}; {right}',
        "x=a b; {right}; y",
        "{right}; {name}=old",
        '{name}="old;{right}',
        "\\=1,2; @; {right} ;",
    ],
)
def test_cookies_of_others_change_nothing(others: str, guarded: Station) -> None:
    assert guarded.tokens
    right = f"{NAME}={guarded.tokens.cookie}"
    given = {"Cookie": others.format(name=NAME, right=right)}
    assert guarded.get("/api/state", headers=given).status_code == 200


def test_two_stations_of_one_host_leave_each_other_in() -> None:
    names = {Tokens(token).cookie_name for token in ("one", "two", "right" * 9)}
    assert len(names) == 3


# Connections that ask for nothing, and a system that has no more to give.

REFUSED = "GET / HTTP/1.1\r\nHost: evil.example\r\n"
HALVES = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHos",
    "half a second head": f"{REFUSED}\r\nGET /".encode(),
    "a body without an end": f"{REFUSED}Content-Length: 99999\r\n\r\n".encode(),
}


@pytest.mark.parametrize("first", HALVES.values(), ids=HALVES)
def test_who_asks_for_nothing_in_time_is_cut_off(
    first: bytes, steady: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN", 0.6)
    with socket.create_connection(("127.0.0.1", steady.port), timeout=10) as line:
        line.sendall(first)
        began, ended = time.monotonic(), False
        while not ended and time.monotonic() - began < 4:  # uvicorn's own limit is 5 s
            try:
                line.settimeout(0.1)
                ended = line.recv(65536) == b""
            except TimeoutError:
                if first:
                    line.send(b"x")  # slowly
            except ConnectionError:
                ended = True
        assert ended
        assert time.monotonic() - began > 0.3


def test_a_request_that_is_answered_takes_its_time(
    steady: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN", 0.2)
    with steady.client() as client, client.stream("GET", "/api/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
        time.sleep(0.5)
        steady.get("/api/state")
    with steady.client() as client:
        for _ in range(4):
            assert client.get("/api/state").status_code == 200
            time.sleep(0.15)


def test_the_oldest_that_asks_for_nothing_gives_way(
    steady: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 5)
    where = ("127.0.0.1", steady.port)
    lines = [socket.create_connection(where, timeout=5) for _ in range(12)]
    try:
        assert steady.get("/api/state").status_code == 200
        open_still = 0
        for line in lines:
            line.settimeout(0.2)
            try:
                assert line.recv(1) == b""
            except TimeoutError:
                open_still += 1
            except ConnectionError:
                pass
        assert open_still in (4, 5)
    finally:
        for line in lines:
            line.close()


def test_connections_leave_files_for_the_rest() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, soft), hard))
        assert server.most_connections() == min(200, soft) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("code", "status", "cure"),
    [
        (errno.EMFILE, 503, "Try again in a moment"),
        (errno.ENFILE, 503, "Try again in a moment"),
        (errno.EFBIG, 503, "limit on the size of files"),
        (errno.ENOSPC, 507, "make room"),
        (errno.EACCES, 503, "permissions"),
    ],
)
def test_what_the_system_refuses_names_its_cure(code: int, status: int, cure: str) -> None:
    error = OSError(code, os.strerror(code), "/photos/a.jpg")
    asked = as_asked_error(error)
    assert (asked.status, cure in asked.cause) == (status, True), asked.cause
    assert ("permissions" in asked.cause) is (code == errno.EACCES)
    assert as_asked_error(OSError(code, "no")).cause.startswith(("that failed: no. ", "the disk"))
    with pytest.raises(UserError) as told, os_errors_told():
        raise error
    assert as_asked_error(told.value).status == (503 if code in TOO_MANY else 409)


# Folders that change, and stations that meet.


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
