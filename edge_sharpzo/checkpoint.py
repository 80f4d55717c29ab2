"""A run's state on disk, from which it goes on exactly as if it had never stopped. A safetensors file: no pickle."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edge_sharpzo.errors import UserError
from edge_sharpzo.memory import give_back
from edge_sharpzo.methods.state import State
from edge_sharpzo.storage import parse_json, write_atomic
from edge_sharpzo.tuner import Best, Progress, Record

FILE = "checkpoint.safetensors"
EVERY = 30.0  # seconds between checkpoints, or a step of the method where that takes longer
METHOD = "method."


class Checkpoints:
    """Writes `checkpoint.safetensors` into a run folder."""

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self._written = time.monotonic()

    def offer(self, progress: Progress, state: Callable[[], State]) -> None:
        """Writes if the last checkpoint is old enough."""
        if time.monotonic() - self._written >= EVERY:
            self.write(progress, state())

    def write(self, progress: Progress, state: State) -> None:
        """Writes now. Raises UserError when the disk refuses."""
        tensors = {f"{METHOD}{name}": np.ascontiguousarray(array) for name, array in state.items()}
        prompts = {"best": progress.best} | ({"validated": progress.validated} if progress.validated else {})
        for name, prompt in prompts.items():
            tensors |= {f"{name}.point": prompt.point, f"{name}.text": np.ascontiguousarray(prompt.text)}
        told = {
            "records": [asdict(record) for record in progress.records],
            "prompts": {name: asdict(prompt.record) for name, prompt in prompts.items()},
            "queries": progress.queries,
            "validated_at": progress.validated_at,
            "bad": progress.bad,
            "seconds": progress.seconds,
        }
        try:
            write_atomic(self.path, lambda part: save_file(tensors, part, metadata={"progress": json.dumps(told)}))
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot write {self.path} ({error}): make room there, then go on with --resume {self.path.parent}") from error
        give_back()
        self._written = time.monotonic()

    def read(self) -> tuple[Progress, State] | None:
        """The last checkpoint, None where there is none. Raises UserError for a damaged one."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "np") as stored:
                told = parse_json((stored.metadata() or {})["progress"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dictionary
            prompts = {name: Best(tensors[f"{name}.point"], tensors[f"{name}.text"], Record(**record)) for name, record in told["prompts"].items()}
            progress = Progress(
                records=[Record(**record) for record in told["records"]],
                best=prompts["best"],
                validated=prompts.get("validated"),
                queries={str(kind): int(count) for kind, count in told["queries"].items()},
                validated_at=int(told["validated_at"]),
                bad=int(told["bad"]),
                seconds=float(told["seconds"]),
            )
            if not progress.records:
                raise ValueError("it holds no record")
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{self.path} is damaged ({error}): delete it and resume, which then starts over, or tune again") from error
        return progress, {name.removeprefix(METHOD): array for name, array in tensors.items() if name.startswith(METHOD)}

    def delete(self) -> None:
        """Nothing is left to resume; what a kill left half-written goes too."""
        for file in (self.path, *self.path.parent.glob(f".{FILE}.*.part")):
            file.unlink(missing_ok=True)
