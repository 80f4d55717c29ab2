"""What the tuning loop needs of a method: `ask() -> points`, `tell(losses, outputs)`."""

from typing import Protocol, runtime_checkable

import numpy as np

from edge_sharpzo.tuning.methods.state import State


class Optimizer(Protocol):
    """What the tuning loop needs of a method.

    Every `ask` is answered by one `tell` with the losses of the asked points, in order; a loss that
    is not finite counts as the worst. All randomness comes from a private generator made from the
    seed.
    """

    @property
    def wants_outputs(self) -> bool:
        """Whether `tell` needs the text features beside the losses."""
        ...

    @property
    def kind(self) -> str:
        """What the next asked points are for, e.g. `population`; queries count under it."""
        ...

    @property
    def stage(self) -> str:
        """The part of the method that is running, as shown to the user."""
        ...

    @property
    def solution(self) -> np.ndarray:
        """The point [dim] to use if the run ended now: a distribution's mean, or the best point."""
        ...

    @property
    def step(self) -> int:
        """Completed generations and gradient steps."""
        ...

    @property
    def finished(self) -> bool:
        """True when the method has run all its steps."""
        ...

    def ask(self) -> np.ndarray:
        """Points to evaluate [P, dim], float64."""
        ...

    def tell(self, losses: np.ndarray, outputs: np.ndarray | None = None) -> None:
        """Losses [P] of the points of the last `ask`.

        With the black box's outputs [P, ...] where `wants_outputs`.
        """
        ...

    def observe(self, validation_accuracy: float, left: float) -> None:
        """What the loop saw, after steps, at most once every `loop.VALIDATE_EVERY` queries.

        Validation accuracy (0 to 1) at `solution`, or training accuracy where there are no
        validation photos; and about how many queries are left, infinitely many where neither a
        budget nor the time ends the run.
        """
        ...

    def state(self) -> State:
        """Everything that the next asks depend on."""
        ...

    def restore(self, state: State) -> None:
        """Continues where `state` was taken, in an object made with the same arguments."""
        ...


@runtime_checkable
class Restartable(Optimizer, Protocol):
    """A method that can go on from any point when the loss becomes another one."""

    def restart(self, point: np.ndarray) -> None:
        """Goes on from `point` [dim], whose loss it has to ask for again.

        Called between a `tell` and the next `ask`.
        """
        ...
