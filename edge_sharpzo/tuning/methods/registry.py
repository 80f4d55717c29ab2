"""The methods by name. A new one is a file with a function `plan`, and a line in `METHODS`."""

from dataclasses import replace
from importlib import import_module

from edge_sharpzo.system.errors import UserError, not_one_of
from edge_sharpzo.tuning.methods.plan import MakePlan, Plan, Preset, Request

DEFAULT_REQUEST = Request()
DEFAULT_METHOD = "gauss-newton"
PAPER_METHOD = "sharpzo"  # whose published settings the preset `paper` has

# Each name's function `plan`, or the module it lives in, which is imported when it is needed.
METHODS: dict[str, str | MakePlan] = {
    "gauss-newton": "edge_sharpzo.tuning.methods.gauss_newton",
    "sharpzo": "edge_sharpzo.tuning.methods.sharpzo",
    "cma-es": "edge_sharpzo.tuning.methods.cma_es",
    "zo-sgd": "edge_sharpzo.tuning.methods.zo_sgd",
    "cge": "edge_sharpzo.tuning.methods.cge_descent",
    "random": "edge_sharpzo.tuning.methods.random_search",
}


def plan(method: str | None = None, request: Request = DEFAULT_REQUEST) -> Plan:
    """The plan of `method`, the default if None, for what is requested.

    Raises UserError for a method that does not exist, or has no such preset.
    """
    if method is None:  # the paper's settings are of the paper's method
        method = PAPER_METHOD if request.preset is Preset.PAPER else DEFAULT_METHOD
    if method not in METHODS:
        raise not_one_of(METHODS, "method", method)
    if request.preset is Preset.PAPER and method != PAPER_METHOD:
        raise UserError(
            f"`preset=paper` belongs to SharpZO: add `method=sharpzo`, or leave `preset` out "
            f"for {method}",
            field="preset",
        )
    entry = METHODS[method]
    make: MakePlan = import_module(entry).plan if isinstance(entry, str) else entry
    made = make(request)
    return replace(made, method=method, start=request.start, preset=request.preset)
