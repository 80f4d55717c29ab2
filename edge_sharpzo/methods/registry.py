"""The methods by name, each with its settings, search space and budget."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from edge_sharpzo.errors import UserError
from edge_sharpzo.loss import ConvexLoss
from edge_sharpzo.methods import Optimizer
from edge_sharpzo.methods.cge_descent import CgeDescent
from edge_sharpzo.methods.gauss_newton import GaussNewton, GaussNewtonSettings
from edge_sharpzo.methods.presets import DEFAULT, SharpZOSettings, paper_preset, planned_queries
from edge_sharpzo.methods.random_search import RandomSearch
from edge_sharpzo.methods.sharpzo import SharpZO

DEFAULT_METHOD = "gauss-newton"
DEFAULT_BUDGET = 5000
GAUSS_NEWTON_CONTEXT = 8  # context tokens: twice the usual four fit and generalise better, at about a tenth more a query
METHODS = ("gauss-newton", "sharpzo", "cma-es", "zo-sgd", "cge", "random")


class Make(Protocol):
    """Makes the optimizer. `difference`: the shortest finite-difference step that the model's noise allows, in units of w."""

    def __call__(self, dim: int, loss: ConvexLoss, seed: int, difference: float = 0.0, /) -> Optimizer: ...


@dataclass(frozen=True)
class Plan:
    """One method made ready for a run."""

    method: str
    preset: str
    settings: Any  # for the record
    dim: int | None  # of w; None: the whole prompt space
    projection_std: float | None
    budget: int | None  # queries; None: until the steps or the time are done
    planned: int | None  # queries that the run will take at most, for display
    make: Make
    integer: bool = False  # whether products in integers are exact enough: the method takes no finite differences
    early_stop: bool = True  # whether the prompt that validates best wins, not the one of the lowest training loss
    context_tokens: int | None = None  # where the user asks for no number; None: as many as the template's words


def plan(method: str | None, preset: str, paper_task: str, budget: int | None, timed: bool) -> Plan:
    """The plan of `method`, the default if None, for `budget` queries.

    Without a budget it is the preset's own, or none where time ends the run (`timed`).

    Raises UserError for a method or preset that does not exist.
    """
    if method is None:  # the paper's settings are of the paper's method
        method = "sharpzo" if preset == "paper" else DEFAULT_METHOD
    if method not in METHODS:
        raise UserError(f"--method {method}: choose one of {', '.join(METHODS)}")
    if preset not in ("default", "paper"):
        raise UserError(f"--preset {preset}: choose default or paper")
    if preset == "paper":
        if method != "sharpzo":
            raise UserError(f"--preset paper is of SharpZO: add --method sharpzo, or leave --preset out for {method}")
        paper = paper_preset(paper_task)
        return _sharpzo(method, preset, paper.settings, budget, paper.projection_std)
    if method == "sharpzo":
        spend = budget or (None if timed else DEFAULT.budget)
        return _sharpzo(method, preset, DEFAULT.settings, spend)
    spend = budget or (None if timed else DEFAULT_BUDGET)
    plain = DEFAULT.settings
    if method == "cma-es":
        return replace(_sharpzo(method, preset, replace(plain, rho=0.0, change_point=plain.steps), spend), integer=True)
    if method == "zo-sgd":
        return _sharpzo(method, preset, replace(plain, pruning_ratio=0.0, change_point=0), spend)
    if method == "gauss-newton":
        settings = GaussNewtonSettings()
        if spend:  # at most a hundredth of the budget for the starting points
            settings = replace(settings, starts=max(1, min(settings.starts, spend // 100)))

        def gauss_newton(dim: int, loss: ConvexLoss, seed: int, difference: float = 0.0) -> Optimizer:
            return GaussNewton(dim, loss, replace(settings, difference=max(settings.difference, difference)), seed)

        return Plan(method, preset, settings, None, None, spend, spend, gauss_newton, early_stop=False, context_tokens=GAUSS_NEWTON_CONTEXT)
    if method == "cge":
        mu, length = plain.mu_sharpness, 4.0

        def cge(dim: int, _: ConvexLoss, seed: int, difference: float = 0.0) -> Optimizer:
            return CgeDescent(dim, max(mu, difference), length, seed)

        return Plan(method, preset, {"mu": mu, "step_length": length}, DEFAULT.dim, None, spend, spend, cge)

    def random(dim: int, _: ConvexLoss, seed: int, difference: float = 0.0) -> Optimizer:  # noqa: ARG001 - takes no differences
        return RandomSearch(dim, plain.sigma, seed)

    return Plan(method, preset, {"sigma": plain.sigma}, DEFAULT.dim, None, spend, spend, random, integer=True)


def _sharpzo(method: str, preset: str, settings: SharpZOSettings, budget: int | None, projection_std: float | None = None) -> Plan:
    def sharpzo(dim: int, _: ConvexLoss, seed: int, difference: float = 0.0) -> Optimizer:
        if preset == "paper":
            return SharpZO(dim, settings, seed)
        steps = {name: max(getattr(settings, name), difference) for name in ("mu_rge", "mu_sharpness", "mu_mask")}
        return SharpZO(dim, replace(settings, **steps), seed)

    return Plan(method, preset, settings, DEFAULT.dim, projection_std, budget, budget or planned_queries(settings, DEFAULT.dim), sharpzo)
