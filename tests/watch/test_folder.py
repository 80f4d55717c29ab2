"""`watch` on a folder: photos that come, go, and come in halves."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, photo, slow_unless
from PIL import Image

from edge_sharpzo.clip.images import UnreadableImageError
from edge_sharpzo.system.errors import Cancelled
from edge_sharpzo.watching import folder, trouble
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


def rotated(first: Path, turns: int) -> list[Image.Image]:
    """The photo, larger, and others behind it."""
    large = Image.open(first).convert("RGB").resize((200, 150))
    return [large.rotate(180 * turn) for turn in range(turns)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("kind", "share"),
    slow_unless(lambda _, share: share == 0.6, ["gif", "mpo", "png"], [0.6, 0.95]),
)
def test_pictures_of_which_only_the_first_is_there_are_waited_for(
    kind: str, share: float, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = rotated(photo(place), 3)
    whole = BytesIO()
    first.save(whole, kind, save_all=True, append_images=others)
    content = whole.getvalue()
    try:
        Image.open(whole).load()
    except OSError:
        pytest.skip("this pillow writes no such file that it can read")
    inbox = place.folder("camera")
    file = inbox / f"a.{kind}"
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)
    monkeypatch.setattr(folder, "PATIENCE", 1000.0)
    file.write_bytes(content[: int(share * len(content))])
    nothing_for(frames, 0.3)
    file.write_bytes(content + bytes(9))  # some fill up what they send
    frame = next_frame(frames)
    assert isinstance(frame.picture, np.ndarray)
    nothing_for(frames, 0.2)
    monkeypatch.setattr(folder, "PATIENCE", 0.3)
    file.write_bytes(content[: int(share * len(content))])  # and more does not come
    assert isinstance(next_frame(frames).picture, np.ndarray)


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a.png", "a.webp", "a.bmp", "a.tif"])
def test_a_photo_of_one_picture_has_its_end(name: str, place: Place) -> None:
    rotated(photo(place), 1)[0].save(place.tmp / name)
    assert folder._has_its_end(place.tmp / name)


def link_all(file: Path) -> None:
    (file.parent.parent / "backup").mkdir()
    os.link(file, file.parent.parent / "backup" / file.name)


BESIDE = [
    link_all,
    lambda file: file.chmod(0o640),
    lambda file: os.chown(file, -1, -1),
    lambda file: file.rename(file.with_name("b.png")),
    lambda file: os.link(file, file.with_name("b.png")),
    lambda file: file.with_name("b.png").symlink_to(file),
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("change", "was_there"),
    slow_unless(
        lambda change, was_there: not was_there or change is link_all, BESIDE, [True, False]
    ),
)
def test_a_photo_that_was_taken_comes_once_whatever_is_done_beside_it(
    change: Callable[[Path], object], was_there: bool, place: Place
) -> None:
    inbox = place.folder("camera")
    if was_there:
        shutil.copy(photo(place), inbox / "a.png")
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)
    if not was_there:
        shutil.copy(photo(place), inbox / "a.png")
        assert next_frame(frames).number == 1
    time.sleep(0.02)  # clocks of files are coarse
    change(inbox / "a.png")
    nothing_for(frames, 0.4)


def put_over(file: Path, before: os.stat_result) -> None:
    shutil.copy(file, file.with_name("part"))
    os.utime(file.with_name("part"), ns=(before.st_atime_ns, before.st_mtime_ns))
    file.with_name("part").replace(file)


def freed(file: Path, _before: os.stat_result) -> None:
    """The name goes to another file; so may the inode."""
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "change",
    [
        put_over,
        freed,
        lambda file, before: os.utime(file, ns=(0, before.st_mtime_ns + 1)),
        lambda file, _before: file.write_bytes(file.read_bytes()),
    ],
    ids=["replaced with its size and time", "another file", "another time", "written again"],
)
def test_a_photo_that_is_written_anew_comes_again(
    change: Callable[[Path, os.stat_result], object], place: Place
) -> None:
    file = place.folder("camera") / "a.png"
    shutil.copy(photo(place), file)
    frames = frames_of(str(file.parent), 0.02, lambda text, _: None)
    nothing_for(frames, 0.1)
    time.sleep(0.02)
    change(file, file.stat())
    assert next_frame(frames).source == str(file)
    nothing_for(frames, 0.3)


@pytest.mark.usefixtures("quick")
def test_a_photo_that_may_be_read_later_is_taken_then(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, load = place.folder("camera"), folder.load_image
    frames = frames_of(str(inbox), 0.02, lambda text, _: None)

    def refuse(_file: Path) -> None:
        raise UnreadableImageError("Permission denied")

    monkeypatch.setattr(folder, "load_image", refuse)
    monkeypatch.setattr(folder.os, "access", lambda *_: False)
    shutil.copy(photo(place), inbox / "a.png")
    assert next_frame(frames).picture == "Permission denied"
    nothing_for(frames, 0.2)
    monkeypatch.setattr(folder, "load_image", load)
    time.sleep(0.02)
    (inbox / "a.png").chmod(0o644)
    assert isinstance(next_frame(frames).picture, np.ndarray)
    nothing_for(frames, 0.2)


def test_a_photo_that_one_look_does_not_find_is_known_to_the_next(tmp_path: Path) -> None:
    """As one that is renamed while the folder is listed."""
    inbox = folder._Inbox(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    assert inbox.pass_over() == 1
    (tmp_path / "a.jpg").rename(tmp_path / ".hidden")
    assert inbox.look() == []
    (tmp_path / ".hidden").rename(tmp_path / "b.jpg")
    assert inbox.look() == []
    assert list(inbox.waiting()) == []


@pytest.mark.usefixtures("quick")
def test_a_folder_that_comes_and_goes_is_told_of_once(place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    frames = frames_of(str(inbox), 0.02, lambda text, _: told.append(text))
    for _ in range(3):
        inbox.rename(place.tmp / "away")
        nothing_for(frames, 0.1)
        (place.tmp / "away").rename(inbox)
        nothing_for(frames, 0.1)
    assert told == [f"cannot look into {inbox} (No such file or directory): it is waited for"]


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
def test_a_folder_that_goes_away_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "HELD", 0.0)
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
    inbox._taken = {hash((i, i, i)) for i in range(20_000)}
    assert sys.getsizeof(inbox._taken) + 20_000 * 36 < 3_000_000
    for _ in range(3):
        assert inbox.look() == []
    assert inbox._taken == inbox._gone == set()  # of files that are there no more


@pytest.mark.parametrize(
    ("count", "said"), [(0, []), (1, ["1 photo in "]), (2, ["2 photos in "]), (3, ["3 photos in "])]
)
def test_what_is_passed_over_is_counted(count: int, said: list[str], place: Place) -> None:
    inbox, told = place.folder("camera"), list[str]()
    for number in range(count):
        (inbox / f"{number}.jpg").write_bytes(b"")
    frames_of(str(inbox), 1, lambda text, _: told.append(text))
    assert [line.split(str(inbox))[0] for line in told] == said


@pytest.mark.usefixtures("quick")
def test_a_card_that_is_taken_out_and_put_in_again_gives_no_photo_twice(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it is an empty folder, and no error."""
    card, empty, other = (tmp_path / name for name in ("card", "empty", "other"))
    for each in (card, empty, other):
        each.mkdir()
    for number in range(3):
        shutil.copy(photo(place), card / f"{number}.png")
    mount = tmp_path / "mount"

    def put_in(which: Path) -> None:
        mount.unlink(missing_ok=True)
        mount.symlink_to(which)

    put_in(card)
    told: list[str] = []
    frames = frames_of(str(mount), 0.02, lambda text, _: told.append(text))
    nothing_for(frames, 0.3)
    for which in (empty, card, other, empty, card):
        put_in(which)
        nothing_for(frames, 0.3)
    shutil.copy(card / "0.png", card / "new.png")
    assert Path(next_frame(frames).source).name == "new.png"
    monkeypatch.setattr(folder, "MOST_ELSEWHERE", 0)
    put_in(empty)
    nothing_for(frames, 0.3)
