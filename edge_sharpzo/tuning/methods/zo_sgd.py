"""Zeroth-order SGD alone: SharpZO's second stage without pruning (Nesterov and Spokoiny, 2017)."""

from dataclasses import replace

from edge_sharpzo.tuning.methods import sharpzo
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.presets import DEFAULT


def plan(request: Request) -> Plan:
    """From the initial words on, with all coordinates."""
    settings = replace(DEFAULT.settings, pruning_ratio=0.0, change_point=0)
    return sharpzo.plan_of(settings, request.spend())
