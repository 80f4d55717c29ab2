"""Steps over the station's API: done, undone, done again, or refused where they do nothing."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from stations import Station, files_of

from station.asking import cause, ids


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
