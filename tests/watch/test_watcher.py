"""`watch`: a row for each picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Place
from PIL import Image

from edge_sharpzo import UserError
from edge_sharpzo.photos.background import NONE_OF_THESE
from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.watching.consensus import Consensus
from edge_sharpzo.watching.region import Region
from edge_sharpzo.watching.sources import frames_of
from edge_sharpzo.watching.watcher import Watcher
from watch.sights import Fixed, shot, watcher


def test_a_row_for_each_frame() -> None:
    pictures = [shot(0, 90), shot(0, 99), shot(1, 70), "torn", shot(1, 90, 0), shot(2, 95, 0)]
    rows = list(watcher(pictures).rows(StopWhen()))
    for row in rows:
        assert row.pop("time")[10] == "T"
    none = NONE_OF_THESE
    told = [
        ("red_things", 0.9, True, True, None, False),
        ("red_things", 0.99, True, True, "red_things", True),
        ("green_things", 0.7, False, True, "red_things", False),
        None,
        ("green_things", 0.9, False, False, "red_things", False),
        ("blue_things", 0.95, False, False, none, True),
    ]
    names = ("class", "probability", "sure", "known", "state", "changed")
    wanted = [
        {"frame": number, "source": "door"}
        | (
            dict(zip(names, each, strict=True))
            if each
            else {"error": "torn", "state": "red_things", "changed": False}
        )
        for number, each in enumerate(told, 1)
    ]
    assert rows == wanted


def test_a_run_that_cannot_tell_has_no_none_of_these() -> None:
    rows = list(watcher([shot(0, 90, 2), shot(0, 90, 2)]).rows(StopWhen()))
    assert [row["known"] for row in rows] == [None, None]
    assert rows[1]["state"] == "red_things"


def test_the_region_has_to_be_in_the_first_picture() -> None:
    small = np.zeros((10, 10, 3), np.uint8)
    region = Region(0, 0, 20, 20)
    with pytest.raises(UserError, match="`region`: it reaches to 20 x 20") as caught:
        list(watcher([small], region=region).rows(StopWhen()))
    assert caught.value.field == "region"
    rows = list(watcher([shot(0, 90), small, shot(0, 91)], region=region).rows(StopWhen()))
    assert "outside the region" in rows[1]["error"]
    assert [rows[0]["probability"], rows[2]["probability"]] == [0.9, 0.91]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sizes", [("20x20", "64x48"), ("64x47", "64x48"), ("1x90", "80x60")])
def test_a_photo_smaller_than_the_region_does_not_end_a_folder_s_watch(
    sizes: tuple[str, str], place: Place
) -> None:
    inbox = place.folder("camera")
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)
    parts: dict[str, Any] = {"unsure": None, "mqtt": None, "region": Region(0, 0, 64, 48)}
    looking = Watcher(frames, Fixed(), Consensus(1, 1), **parts)  # type: ignore[arg-type]
    rows = looking.rows(StopWhen())
    for number, size in enumerate(sizes):
        width, height = map(int, size.split("x"))
        made = Image.fromarray(np.full((height, width, 3), (2, 90, 1), np.uint8))
        assert next(frames) is None  # what lay there at the start is passed over
        made.save(inbox / f"{number}.png")
        row = next(rows)
        assert (row["frame"], Path(row["source"]).stem) == (number + 1, str(number))
        if number:
            assert row["class"] == row["state"] == "blue_things"
        else:
            reach = f"reaches to 64 x 48 pixels, and the picture has {width} x {height}"
            assert row["error"] == f"outside the region: it {reach}"
            assert row["state"] is None
