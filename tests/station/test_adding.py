"""Photos that come in over the station's API."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from stations import Station, picture

from edge_sharpzo.album import files
from station.asking import RED, cause, ids


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


def refuse(
    monkeypatch: pytest.MonkeyPatch, code: int, what: Callable[[Path], bool] = lambda path: True
) -> None:
    """No file moves that this is true of."""
    real = files.move

    def move(source: Path, target: Path) -> None:
        if what(source):
            raise OSError(code, os.strerror(code))
        real(source, target)

    monkeypatch.setattr(files, "move", move)


RED_THINGS = "class=red_things"


@pytest.mark.parametrize(
    ("code", "to", "why"),
    [
        (errno.EPERM, RED_THINGS, "the station runs as write to 'red_things'"),
        (errno.EXDEV, RED_THINGS, "'red_things' lies on another disk than the data"),
        (errno.ENOSPC, f"{RED_THINGS}&burst=1", "make room on the disk"),
        (errno.EPERM, "background=1&burst=1", "runs as write to '_background'"),
    ],
)
def test_photos_that_cannot_be_filed_are_refused_by_their_names(
    code: int,
    to: str,
    why: str,
    served: Station,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse(monkeypatch, code)
    new = [("1.png", picture(20, 9)), ("2.png", picture(120, 10)), ("no.png", b"none")]
    answer = served.send(f"/api/photos?{to}", *new).json()
    assert (answer["step"], answer["added"], answer["told"]) == (None, 0, [])
    reasons = {each["file"]: each["why"] for each in answer["refused"]}
    assert sorted(reasons) == ["1.png", "2.png", "no.png"]
    assert why in reasons["1.png"]
    assert why in reasons["2.png"]
    assert served.get("/api/state").json()["can_undo"] is None
    assert not (data / "_background").exists()
    assert list((data / ".station" / "incoming").iterdir()) == []


def test_photos_of_which_some_cannot_be_filed(
    served: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[Path] = []
    refuse(monkeypatch, errno.EACCES, lambda path: not gone and gone.append(path) is None)
    new = [("1.png", picture(20, 9)), ("2.png", picture(120, 10)), ("3.png", picture(220, 11))]
    answer = served.send("/api/photos?class=red_things", *new).json()
    assert (answer["added"], len(answer["ids"])) == (2, 2)
    assert answer["step"]["text"] == "2 of 3 photos added to 'red_things'"
    assert [each["file"] for each in answer["refused"]] == ["1.png"]
    assert served.post("/api/undo").status_code == 200


@pytest.mark.parametrize("to", ["set-aside", "background", {"class": "red_things"}])
def test_photos_of_which_none_moves_are_told_as_an_error(
    to: object, served: Station, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(data.iterdir())
    refuse(monkeypatch, errno.EPERM)
    chosen = {"ids": ids(served, "class=blue_things")[:3], "to": to}
    why = cause(served.post("/api/photos/move", chosen), 409)
    assert why.startswith("nothing was changed. blue_things/000.png, blue_things/001.png, ")
    assert "failed (Operation not permitted): let the user" in why
    assert served.get("/api/history").json()["steps"] == []
    assert sorted(data.iterdir()) == before
