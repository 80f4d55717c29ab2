"""What a run tells of itself while it goes on. Whoever started it hears it through one function."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_sharpzo.tuning.records import Record


@dataclass(frozen=True)
class Note:
    """Something that the user should know, or heed where it is a `warning`."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class RunBegins:
    """The run has its folder; from now on it can be resumed."""

    folder: Path


@dataclass(frozen=True)
class PhotoSkipped:
    """A photo that cannot be read is left out."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PhotosEncoded:
    """`done` of `total` photos have features."""

    done: int
    total: int


@dataclass(frozen=True)
class TuningStarts:
    """The search begins."""

    queries: int | None  # that it takes at most, as far as is known; those of before included
    done: int  # queries of before, in a run that goes on
    seconds: float | None  # that it may take
    seconds_per_query: float


@dataclass(frozen=True)
class QueriesSpent:
    """A step of the method is done, after `used` queries of the run."""

    used: int
    stage: str


@dataclass(frozen=True)
class SolutionSeen:
    """The loop has looked at the solution."""

    record: Record


@dataclass(frozen=True)
class RunEnded:
    """One of several runs is over."""

    name: str
    done: int  # runs that are over, this one included
    total: int
    told: str  # what came of it, or why it failed
    failed: bool


Event = (
    Note
    | RunBegins
    | PhotoSkipped
    | PhotosEncoded
    | TuningStarts
    | QueriesSpent
    | SolutionSeen
    | RunEnded
)
Listener = Callable[[Event], object]
