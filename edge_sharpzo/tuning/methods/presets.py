"""Settings of SharpZO: this project's defaults, and the paper's Table 8."""

from dataclasses import dataclass
from math import ceil

from edge_sharpzo.system.errors import UserError


@dataclass(frozen=True)
class SharpZOSettings:
    """SharpZO's settings under the paper's symbols; lengths in units of w."""

    sigma: float  # initial step size of CMA-ES
    rho: float  # length of the sharpness perturbation eps*
    learning_rate: float  # eta of stage 2; of normalised steps: rms length of a step's coordinates
    mu_rge: float  # finite-difference step of stage 2
    mu_sharpness: float  # of the CGE behind eps*
    mu_mask: float  # of the CGE behind the pruning mask
    steps: int  # T, generations and gradient steps together
    # Tc, the generations of stage 1; None: a share of the run, or until validation stands still.
    change_point: int | None
    sharpness_every: int = 1  # generations that share one eps*
    population: int = 40  # S
    mask_every: int = 200  # K
    directions: int = 1  # q
    pruning_ratio: float = 0.5
    start_std: float = 0.02  # w ~ N(0, start_std^2) at the start
    # Stage 2 divides its estimates by their running rms, so that eta suits any loss.
    normalized_steps: bool = False
    patience: int = 10  # generations without a gain before an automatic change
    min_gain: float = 0.01  # in validation accuracy


@dataclass(frozen=True)
class SharpZOPreset:
    """SharpZO's settings together with the space it searches."""

    name: str
    settings: SharpZOSettings
    dim: int = 512  # d
    projection_std: float | None = (
        None  # of A's entries; None: in standard deviations of the token embeddings
    )
    budget: int | None = None  # queries; None: until the steps are done


# Table 8: sigma, Tc, eta; and the standard deviation of A in the released code's settings for that
# data set.
PAPER_TASKS = {
    "pets": (0.1, 100, 1e-3, 0.2),
    "flowers": (0.4, 500, 1e-3, 0.2),
    "fgvc": (0.2, 400, 1e-3, 0.2),
    "dtd": (0.4, 300, 1e-3, 1.0),
    "eurosat": (0.4, 500, 1e-3, 1.0),
    "cars": (1.0, 100, 1e-3, 0.2),
    "food": (0.1, 100, 1e-3, 0.2),
    "sun": (0.4, 400, 1e-1, 0.2),
    "caltech": (0.4, 200, 1e-3, 0.2),
    "ucf": (0.1, 200, 1e-3, 0.2),
    "imagenet": (1.0, 200, 1e-1, 1.0),
}


def paper_preset(task: str) -> SharpZOPreset:
    """The settings of one column of Table 8. Raises UserError for a set that it lacks."""
    if task not in PAPER_TASKS:
        raise UserError(
            f"`paper_task={task}`: the paper's table has {', '.join(PAPER_TASKS)}",
            field="paper_task",
        )
    sigma, change_point, learning_rate, projection_std = PAPER_TASKS[task]
    settings = SharpZOSettings(
        sigma=sigma,
        rho=0.1,
        learning_rate=learning_rate,
        mu_rge=1e-3,
        mu_sharpness=1e-5 if task in ("dtd", "imagenet") else 1e-3,
        mu_mask=1e-5,
        steps=20_000,
        change_point=change_point,
    )
    return SharpZOPreset("paper", settings, projection_std=projection_std)


# A point at a distance of sqrt(dim) moves every context element by one standard deviation of the
# token embeddings, and good prompts lie 10 to 20 of those from the initial words; hence sigma. rho
# and the finite-difference steps keep about the paper's proportions to sigma.
DEFAULT = SharpZOPreset(
    "default",
    SharpZOSettings(
        sigma=16.0,
        rho=4.0,
        learning_rate=0.8,
        normalized_steps=True,
        mu_rge=0.1,
        mu_sharpness=0.5,
        mu_mask=0.5,
        steps=10**9,  # the budget or the time ends it
        change_point=None,
        sharpness_every=100,
        mask_every=1000,
    ),
    budget=15_000,
)


def planned_queries(settings: SharpZOSettings, dim: int) -> int | None:
    """Queries of a whole run, validation aside; None where the change point is automatic."""
    if settings.change_point is None:
        return None
    warm_up, search = settings.change_point, settings.steps - settings.change_point
    sharpness = warm_up // settings.sharpness_every if settings.rho > 0 else 0
    masks = ceil(search / settings.mask_every) if settings.pruning_ratio > 0 else 0
    return (
        warm_up * settings.population
        + search * 2 * settings.directions
        + (sharpness + masks) * 2 * dim
    )
