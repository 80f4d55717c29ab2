"""CMA-ES alone: SharpZO's first stage without its sharpness term (Hansen, 2016)."""

from dataclasses import replace

from edge_sharpzo.tuning.methods import sharpzo
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.presets import DEFAULT


def plan(request: Request) -> Plan:
    """A population needs no finite differences, so products in integers will do."""
    settings = replace(DEFAULT.settings, rho=0.0, change_point=DEFAULT.settings.steps)
    return replace(sharpzo.plan_of(settings, request.spend()), integer=True)
