"""An export leaves nothing beside its file, however it ends; nor does it delete what is not its."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_sharpzo.system import storage
from export.workspace import LOCK, PREFIX, workspace

WAITS = """
import sys, time
from pathlib import Path
from export.workspace import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "clip.onnx").write_bytes(b"0" * 1000)
    print(folder.name, flush=True)
    time.sleep(60)
"""


def waiting(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """An export that goes on, and its folder."""
    started = subprocess.Popen(
        [sys.executable, "-c", WAITS, parent], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout
    return started, parent / started.stdout.readline().strip()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, None)]
)
def test_a_signal_leaves_nothing(number: int, code: int | None, tmp_path: Path) -> None:
    export, folder = waiting(tmp_path)
    assert (folder / "clip.onnx").exists()
    export.send_signal(number)
    assert export.wait(20) == (code or -signal.SIGINT)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_export_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    dead, left = waiting(tmp_path)
    dead.kill()
    dead.wait(20)
    assert (left / "clip.onnx").exists()
    export, going_on = waiting(tmp_path)
    try:
        assert not left.exists()
        with workspace(tmp_path) as mine:  # beside one that goes on
            assert {*tmp_path.iterdir()} == {mine, going_on}
        assert (going_on / "clip.onnx").exists()
    finally:
        export.kill()
        export.wait(20)


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        (f"{PREFIX}notes", True),  # another name
        (f"{PREFIX}abcdefghi", True),
        (f"{PREFIX}ABCDEFGH", True),
        ("export-abcdefgh", True),
        (f"{PREFIX}abcdefgh", False),  # not an export's, or not yet
    ],
)
def test_other_folders_stay(name: str, lock: bool, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("x")
    if lock:
        (tmp_path / name / LOCK).touch()
    with workspace(tmp_path):
        pass
    assert (tmp_path / name / "mine.txt").exists()


def test_a_link_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / LOCK).touch()
    link = tmp_path / f"{PREFIX}abcdefgh"
    link.symlink_to(kept)
    with workspace(tmp_path):
        pass
    assert link.is_symlink()
    assert (kept / LOCK).exists()


def test_where_no_lock_can_be_had_nothing_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "fcntl", None)
    left = tmp_path / f"{PREFIX}abcdefgh"
    left.mkdir()
    (left / LOCK).touch()
    with workspace(tmp_path):
        pass
    assert left.exists()


def test_signals_are_what_they_were_afterwards(tmp_path: Path) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(SystemExit) as raised, workspace(tmp_path) as folder:
        os.kill(os.getpid(), signal.SIGTERM)
    assert raised.value.code == 143
    assert not folder.exists()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before
