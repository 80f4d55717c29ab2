"""Stops a search half-way, keeps its state in a file, and goes on from there to the same end:
`python resume.py`

The same works with `PromptObjective` in place of the sphere below; `edge-sharpzo tune --resume`
does it all by itself.
"""

import tempfile
from pathlib import Path

import numpy as np

from edge_sharpzo import SharpZO


def losses(points: np.ndarray) -> np.ndarray:
    return np.square(points - 3).mean(axis=1)


def steps(optimizer: SharpZO, count: int) -> None:
    for _ in range(count):
        optimizer.tell(losses(optimizer.ask()))


whole = SharpZO(20, seed=0)
steps(whole, 60)

first = SharpZO(20, seed=0)
steps(first, 25)
file = Path(tempfile.mkdtemp()) / "state.npz"
np.savez(file, **first.state())  # plain arrays

second = SharpZO(20, seed=0)
with np.load(file, allow_pickle=False) as state:
    second.restore(dict(state))
steps(second, 35)
print(
    "the same end:",
    np.array_equal(whole.solution, second.solution),
    "loss",
    f"{losses(second.solution[None])[0]:.4f}",
)
