"""What a fleet's worker does: it holds a model by its SHA-256, and computes calls of its towers.

Runs in the worker's process, which imports it by name: no code travels, and no model that it has.
"""

import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.session import Feeds, TowerSession
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.machine import package_version
from edge_sharpzo.system.storage import cache_folder

_ONE_AT_A_TIME = Lock()  # whatever a worker's number of threads


@dataclass(frozen=True)
class Job:
    """Which tower of which model, and how."""

    sha256: str
    name: str  # of the model's file
    tower: str
    integer: bool
    threads: int
    package: str  # version of this package where the run is


@dataclass(frozen=True)
class Answer:
    """What a worker says to a call."""

    worker: str  # its address
    package: str  # its version there
    output: np.ndarray | None = None  # None where it cannot compute
    lacks_model: bool = False


def computed(job: Job, feeds: Feeds) -> Answer:
    """The tower's output for one call. Raises UserError where the tower does."""
    from distributed import get_worker

    worker, package = get_worker().address, package_version()
    if job.package != package:
        return Answer(worker, package)
    with _ONE_AT_A_TIME:
        place = _place(job.sha256, job.name)
        if place is None:
            return Answer(worker, package, lacks_model=True)
        session = _session(place, job.tower, job.integer, job.threads)
        return Answer(worker, package, session.run_all([feeds])[0])


@lru_cache(maxsize=3)  # of one model
def _session(place: Path, tower: str, integer: bool, threads: int) -> TowerSession:
    return ClipOnnx(place, threads).session(Tower(tower), integer)


@lru_cache(maxsize=8)
def _place(sha256: str, name: str) -> Path | None:
    """The model's file on this machine, None where there is none."""
    for place in (_folder(sha256) / name, EMBEDDED_MODEL):
        if place.is_file() and ClipOnnx(place).sha256 == sha256:
            return place
    return None


def _folder(sha256: str) -> Path:
    return cache_folder() / "models" / sha256[:32]


def take_part(sha256: str, name: str, offset: int, data: bytes) -> None:
    """Keeps a part of a model's file that is being sent; parts come in order."""
    unfinished = _unfinished(sha256)
    unfinished.mkdir(parents=True, exist_ok=True)
    with (unfinished / Path(name).name).open("wb" if offset == 0 else "ab") as stream:
        if stream.tell() != offset:
            raise ValueError(f"{name} came in another order than it was sent")
        stream.write(data)


def take_whole(sha256: str, name: str) -> None:
    """All parts are here: from now on the model is. Raises ValueError where it is another one."""
    unfinished, folder = _unfinished(sha256), _folder(sha256)
    if ClipOnnx(unfinished / name).sha256 != sha256:
        shutil.rmtree(unfinished)
        raise ValueError("the model did not arrive as it was sent")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    _place.cache_clear()


def _unfinished(sha256: str) -> Path:
    """Where the parts go; each process of a machine has its own."""
    folder = _folder(sha256)
    return folder.with_name(f"{folder.name}.{os.getpid()}.part")
