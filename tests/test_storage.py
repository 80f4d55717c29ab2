"""Files that are written whole, on file systems and in processes of every kind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import run_tune

import edge_sharpzo
from edge_sharpzo.photos.features import encode_photos
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.system import storage
from edge_sharpzo.system.errors import UserError, os_errors_told
from edge_sharpzo.system.storage import clear_half_written, write_atomic, write_text


def test_a_file_system_without_permissions_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFS, FUSE, many card readers."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("error", [38, 95, 37])  # ENOSYS, EOPNOTSUPP, ENOLCK
def test_a_file_system_without_locks_is_written_to(
    error: int, tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(storage.fcntl, "flock", refused)
    assert (
        run_tune(tiny_onnx, photos, tmp_path / "run", "--shots", 6, "--budget", 50).exit_code == 0
    )


def test_a_rename_is_flushed_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")
    monkeypatch.setattr(os, "fsync", noting)
    write_text(tmp_path / "a.txt", "whole")
    assert [Path(name).suffix for name in flushed] == [".part", ""]
    assert flushed[-1] == str(tmp_path)


WRITER = """
import sys, time
from pathlib import Path
from edge_sharpzo.system.storage import write_atomic
def slowly(part):
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
write_atomic(Path(sys.argv[1]), slowly)
"""


@pytest.mark.parametrize("name", ["a.txt", "odd [1] *.txt", "prompt.safetensors"])
def test_what_a_dead_process_was_writing_goes_and_what_a_living_one_writes_stays(
    name: str, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / name)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        (other,) = tmp_path.iterdir()
        clear_half_written(tmp_path / name)
        assert list(tmp_path.iterdir()) == [other]
        writer.kill()
    (tmp_path / f"{name}.part").touch()  # the user's own
    clear_half_written(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.part"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def full(part: Path) -> None:
        part.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "a.txt", full)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


ENCODER = """
import os, signal, sys
from pathlib import Path
import edge_sharpzo
from edge_sharpzo.photos import encode_photos, features, find_photos
features.KEEP_EVERY = 0.0
clip = edge_sharpzo.ClipOnnx(sys.argv[1])
photos = find_photos(Path(sys.argv[2])).photos.read(print)
def die(done, total):
    if done >= 12:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
encode_photos(clip, photos.files, Path(sys.argv[2]), die)
"""


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGHUP", "SIGTERM"])
def test_a_kill_while_photos_are_encoded_loses_no_more_than_the_last(
    signal: str, tiny_onnx: Path, photos: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", ENCODER, tiny_onnx, photos, signal], check=False)
    assert killed.returncode < 0
    clip = edge_sharpzo.ClipOnnx(tiny_onnx)
    files = find_photos(photos).photos.read(print).files
    progress: list[int] = []
    encode_photos(clip, files, photos, lambda done, total: progress.append(done))
    assert progress[0] == 12  # of 36: three calls of four photos


def test_a_cache_that_cannot_be_kept_is_told(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_SHARPZO_CACHE", str(tmp_path / "file" / "cache"))
    done = run_tune(tiny_onnx, photos, tmp_path / "run", "--shots", 6, "--budget", 50)
    assert done.exit_code == 0
    assert f"photo features cannot be kept in {tmp_path / 'file' / 'cache'}" in done.stderr


def test_a_cache_of_many_photos_is_written_at_intervals(
    tiny_onnx: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, written = edge_sharpzo.ClipOnnx(tiny_onnx), list[float]()
    monkeypatch.setattr(
        "edge_sharpzo.photos.cache.save_tensors", lambda *_: written.append(time.monotonic())
    )
    files = find_photos(photos).photos.read(print).files
    encode_photos(clip, files, photos)
    assert len(written) == 1


def a_folder(path: Path) -> None:
    path.mkdir()


def a_full_folder(path: Path) -> None:
    (path / "mine").mkdir(parents=True)


def beside_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.parametrize("put", [a_folder, a_full_folder, beside_a_file])
@pytest.mark.parametrize("name", ["table.csv", "x.part", "résumé"])
def test_a_file_that_cannot_be_written_is_called_by_its_name(
    put: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    path = tmp_path / "place" / name
    path.parent.mkdir()
    put(path)
    with pytest.raises(UserError) as raised, os_errors_told():
        write_text(path, "")
    named = path.parent if put is beside_a_file else path
    assert str(raised.value).startswith(f"cannot use {named}: ")


@pytest.mark.parametrize("call", ["replace", "open"])
def test_what_the_system_refuses_is_told_of_the_file_itself(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(part: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(part))

    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(OSError, match="No space") as raised:
        write_text(tmp_path / "a.txt", "whole")
    assert raised.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
