"""What a fleet's worker does: it holds a model by its SHA-256, and computes calls of its towers.

Runs in the worker's process, which imports it by name: no code travels, and no model that it has.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.session import Feeds, TowerSession
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import package_version
from edge_sharpzo.system.storage import cache_folder
from edge_sharpzo.system.text import first_line

_ONE_AT_A_TIME = Lock()  # whatever a worker's number of threads


@dataclass(frozen=True)
class Job:
    """Which tower of which model, and how."""

    sha256: str
    name: str  # of the model's file
    tower: str
    integer: bool  # whether it has to take products in integers
    threads: int
    package: str  # version of this package where the run is


@dataclass(frozen=True)
class Answer:
    """What a worker says to a call."""

    worker: str  # its address
    package: str  # its version there
    output: np.ndarray | None = None  # None where it cannot compute
    lacks_model: bool = False
    error: str = ""  # why it cannot, where that is none of the above


def computed(job: Job, feeds: Feeds) -> Answer:
    """The tower's output for one call, or why there is none."""
    from distributed import get_worker

    worker, package = get_worker().address, package_version()
    if job.package != package:
        return Answer(worker, package)
    try:
        with _ONE_AT_A_TIME:
            place = _place(job.sha256, job.name)
            if place is None:
                return Answer(worker, package, lacks_model=True)
            session = _session(place, job.tower, job.integer, job.threads)
            return Answer(worker, package, session.run_all([feeds])[0])
    except Exception as error:  # to whoever asked it would look like a fault of the connection
        return Answer(worker, package, error=f"{type(error).__name__}: {first_line(error, 200)}")


@lru_cache(maxsize=3)  # of one model
def _session(place: Path, tower: str, integer: bool, threads: int) -> TowerSession:
    clip = ClipOnnx(place, threads)
    if integer and not clip.in_integers(Tower(tower)):
        raise UserError("the run multiplies 8-bit integers, which this processor cannot exactly")
    return clip.session(Tower(tower), integer)


@lru_cache(maxsize=8)
def _place(sha256: str, name: str) -> Path | None:
    """The model's file on this machine, None where there is none."""
    for place in (_folder(sha256) / name, EMBEDDED_MODEL):
        with suppress(UserError, OSError):  # damaged: as good as missing
            if place.is_file() and ClipOnnx(place).sha256 == sha256:
                return place
    return None


def _folder(sha256: str) -> Path:
    return cache_folder() / "models" / sha256[:32]


def take_part(sha256: str, sender: str, name: str, offset: int, data: bytes) -> None:
    """Keeps a part of a model's file that a `sender` sends; its parts come in order."""
    unfinished = _unfinished(sha256, sender)
    unfinished.mkdir(parents=True, exist_ok=True)
    with (unfinished / Path(name).name).open("wb" if offset == 0 else "ab") as stream:
        if stream.tell() != offset:
            raise ValueError(f"{name} came in another order than it was sent")
        stream.write(data)


def take_whole(sha256: str, sender: str, name: str) -> None:
    """All parts are here: from now on the model is.

    Raises ValueError where it is another one, OSError where there is no room for it.
    """
    unfinished, folder = _unfinished(sha256, sender), _folder(sha256)
    try:
        if ClipOnnx(unfinished / name).sha256 != sha256:
            raise ValueError("the model did not arrive as it was sent")
        with _ONE_AT_A_TIME:
            _place.cache_clear()
            if _place(sha256, name) is None:  # another sender may have been faster
                _clear(folder)
                unfinished.rename(folder)
                _place.cache_clear()
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _clear(place: Path) -> None:
    """Makes room at `place`, whatever is there; what a link leads to stays. Raises OSError."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)


def _unfinished(sha256: str, sender: str) -> Path:
    """Where the parts go; each sender, and each process of a machine, has a place of its own."""
    folder = _folder(sha256)
    return folder.with_name(f"{folder.name}.{os.getpid()}.{Path(sender).name}.part")
