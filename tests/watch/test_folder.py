"""`watch` on a folder: photos that come, go, and come in halves."""

import os
import shutil
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, photo
from PIL import Image

from edge_sharpzo.system.errors import Cancelled
from edge_sharpzo.watching import folder
from edge_sharpzo.watching.sources import frames_of
from watch.sights import next_frame, nothing_for


@pytest.mark.usefixtures("quick")
def test_photos_that_come_are_taken_once(place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    png = photo(place).read_bytes()
    (inbox / "before.png").write_bytes(png)
    (inbox / "before.txt").write_bytes(png)
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    assert told == [
        f"1 photo in {inbox} already: what comes from now on is watched, "
        "`edge-sharpzo predict` takes what is there"
    ]
    nothing_for(frames, 0.3)
    for name in ("b.png", "a.PNG", ".hidden.png", "notes.txt", "c.jpg"):
        (inbox / name).write_bytes(png)
        os.utime(inbox / name, (0, 1000 + len(name)))
    (inbox / "folder.jpg").mkdir()
    (inbox / "gone.jpg").symlink_to(inbox / "nowhere.jpg")
    os.mkfifo(inbox / "pipe.jpg")
    came = [next_frame(frames) for _ in range(3)]
    assert [Path(frame.source).name for frame in came] == ["a.PNG", "b.png", "c.jpg"]
    assert [frame.number for frame in came] == [1, 2, 3]
    for frame in came:
        assert np.array_equal(frame.picture, np.asarray(Image.open(BytesIO(png))))
    nothing_for(frames, 0.5)
    (inbox / "b.png").write_bytes(png + b"\0")  # written anew
    assert next_frame(frames).number == 4
    (inbox / "b.png").unlink()
    (inbox / "b.png").write_bytes(png)
    (inbox / "new").write_bytes(png)
    (inbox / "new").replace(inbox / "d.png")  # by renaming, as careful cameras do
    assert {Path(next_frame(frames).source).name for _ in range(2)} == {"b.png", "d.png"}
    nothing_for(frames, 0.3)


@pytest.mark.usefixtures("quick")
def test_half_written_photos_are_waited_for(place: Place) -> None:
    inbox = place.folder("camera")
    png = photo(place).read_bytes()
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)
    for share in (0, 0.3, 0.6, 0.9):  # each piece stands still for longer than STILL
        (inbox / "slow.png").write_bytes(png[: int(share * len(png))])
        nothing_for(frames, 0.2)
    (inbox / "slow.png").write_bytes(png)
    frame = next_frame(frames)
    assert not isinstance(frame.picture, str)
    (inbox / "torn.jpg").write_bytes(png[: len(png) // 2])
    began = time.monotonic()
    torn = next_frame(frames)
    assert time.monotonic() - began > 0.4
    assert isinstance(torn.picture, str)
    assert "trunc" in torn.picture
    nothing_for(frames, 0.6)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, []),
        ({"notes.txt": 1.0, ".a.png": 1.0}, []),
        ({"new.png": 1.0}, ["1 photo in ", "new.png"]),
        ({"torn.png": 0.5, "empty.jpg": 0.0}, ["2 photos in ", "empty.jpg, torn.png"]),
    ],
)
@pytest.mark.parametrize("by_signal", [True, False])
def test_what_waits_at_the_end_is_told(
    files: dict[str, float], said: list[str], by_signal: bool, place: Place
) -> None:
    inbox, told = place.folder("camera"), list[str]()
    png = photo(place).read_bytes()
    (inbox / "before.png").write_bytes(png)
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    assert next(frames) is None
    told.clear()
    for name, share in files.items():
        (inbox / name).write_bytes(png[: int(share * len(png))])
    if by_signal:
        with pytest.raises(Cancelled):
            frames.throw(Cancelled())
    frames.close()
    middle = f"{inbox} had come and got no answer, being new or unreadable: "
    assert told == ([middle.join(said)] if said else [])


@pytest.mark.usefixtures("quick")
def test_a_folder_that_goes_away_is_waited_for(place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    png = photo(place).read_bytes()
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    (inbox / "a.png").write_bytes(png)
    assert next_frame(frames).number == 1
    shutil.rmtree(inbox)
    nothing_for(frames, 0.3)
    assert told == [f"cannot look into {inbox} (No such file or directory): it is waited for"]
    inbox.mkdir()
    (inbox / "b.png").write_bytes(png)
    assert next_frame(frames).number == 2
    assert told[1:] == [f"{inbox} is back"]


def test_what_was_taken_takes_little_memory(tmp_path: Path) -> None:
    inbox = folder._Inbox(tmp_path)
    inbox._taken = {hash((f"{i}.jpg", (i, i, i, i))) for i in range(20_000)}
    assert sys.getsizeof(inbox._taken) + 20_000 * 36 < 3_000_000
    assert inbox.look() == []
    assert inbox._taken == set()  # of files that are there no more


@pytest.mark.parametrize(
    ("count", "said"), [(0, []), (1, ["1 photo in "]), (2, ["2 photos in "]), (3, ["3 photos in "])]
)
def test_what_is_passed_over_is_counted(count: int, said: list[str], place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    for number in range(count):
        (inbox / f"{number}.jpg").write_bytes(b"")
    frames_of(str(inbox), 1, lambda text, _: told.append(text))
    assert [line.split(str(inbox))[0] for line in told] == said
