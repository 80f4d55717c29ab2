"""A run's state on disk, from which it goes on exactly as if it had never stopped.

A safetensors file: no pickle.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.memory import return_freed_memory
from edge_sharpzo.system.storage import parse_json, write_atomic
from edge_sharpzo.tuning.methods.state import State
from edge_sharpzo.tuning.records import Best, LoopState, Record

FILE = "checkpoint.safetensors"
EVERY = 30.0  # seconds between checkpoints, or a step of the method where that takes longer
METHOD = "method."


class Checkpoints:
    """Writes `checkpoint.safetensors` into a run folder."""

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self._written = time.monotonic()

    def offer(self, loop: LoopState, method: Callable[[], State]) -> None:
        """Writes if the last checkpoint is old enough."""
        if time.monotonic() - self._written >= EVERY:
            self.write(loop, method())

    def write(self, loop: LoopState, method: State) -> None:
        """Writes now. Raises UserError when the disk refuses."""
        tensors = {f"{METHOD}{name}": array for name, array in method.items()}
        prompts = {"best": loop.best} | ({"validated": loop.validated} if loop.validated else {})
        for name, prompt in prompts.items():
            tensors |= {f"{name}.point": prompt.point, f"{name}.text": prompt.text}
        told = {
            "records": [asdict(record) for record in loop.records],
            "prompts": {name: asdict(prompt.record) for name, prompt in prompts.items()},
            "queries": loop.queries,
            "validated_at": loop.validated_at,
            "bad": loop.bad,
            "seconds": loop.seconds,
        }
        metadata = {"progress": json.dumps(told)}
        whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        try:
            write_atomic(self.path, lambda part: save_file(whole, part, metadata=metadata))
        except (OSError, SafetensorError) as error:
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
            return _read(self.path)
        except (
            OSError,
            SafetensorError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            raise UserError(
                f"{self.path} is damaged ({error}): delete it and resume, which then starts over, "
                "or tune again"
            ) from error

    def delete(self) -> None:
        """Nothing is left to resume; what a kill left half-written goes too."""
        for file in (self.path, *self.path.parent.glob(f".{FILE}.*.part")):
            file.unlink(missing_ok=True)


def _read(path: Path) -> tuple[LoopState, State]:
    with safe_open(path, "np") as stored:
        told = parse_json((stored.metadata() or {})["progress"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    prompts = {
        name: Best(tensors[f"{name}.point"], tensors[f"{name}.text"], Record(**record))
        for name, record in told["prompts"].items()
    }
    loop = LoopState(
        records=[Record(**record) for record in told["records"]],
        best=prompts["best"],
        queries={str(kind): int(count) for kind, count in told["queries"].items()},
        validated=prompts.get("validated"),
        validated_at=int(told["validated_at"]),
        bad=int(told["bad"]),
        seconds=float(told["seconds"]),
    )
    if not loop.records:
        raise ValueError("it holds no record")
    method = {n.removeprefix(METHOD): a for n, a in tensors.items() if n.startswith(METHOD)}
    return loop, method
