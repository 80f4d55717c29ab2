"""What a run asks of a method, and what the method makes ready for it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from edge_sharpzo.tuning.start import Start

if TYPE_CHECKING:
    from edge_sharpzo.tuning.loss import ConvexLoss
    from edge_sharpzo.tuning.methods.protocol import Optimizer

DEFAULT_BUDGET = 5000  # queries


class Preset(StrEnum):
    """Whose settings a method runs with."""

    DEFAULT = "default"
    PAPER = "paper"  # SharpZO's published ones


class Criterion(StrEnum):
    """By which loss the best prompt is chosen."""

    VALIDATION = "validation"  # of photos that it has not learnt from, where there are any
    TRAINING = "training"


@dataclass(frozen=True)
class Request:
    """What the user wants of a method."""

    budget: int | None = None  # queries
    timed: bool = False  # whether time ends the run
    preset: Preset = Preset.DEFAULT
    paper_task: str = "dtd"  # whose column of the paper's Table 8
    start: Start = Start.WORDS  # what w = 0 is

    def spend(self, usual: int | None = None) -> int | None:
        """Queries to plan for: the budget; none where time ends the run; else the method's usual.

        That is `DEFAULT_BUDGET` for most.
        """
        return self.budget or (None if self.timed else usual or DEFAULT_BUDGET)


class Make(Protocol):
    """Makes the optimizer."""

    def __call__(
        self, dim: int, loss: "ConvexLoss", seed: int, difference: float = 0.0, /
    ) -> "Optimizer":
        """`dim` of w, the loss on top of the black box.

        `difference` is the shortest finite-difference step that the model's noise allows, in units
        of w.
        """
        ...


@dataclass(frozen=True)
class Plan:
    """One method made ready for a run."""

    make: Make
    settings: Any  # for the record: a dataclass or a dictionary
    budget: int | None  # queries; None: until the steps or the time are done
    planned: int | None  # queries that the run will take, looks at validation aside; for display
    dim: int | None = 512  # of w; None: the whole prompt space
    projection_std: float | None = None  # see `PromptSpace`
    integer: bool = False  # products in integers are exact enough: it takes no finite differences
    criterion: Criterion = Criterion.VALIDATION  # which prompt wins
    context_tokens: int | None = None  # unless the user says; None: as many as the words have
    prefers: Start = Start.WORDS  # where it starts unless the user says, if the model has it
    method: str = ""  # its name in the registry
    start: Start = Start.WORDS  # what it is made ready to start from
    preset: Preset = Preset.DEFAULT


MakePlan = Callable[[Request], Plan]
