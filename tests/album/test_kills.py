"""A process that changes a folder of photos dies at any moment: no photo is lost or half moved."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from album.walk import JPEG, SCRIPT
from edge_sharpzo.album import Album

pytestmark = pytest.mark.usefixtures("no_flushing")

PHOTOS = [f"{name}/{i}.jpg" for name in ("cat", "dog") for i in range(4)]


class Victims:
    """Children that die one after another, of one process, for that starts fast."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("walk.py")
        command = [sys.executable, str(script)]
        pipe = subprocess.PIPE
        self.parent = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def run(self, **asked: Any) -> dict[str, Any]:
        """How the child ended: its exit code, and the number of file operations if it lived."""
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        print(json.dumps(asked), file=self.parent.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.parent.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.parent.communicate("")


def fresh(root: Path) -> Path:
    for name in PHOTOS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG + name.encode())
    return root


def contents(root: Path) -> list[bytes]:
    """Of every photo, the station's own folder included: what waits there is no photo yet."""
    return sorted(path.read_bytes() for path in root.rglob("*.*") if _is_photo(root, path))


def _is_photo(root: Path, path: Path) -> bool:
    return path.is_file() and path.relative_to(root).parts[0] != ".station"


def state(album: Album) -> Any:
    """All that a step may change; the names of photos that were added tell the time."""
    found = album.contents()
    lies = {}
    for photo in found.photos():
        folder = photo.path.parent.relative_to(album.root).as_posix()
        lies[photo.path.read_bytes()] = (
            folder,
            photo.path.name if len(photo.path.stem) < 6 else "",
        )
    names = {each.name: each.display for each in found.classes}
    steps = [(step.text, step.undone) for step in album.history()]
    return lies, names, album.template, steps


def check_whole(root: Path) -> None:
    """The journal can be read, and nothing that was half written is left."""
    for line in (root / ".station" / "journal.jsonl").read_text().splitlines():
        json.loads(line)
    assert list((root / ".station" / "incoming").iterdir()) == []
    assert list((root / ".station").glob(".*")) == []


def check_back_and_forth(album: Album, there: list[bytes]) -> None:
    """Some steps are undone and done again, and no photo is lost on the way."""
    before, again = state(album), 0
    while album.can_undo() and again < 5:
        assert album.undo().told == []
        again += 1
    assert contents(album.root) == there
    for _ in range(again):
        assert album.redo().told == []
    assert state(album) == before


@pytest.mark.parametrize(
    "every", [pytest.param(4, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]
)
def test_killed_between_any_two_file_operations(
    every: int, victims: Victims, tmp_path: Path
) -> None:
    """The step that was cut short is done as if it never was cut, or was never begun."""
    states, ends = [], []
    for steps in range(len(SCRIPT) + 1):
        whole = fresh(tmp_path / f"whole-{steps}")
        ended = victims.run(root=str(whole), steps=steps)
        assert ended["code"] == 0
        ends.append(int(ended["count"]))
        with Album.open(whole) as album:
            assert album.told == []
            states.append(state(album))
    kills = range(1, ends[-1] + 1, every)
    finished = 0
    for kill_at in kills:
        root = fresh(tmp_path / f"killed-{kill_at}")
        ended = victims.run(root=str(root), steps=len(SCRIPT), kill_at=kill_at)
        assert ended["code"] == -signal.SIGKILL
        if kill_at % 2:  # and again, while it is mended
            victims.run(root=str(root), steps=0, kill_at=1 + kill_at // 2 % (ends[0] + 6))
        step = max(0, sum(end < kill_at for end in ends) - 1)
        with Album.open(root) as album:
            finished += bool(album.told)
            assert state(album) in states[step : step + 2], kill_at
            check_whole(root)
            there = contents(root)
            assert len(set(there)) == len(there)
            while album.can_undo():
                assert album.undo().told == [], kill_at
            for name in PHOTOS:
                assert (root / name).read_bytes() == JPEG + name.encode()
            assert contents(root) == there
    assert finished > len(kills) // 4


@pytest.mark.parametrize(
    "kills", [pytest.param(12, id="12"), pytest.param(100, id="100", marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(kills: int, victims: Victims, tmp_path: Path) -> None:
    root, log, rng = fresh(tmp_path / "data"), tmp_path / "added", random.Random(kills)
    log.touch()
    first, kept = contents(root), 0
    for number in range(kills):
        seconds = rng.uniform(0, 0.4)
        ended = victims.run(root=str(root), log=str(log), seed=number, seconds=seconds)
        assert ended["code"] == -signal.SIGKILL
        added = [JPEG + line for line in log.read_bytes().splitlines() if len(line) == 32]
        with Album.open(root) as album:
            check_whole(root)
            there = contents(root)
            assert len(set(there)) == len(there)
            assert {*first, *added} <= set(there)
            check_back_and_forth(album, there)
            kept = len(album.history())
    assert kept > kills
