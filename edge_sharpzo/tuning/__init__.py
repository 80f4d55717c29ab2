"""The search: the objective and its loss, the methods, the loop that pays for their queries."""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.tuning.budget import Budget
    from edge_sharpzo.tuning.loop import Watch, run_loop
    from edge_sharpzo.tuning.loss import FewShotLoss
    from edge_sharpzo.tuning.objective import Objective, PromptObjective
    from edge_sharpzo.tuning.space import PromptSpace

__all__ = [
    "Budget",
    "FewShotLoss",
    "Objective",
    "PromptObjective",
    "PromptSpace",
    "Watch",
    "run_loop",
]
__getattr__ = exports(
    __name__,
    {
        "Budget": "budget",
        "FewShotLoss": "loss",
        "Objective": "objective",
        "PromptObjective": "objective",
        "PromptSpace": "space",
        "Watch": "loop",
        "run_loop": "loop",
    },
)
