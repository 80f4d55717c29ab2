"""The four steps of a tuning run: prepare, search, finish, assess.

Each passes a dataclass on to the next. None needs a terminal, a signal or a run folder; `run.py`
puts them together.
"""

from edge_sharpzo.pipeline.check import checked_run
from edge_sharpzo.pipeline.finish import Assessed, Finished, assess, finish
from edge_sharpzo.pipeline.no_search import no_search
from edge_sharpzo.pipeline.prepare import Prepared, Task, open_task, prepare
from edge_sharpzo.pipeline.search import Found, Searched, objective_of, search

__all__ = [
    "Assessed",
    "Finished",
    "Found",
    "Prepared",
    "Searched",
    "Task",
    "assess",
    "checked_run",
    "finish",
    "no_search",
    "objective_of",
    "open_task",
    "prepare",
    "search",
]
