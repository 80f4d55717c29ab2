"""No method: what runs where a model takes no context vectors, so that nothing can be tuned."""

from typing import Any

from edge_sharpzo.tuning.methods.plan import Plan

NO_METHOD = "none"  # in place of a method's name


def _make(*_: Any) -> Any:
    raise AssertionError("there is nothing to optimise")


NO_SEARCH = Plan(_make, settings={}, budget=None, planned=0, dim=None, method=NO_METHOD)
