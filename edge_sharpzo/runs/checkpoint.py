"""A run's state on disk, from which it goes on exactly as if it had never stopped.

A safetensors file: no pickle.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import return_freed_memory
from edge_sharpzo.system.storage import as_type, parse_json
from edge_sharpzo.system.tensors import Tensors, load_tensors, save_tensors
from edge_sharpzo.system.text import first_line
from edge_sharpzo.tuning.methods.state import State
from edge_sharpzo.tuning.records import Best, LoopState, Record

FILE = "checkpoint.safetensors"
EVERY = 30.0  # seconds between checkpoints, or a step of the method where that takes longer
METHOD = "method."
RUN = "run"  # key of the fingerprint


class Checkpoints:
    """Writes, reads and deletes the `checkpoint.safetensors` of one run."""

    def __init__(
        self, folder: Path, run: str | None = None, is_ours: Callable[[], bool] = lambda: True
    ):
        """`run` is the fingerprint that a checkpoint has to carry; None reads any.

        Those of version 0.1.0 carry none. Nothing is written once the folder is not `is_ours`.
        """
        self._is_ours = is_ours
        self.path = folder / FILE
        self._run = run
        self._written = time.monotonic()

    def offer(self, loop: LoopState, method: Callable[[], State]) -> None:
        """Writes if the last checkpoint is old enough."""
        if time.monotonic() - self._written >= EVERY:
            self.write(loop, method())

    def write(self, loop: LoopState, method: State) -> None:
        """Writes now. Raises UserError when the disk refuses."""
        if not self._is_ours():
            return
        tensors = {f"{METHOD}{name}": array for name, array in method.items()}
        prompts = {"best": loop.best} | (
            {"validated": loop.before_refit} if loop.before_refit else {}
        )
        for name, prompt in prompts.items():
            tensors |= {f"{name}.point": prompt.point, f"{name}.text": prompt.text}
        progress = {
            "records": [asdict(record) for record in loop.records],
            "prompts": {name: asdict(prompt.record) for name, prompt in prompts.items()},
            "queries": loop.queries,
            "validated_at": loop.looked_at,
            "bad": loop.bad,
            "seconds": loop.seconds,
        }
        metadata = {"progress": json.dumps(progress), RUN: self._run or ""}
        try:
            save_tensors(self.path, tensors, metadata)
        except OSError as error:
            if not self._is_ours():  # it was lost just now
                return
            raise UserError(
                f"cannot write {self.path} ({error}): make room there, then go on with "
                f"`resume={self.path.parent}`"
            ) from error
        return_freed_memory()
        self._written = time.monotonic()

    def read(self) -> tuple[LoopState, State] | None:
        """The last checkpoint, None where there is none. Raises UserError for a damaged one."""
        if not self.path.exists():
            return None
        try:
            tensors, metadata = load_tensors(self.path)
            found = _parsed(tensors, metadata["progress"])
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{self.path} is damaged ({first_line(error, 200)}): delete it and resume, which "
                "then starts over, or tune again"
            ) from error
        if self._run is not None and metadata.get(RUN) != self._run:
            raise UserError(
                f"{self.path} belongs to another run than the settings beside it: delete it and "
                "resume, which then starts over, or tune again"
            )
        return found

    def delete(self) -> None:
        """Nothing is left to resume."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Progress:
    """The loop's state but for its arrays, as it is stored."""

    records: list[Record]
    prompts: dict[str, Record]
    queries: dict[str, int]
    validated_at: int
    bad: int
    seconds: float


def _parsed(tensors: Tensors, text: str) -> tuple[LoopState, State]:
    """Raises KeyError or ValueError for what no run writes."""
    progress = as_type(parse_json(text), _Progress)
    prompts = {
        name: Best(tensors[f"{name}.point"], tensors[f"{name}.text"], record)
        for name, record in progress.prompts.items()
    }
    records = [*progress.records, *progress.prompts.values()]
    counts = [progress.validated_at, progress.bad, *progress.queries.values()]
    counts += [number for record in records for number in (record.queries, record.step)]
    if not progress.records or not all(0 <= count < 2**53 for count in counts):
        raise ValueError("it holds no record, or a number that is no count")
    if not 0 <= progress.seconds < math.inf:
        raise ValueError("its seconds are no time")
    for prompt in prompts.values():
        if not prompt.point.dtype.kind == prompt.text.dtype.kind == "f":
            raise ValueError("a prompt of it is of another type")
        if not np.isfinite(prompt.point).all():
            raise ValueError("a prompt of it is no finite numbers")
    loop = LoopState(
        records=progress.records,
        best=prompts["best"],
        queries=progress.queries,
        before_refit=prompts.get("validated"),
        looked_at=progress.validated_at,
        bad=progress.bad,
        seconds=progress.seconds,
    )
    method = {n.removeprefix(METHOD): a for n, a in tensors.items() if n.startswith(METHOD)}
    return loop, method
