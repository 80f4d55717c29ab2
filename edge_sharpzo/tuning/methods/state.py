"""What a method needs to go on after a restart, as plain arrays: nothing that must be unpickled."""

from abc import ABC, abstractmethod

import numpy as np

State = dict[str, np.ndarray]


class Replayed(ABC):
    """A base for methods that only hear losses.

    Their state is what they were told, and restoring is hearing it again.

    Exact, because a method is a function of its seed and of what it is told.
    """

    wants_outputs = False

    def __init__(self) -> None:
        self._told: list[np.ndarray] = []
        self._is_observation: list[bool] = []

    @abstractmethod
    def ask(self) -> np.ndarray:
        """Points to evaluate [P, dim]."""

    def tell(self, losses: np.ndarray, outputs: np.ndarray | None = None) -> None:  # noqa: ARG002 - the protocol's
        """Losses [P] of the points of the last `ask`."""
        self._told.append(np.array(losses, np.float64))
        self._is_observation.append(False)
        self._update(losses)

    def observe(self, validation_accuracy: float, left: float) -> None:
        """Validation accuracy at the current solution, and queries left."""
        self._told.append(np.array([validation_accuracy, left]))
        self._is_observation.append(True)
        self._heed(validation_accuracy, left)

    @abstractmethod
    def _update(self, losses: np.ndarray) -> None:
        """What the method makes of the losses."""

    def _heed(self, validation_accuracy: float, left: float) -> None:  # noqa: B027 - most methods need none
        """Override it to react to validation; ignored by default."""

    def state(self) -> State:
        """Everything told so far."""
        return {
            "told": np.concatenate([np.zeros(0), *self._told]),
            "sizes": np.array([len(part) for part in self._told], np.int64),
            "observations": np.array(self._is_observation, bool),
        }

    def restore(self, state: State) -> None:
        """Hears `state` again, in an object made with the same arguments.

        Raises ValueError for arrays that no such object was told.
        """
        told, sizes, observations = (state[name] for name in ("told", "sizes", "observations"))
        check_array("told", told, "f", 1)
        check_array("sizes", sizes, "i", 1)
        check_array("observations", observations, "b", 1)
        if (sizes < 0).any() or (sizes > len(told)).any() or sizes.sum() != len(told):
            raise ValueError("sizes that do not fit what was told")
        parts = np.split(told, np.cumsum(sizes)[:-1]) if len(sizes) else []
        for part, is_observation in zip(parts, observations, strict=True):
            if len(part) != (2 if is_observation else len(self.ask())):
                raise ValueError("answers to other questions")
            if is_observation:
                self.observe(float(part[0]), float(part[1]))
            else:
                self.tell(part)


def check_array(name: str, array: np.ndarray, kind: str, ndim: int) -> None:
    """Raises ValueError unless NumPy's `kind` of an array's numbers is this, with `ndim` axes."""
    if (array.dtype.kind, array.ndim) != (kind, ndim):
        raise ValueError(f"'{name}' is {array.dtype} with {array.ndim} axes")
