"""What a service is asked through, and the two ways in which that fails."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.system.errors import UserError

MOST_BYTES = 1 << 29  # of one answer; a thousand classes of sixteen candidates take 33 MB


class FaultError(Exception):
    """A call failed in a way that another try may mend."""

    def __init__(self, why: str, wait: float = 0.0):
        """`wait` is how long the service asks to be left alone, in seconds."""
        super().__init__(why)
        self.wait = wait


class RefusedError(UserError):
    """A service says no, and may well say so again; the text says what the user can do."""


class UnknownModelError(RefusedError):
    """A service has no such model."""


class Transport(Protocol):
    """One connection to a service. Threads may share it."""

    def infer(
        self, model: str, feeds: Feeds, outputs: Sequence[str], seconds: float
    ) -> dict[str, np.ndarray]:
        """The model's `outputs` for these inputs, in `seconds` at most.

        Raises FaultError, or RefusedError.
        """
        ...

    def tensors(self, model: str, seconds: float) -> tuple[dict[str, str], dict[str, str]]:
        """The model's inputs and outputs: name -> type, as the protocol calls it.

        Raises FaultError, or RefusedError.
        """
        ...
