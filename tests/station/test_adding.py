"""Photos that come in over the station's API."""

import io
from pathlib import Path

import pytest
from PIL import Image
from stations import Station, picture

from station.asking import RED, ids


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
