"""What every method promises, on functions whose minimum is known."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cma
import numpy as np
import pytest
from helpers import CENTRE, DIM, SMALL, Squares, quadratic, residuals, run
from safetensors.numpy import load_file, save_file

from edge_sharpzo.tuning.methods.cge_descent import CgeDescent
from edge_sharpzo.tuning.methods.estimators import cge_points, pair_points, rge_gradient, slopes
from edge_sharpzo.tuning.methods.gauss_newton import GaussNewton, GaussNewtonSettings, basis_vectors
from edge_sharpzo.tuning.methods.plan import Request
from edge_sharpzo.tuning.methods.presets import (
    DEFAULT,
    PAPER_TASKS,
    SharpZOSettings,
    paper_preset,
    planned_queries,
)
from edge_sharpzo.tuning.methods.protocol import Optimizer
from edge_sharpzo.tuning.methods.random_search import RandomSearch
from edge_sharpzo.tuning.methods.registry import METHODS as NAMES
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.methods.sharpzo import SharpZO, pruning_mask, sharpness_direction

SMALL_GN = GaussNewtonSettings(start_radius=0.7, starts=6, directions=4, window=8)
METHODS: dict[str, Callable[[int], Optimizer]] = {
    "gauss-newton": lambda seed: GaussNewton(DIM, Squares(), SMALL_GN, seed),
    "sharpzo": lambda seed: SharpZO(DIM, SMALL, seed),
    "sharpzo, eps* refreshed every 4": lambda seed: SharpZO(
        DIM, SharpZOSettings(**{**vars(SMALL), "sharpness_every": 4}), seed
    ),
    "sharpzo, normalised steps": lambda seed: SharpZO(
        DIM,
        SharpZOSettings(**{**vars(SMALL), "normalized_steps": True, "learning_rate": 0.01}),
        seed,
    ),
    "sharpzo, automatic change": lambda seed: SharpZO(
        DIM, SharpZOSettings(**{**vars(SMALL), "change_point": None}), seed
    ),
    "cma-es": lambda seed: SharpZO(
        DIM, SharpZOSettings(**{**vars(SMALL), "rho": 0.0, "change_point": 200}), seed
    ),
    "zo-sgd": lambda seed: SharpZO(
        DIM,
        SharpZOSettings(**{**vars(SMALL), "change_point": 0, "pruning_ratio": 0.0, "steps": 10**6}),
        seed,
    ),
    "cge": lambda seed: CgeDescent(DIM, 1e-3, 0.02, seed),
    "random": lambda seed: RandomSearch(DIM, 0.7, seed),
}


@pytest.fixture(params=METHODS)
def make(request: pytest.FixtureRequest) -> Callable[[int], Optimizer]:
    return METHODS[request.param]


def test_same_seed_same_trace(make: Callable[[int], Optimizer]) -> None:
    assert run(make(3), 3000) == run(make(3), 3000)
    assert run(make(3), 3000) != run(make(4), 3000)


def test_seed_zero_is_a_seed_like_any_other(make: Callable[[int], Optimizer]) -> None:
    assert run(make(0), 500) == run(make(0), 500)


def test_the_global_generator_is_left_alone(make: Callable[[int], Optimizer]) -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    run(make(0), 1000)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]


def test_pycma_leaves_the_global_generator_alone_in_many_dimensions_too() -> None:
    """From some dimension on it adapts its step size in another way."""
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    optimizer = SharpZO(512, replace(DEFAULT.settings, rho=0.0), 0)
    for _ in range(8):
        optimizer.tell((optimizer.ask() ** 2).sum(axis=1))
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]


def test_beats_random_search(make: Callable[[int], Optimizer]) -> None:
    optimizer, rng = make(0), np.random.default_rng(0)
    run(optimizer, 2000)
    random_best = quadratic(rng.normal(0, 0.7, (2000, DIM))).min()
    # Random search itself must be no worse.
    allowed = 1.5 if isinstance(optimizer, RandomSearch) else 0.5
    assert quadratic(optimizer.solution[None])[0] < allowed * random_best


@pytest.mark.parametrize("told", [1, 7, 60])
def test_resuming_equals_going_on(
    make: Callable[[int], Optimizer], told: int, tmp_path: Path
) -> None:
    """The state goes through a file, as a checkpoint does."""
    whole, first, second = make(3), make(3), make(3)
    for optimizer in (whole, first):
        for step in range(told):
            points = optimizer.ask()
            optimizer.tell(quadratic(points), residuals(points))
            if step % 3 == 2:
                optimizer.observe(0.5 + step / 1000, max(60.0, 3000 - 60 * step))
    save_file(
        {name: np.ascontiguousarray(array) for name, array in first.state().items()},
        tmp_path / "state",
    )
    second.restore(load_file(tmp_path / "state"))
    if told == 60 and isinstance(whole, SharpZO) and whole.settings.change_point is None:
        assert whole.stage == "search"  # changed by the queries left
    assert run(second, 1000) == run(whole, 1000)
    assert np.array_equal(second.solution, whole.solution)


def test_every_method_keeps_to_its_budget_and_asks_no_query_beyond() -> None:
    """Through the registry: what `--budget` buys is never overdrawn by the method's own plan."""
    for name in NAMES:
        chosen = plan(name, Request(budget=300))
        assert chosen.budget == 300
        asked = sum(len(losses) for _, _, losses in run(chosen.make(DIM, Squares(), 0), 300))
        assert 0 < asked <= 300


def test_losses_that_are_not_finite_do_not_win(make: Callable[[int], Optimizer]) -> None:
    """NaN wherever the first coordinate is positive: the minimum at -1 is still found."""
    optimizer = make(0)

    def loss(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 0] > 0.3, np.nan, quadratic(points))

    def box(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, :1] > 0.3, np.nan, residuals(points))

    run(optimizer, 3000, loss, box)
    assert np.isfinite(optimizer.solution).all()
    assert optimizer.solution[0] < 0.3
    assert quadratic(optimizer.solution[None])[0] < quadratic(np.zeros((1, DIM)))[0]


def test_cge_is_the_gradient_of_a_quadratic() -> None:
    point = np.random.default_rng(0).standard_normal(DIM)
    gradient = slopes(quadratic(cge_points(point, 1e-3)), 1e-3)
    assert np.allclose(gradient, 2 * (point - CENTRE) * np.arange(1, DIM + 1), atol=1e-6)


def test_rge_is_the_gradient_on_average() -> None:
    rng, point = np.random.default_rng(0), np.zeros(DIM)
    directions = rng.standard_normal((200_000, DIM))
    gradient = rge_gradient(quadratic(pair_points(point, directions, 1e-3)), directions, 1e-3)
    exact = 2 * (point - CENTRE) * np.arange(1, DIM + 1)
    assert np.abs(gradient - exact).max() < 0.03 * np.linalg.norm(exact)


def test_rge_of_one_direction_by_hand() -> None:
    """f(x) = 3 x_0 + x_1 along u = (2, 0): slope 6, gradient (12, 0)."""
    points = pair_points(np.array([1.0, 1.0]), np.array([[2.0, 0.0]]), 0.5)
    assert points.tolist() == [[2.0, 1.0], [0.0, 1.0]]
    assert rge_gradient(points @ np.array([3.0, 1.0]), np.array([[2.0, 0.0]]), 0.5).tolist() == [
        12.0,
        0.0,
    ]


def test_eps_has_length_rho() -> None:
    assert sharpness_direction(np.array([3.0, 4.0]), 0.1).tolist() == pytest.approx([0.06, 0.08])
    assert sharpness_direction(np.zeros(2), 0.1).tolist() == [0, 0]


def test_pruning_mask_by_hand() -> None:
    """g^2 = 0, 4, 16, 4: mean 6, standard deviation 6; z = -1, -1/3, 5/3, -1/3; w^2 = 1, 1, 1, 9.

    S = -1, -1/3, 5/3, -3: the best half are coordinates 2 and 1.
    """
    assert pruning_mask(np.array([1.0, 1, 1, 3]), np.array([0.0, 2, -4, 2]), 0.5).tolist() == [
        0,
        1,
        1,
        0,
    ]


def test_without_sharpness_stage_one_is_plain_cma_es() -> None:
    settings = SharpZOSettings(**{**vars(SMALL), "rho": 0.0, "change_point": 30})
    ours = SharpZO(DIM, settings, seed=5)
    rng = np.random.default_rng([5, 0x57])
    plain = cma.CMAEvolutionStrategy(
        settings.start_std * rng.standard_normal(DIM),
        settings.sigma,
        {
            "popsize": settings.population,
            "seed": np.nan,
            "randn": lambda *shape: rng.standard_normal(shape),
            "verbose": -9,
        },
    )
    for _ in range(29):
        assert ours.kind == "population"
        points, wanted = ours.ask(), np.array(plain.ask())
        assert np.array_equal(points, wanted)
        ours.tell(quadratic(points))
        plain.tell(list(wanted), quadratic(wanted).tolist())
        assert np.array_equal(ours.solution, plain.mean)


def test_fitness_is_taken_at_the_perturbed_point_and_told_at_the_plain_one() -> None:
    optimizer = SharpZO(DIM, SMALL, 0)
    gradient = 2 * (optimizer.solution - CENTRE) * np.arange(1, DIM + 1)
    assert optimizer.kind == "sharpness"
    optimizer.tell(quadratic(optimizer.ask()))
    asked = optimizer.ask()
    plain = np.array(optimizer._sample)
    assert np.allclose(asked - plain, sharpness_direction(gradient, SMALL.rho), atol=1e-6)


def test_stages_follow_the_plan() -> None:
    kinds = [(kind, stage) for kind, stage, _ in run(SharpZO(DIM, SMALL, 0), 10**9)]
    warm_up, search = kinds[:80], kinds[80:]
    assert warm_up[:4] == [("sharpness", "warm-up"), ("population", "warm-up")] * 2
    assert [k for k, _ in search[:3]] == ["mask", "rge", "rge"]
    assert [i for i, (k, _) in enumerate(search) if k == "mask"] == [0, 51, 102, 153]
    assert len([k for k, _ in search if k == "rge"]) == 160


def test_planned_queries_are_those_of_a_run() -> None:
    asked = sum(len(losses) for _, _, losses in run(SharpZO(DIM, SMALL, 0), 10**9))
    assert asked == planned_queries(SMALL, DIM)


def test_masked_coordinates_stand_still_in_stage_two() -> None:
    optimizer = SharpZO(DIM, SMALL, 0)
    while optimizer.kind != "rge":
        optimizer.tell(quadratic(optimizer.ask()))
    before = optimizer.solution.copy()
    for _ in range(20):
        optimizer.tell(quadratic(optimizer.ask()))
    assert ((optimizer.solution == before) == (optimizer._mask == 0)).all()
    assert (optimizer._mask == 0).sum() == DIM // 2


def test_normalised_steps_do_not_see_the_scale_of_the_loss() -> None:
    settings = SharpZOSettings(
        **{**vars(SMALL), "normalized_steps": True, "learning_rate": 0.01, "rho": 0.0}
    )
    plain, scaled = SharpZO(DIM, settings, 0), SharpZO(DIM, settings, 0)
    run(plain, 10**9)
    run(scaled, 10**9, lambda points: 1000 * quadratic(points))
    assert np.allclose(plain.solution, scaled.solution, atol=1e-6)


def test_automatic_change_after_so_many_generations_without_gain() -> None:
    settings = SharpZOSettings(
        **{**vars(SMALL), "change_point": None, "patience": 3, "min_gain": 0.01}
    )
    optimizer = SharpZO(DIM, settings, 0)
    for accuracy in (0.5, 0.6, 0.605, 0.61, 0.55):
        assert optimizer.stage == "warm-up"
        for _ in range(2):
            optimizer.tell(quadratic(optimizer.ask()))
        optimizer.observe(accuracy, math.inf)
    assert optimizer.stage == "search"
    assert optimizer.kind == "mask"


@pytest.mark.parametrize("task", PAPER_TASKS)
def test_paper_presets_hold_the_papers_common_settings(task: str) -> None:
    preset = paper_preset(task)
    settings = preset.settings
    assert (
        preset.dim,
        settings.population,
        settings.rho,
        settings.mask_every,
        settings.directions,
    ) == (512, 40, 0.1, 200, 1)
    assert (settings.pruning_ratio, settings.mu_rge, settings.mu_mask, settings.steps) == (
        0.5,
        1e-3,
        1e-5,
        20_000,
    )
    assert settings.sharpness_every == 1
    assert settings.mu_sharpness == (1e-5 if task in ("dtd", "imagenet") else 1e-3)


def test_paper_eurosat_column() -> None:
    settings = paper_preset("eurosat").settings
    assert (
        settings.sigma,
        settings.change_point,
        settings.learning_rate,
        paper_preset("eurosat").projection_std,
    ) == (0.4, 500, 1e-3, 1.0)


def test_the_default_scales_with_the_model() -> None:
    assert DEFAULT.projection_std is None


@pytest.mark.parametrize(
    ("ratio", "left", "stage"),
    [(0.0, 8, "search"), (0.0, 9, "warm-up"), (0.5, 8, "warm-up"), (0.0, 0, "search")],
)
def test_an_open_change_point_is_a_share_of_the_run(ratio: float, left: float, stage: str) -> None:
    """After 20 queries of 28; not where the pruning mask would eat half of the rest."""
    settings = SharpZOSettings(
        **{**vars(SMALL), "change_point": None, "rho": 0.0, "pruning_ratio": ratio}
    )
    optimizer = SharpZO(DIM, settings, 0)
    for _ in range(2):
        optimizer.tell(quadratic(optimizer.ask()))
    optimizer.observe(0.5, left)
    assert optimizer.stage == stage


def test_gauss_newton_solves_least_squares_in_one_round_when_it_sees_every_direction() -> None:
    """A linear black box: after one sweep of all directions the least damped candidate is the
    minimum.
    """
    settings = GaussNewtonSettings(
        starts=1,
        directions=DIM,
        window=DIM,
        damping=1e-6,
        damping_factors=(1.0, 1e-3),
        min_damping=0.0,
    )
    optimizer = GaussNewton(DIM, Squares(), settings, 0)
    trace = run(optimizer, DIM + 1 + 2)
    assert [kind for kind, _, _ in trace] == ["start", "jacobian", "candidates"]
    assert np.allclose(optimizer.solution, CENTRE, atol=1e-4)


def test_broydens_update_makes_the_columns_predict_the_step() -> None:
    def box(points: np.ndarray) -> np.ndarray:
        return residuals(points) + 0.3 * np.sin(points)

    optimizer = GaussNewton(DIM, Squares(), SMALL_GN, 0)
    for _ in ("start", "jacobian"):
        points = optimizer.ask()
        optimizer.tell(Squares().values(box(points)), box(points))
    before, directions = optimizer.solution.copy(), optimizer._directions
    points = optimizer.ask()
    optimizer.tell(Squares().values(box(points)), box(points))
    taken = directions @ (optimizer.solution - before)
    assert np.linalg.norm(taken) > 0.1
    assert np.allclose(
        taken @ optimizer._columns,
        (box(optimizer.solution[None]) - box(before[None]))[0],
        atol=1e-4,
    )


def test_gauss_newton_starts_at_the_best_of_random_points_and_the_first() -> None:
    optimizer = GaussNewton(DIM, Squares(), SMALL_GN, 0)
    points = optimizer.ask()
    assert len(points) == SMALL_GN.starts
    assert not points[0].any()
    losses = quadratic(points)
    losses[1] = np.nan
    optimizer.tell(losses, residuals(points))
    assert np.array_equal(optimizer.solution, points[np.nanargmin(losses)])


def test_gauss_newton_restarts_anywhere_under_another_loss() -> None:
    """It asks for the point itself again, and then minimises as before."""
    optimizer = GaussNewton(DIM, Squares(), SMALL_GN, 0)
    run(optimizer, 100)
    point = np.full(DIM, 2.0)
    optimizer.restart(point)
    assert optimizer.kind == "jacobian"
    assert np.array_equal(optimizer.ask()[0], point)
    run(
        optimizer,
        800,
        box=lambda points: residuals(points) + 1.0,
        loss=lambda points: ((residuals(points) + 1.0) ** 2).sum(axis=1),
    )
    assert np.allclose(residuals(optimizer.solution[None]), -1, atol=1e-2)


def test_gauss_newton_sweeps_every_direction_once_before_any_comes_again() -> None:
    optimizer, seen = GaussNewton(DIM, Squares(), SMALL_GN, 0), []
    optimizer.tell(quadratic(optimizer.ask()), residuals(optimizer.ask()))
    for _ in range(3):
        points = optimizer.ask()
        seen += optimizer._fresh.tolist()
        optimizer.tell(quadratic(points), residuals(points))
        points = optimizer.ask()
        optimizer.tell(quadratic(points), residuals(points))
    assert sorted(seen) == list(range(DIM))


@pytest.mark.parametrize("dim", [1, 2, DIM, 257])
def test_the_basis_is_orthonormal(dim: int) -> None:
    rows = basis_vectors(np.arange(dim), np.random.default_rng(0).choice((-1.0, 1.0), dim))
    assert np.allclose(rows @ rows.T, np.eye(dim), atol=1e-5)
