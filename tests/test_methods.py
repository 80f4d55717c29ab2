"""What every method promises, on functions whose minimum is known."""

from collections.abc import Callable
from typing import Any

import cma
import numpy as np
import pytest

from edge_sharpzo.methods import Optimizer
from edge_sharpzo.methods.estimators import cge_points, pair_points, rge_gradient, slopes
from edge_sharpzo.methods.presets import DEFAULT, PAPER_TASKS, SharpZOSettings, paper_preset, planned_queries, within_budget
from edge_sharpzo.methods.sharpzo import SharpZO, pruning_mask, sharpness_direction

DIM = 12
SMALL = SharpZOSettings(
    sigma=0.5,
    rho=0.1,
    learning_rate=0.002,
    mu_rge=1e-3,
    mu_sharpness=1e-3,
    mu_mask=1e-3,
    steps=200,
    change_point=40,
    population=10,
    mask_every=50,
)
CENTRE = np.linspace(-1, 1, DIM)


def quadratic(points: np.ndarray) -> np.ndarray:
    return ((points - CENTRE) ** 2 * np.arange(1, DIM + 1)).sum(axis=1)


def run(optimizer: Optimizer, budget: int, loss: Callable[[np.ndarray], np.ndarray] = quadratic) -> list[tuple[Any, ...]]:
    """The trace (kind, losses) of a run of at most `budget` queries."""
    trace, used = [], 0
    while not optimizer.finished:
        kind, points = optimizer.kind, optimizer.ask()
        used += len(points)
        if used > budget:
            break
        losses = loss(points)
        optimizer.tell(losses)
        trace.append((kind, optimizer.stage, losses.tolist()))
    return trace


METHODS: dict[str, Callable[[int], Optimizer]] = {
    "sharpzo": lambda seed: SharpZO(DIM, SMALL, seed),
    "sharpzo, eps* refreshed every 4": lambda seed: SharpZO(DIM, SharpZOSettings(**{**vars(SMALL), "sharpness_every": 4}), seed),
    "sharpzo, normalised steps": lambda seed: SharpZO(DIM, SharpZOSettings(**{**vars(SMALL), "normalized_steps": True, "learning_rate": 0.01}), seed),
    "sharpzo, automatic change": lambda seed: SharpZO(DIM, SharpZOSettings(**{**vars(SMALL), "change_point": None}), seed),
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


def test_beats_random_search(make: Callable[[int], Optimizer]) -> None:
    optimizer, rng = make(0), np.random.default_rng(0)
    run(optimizer, 2000)
    random_best = quadratic(rng.normal(0, 0.7, (2000, DIM))).min()
    assert quadratic(optimizer.mean[None])[0] < 0.5 * random_best


def test_losses_that_are_not_finite_do_not_win(make: Callable[[int], Optimizer]) -> None:
    """NaN wherever the first coordinate is positive: the minimum at CENTRE[0] = -1 is still found."""
    optimizer = make(0)
    run(optimizer, 3000, lambda points: np.where(points[:, 0] > 0.3, np.nan, quadratic(points)))
    assert np.isfinite(optimizer.mean).all()
    assert optimizer.mean[0] < 0.3
    assert quadratic(optimizer.mean[None])[0] < quadratic(np.zeros((1, DIM)))[0]


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
    assert rge_gradient(points @ np.array([3.0, 1.0]), np.array([[2.0, 0.0]]), 0.5).tolist() == [12.0, 0.0]


def test_eps_has_length_rho() -> None:
    assert sharpness_direction(np.array([3.0, 4.0]), 0.1).tolist() == pytest.approx([0.06, 0.08])
    assert sharpness_direction(np.zeros(2), 0.1).tolist() == [0, 0]


def test_pruning_mask_by_hand() -> None:
    """g^2 = 0, 4, 16, 4: mean 6, standard deviation 6; z = -1, -1/3, 5/3, -1/3; w^2 = 1, 1, 1, 9.

    S = -1, -1/3, 5/3, -3: the best half are coordinates 2 and 1.
    """
    assert pruning_mask(np.array([1.0, 1, 1, 3]), np.array([0.0, 2, -4, 2]), 0.5).tolist() == [0, 1, 1, 0]


def test_without_sharpness_stage_one_is_plain_cma_es() -> None:
    settings = SharpZOSettings(**{**vars(SMALL), "rho": 0.0, "change_point": 30})
    ours = SharpZO(DIM, settings, seed=5)
    rng = np.random.default_rng([5, 0x57])
    plain = cma.CMAEvolutionStrategy(
        settings.start_std * rng.standard_normal(DIM),
        settings.sigma,
        {"popsize": settings.population, "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape), "verbose": -9},
    )
    for _ in range(29):
        assert ours.kind == "population"
        points, wanted = ours.ask(), np.array(plain.ask())
        assert np.array_equal(points, wanted)
        ours.tell(quadratic(points))
        plain.tell(list(wanted), quadratic(wanted).tolist())
        assert np.array_equal(ours.mean, plain.mean)


def test_fitness_is_taken_at_the_perturbed_point_and_told_at_the_plain_one() -> None:
    optimizer = SharpZO(DIM, SMALL, 0)
    gradient = 2 * (optimizer.mean - CENTRE) * np.arange(1, DIM + 1)
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
    before = optimizer.mean.copy()
    for _ in range(20):
        optimizer.tell(quadratic(optimizer.ask()))
    assert ((optimizer.mean == before) == (optimizer._mask == 0)).all()
    assert (optimizer._mask == 0).sum() == DIM // 2


def test_normalised_steps_do_not_see_the_scale_of_the_loss() -> None:
    settings = SharpZOSettings(**{**vars(SMALL), "normalized_steps": True, "learning_rate": 0.01, "rho": 0.0})
    plain, scaled = SharpZO(DIM, settings, 0), SharpZO(DIM, settings, 0)
    run(plain, 10**9)
    run(scaled, 10**9, lambda points: 1000 * quadratic(points))
    assert np.allclose(plain.mean, scaled.mean, atol=1e-6)


def test_automatic_change_after_so_many_generations_without_gain() -> None:
    settings = SharpZOSettings(**{**vars(SMALL), "change_point": None, "patience": 3, "min_gain": 0.01})
    optimizer = SharpZO(DIM, settings, 0)
    for accuracy in (0.5, 0.6, 0.605, 0.61, 0.55):
        assert optimizer.stage == "warm-up"
        for _ in range(2):
            optimizer.tell(quadratic(optimizer.ask()))
        optimizer.observe(accuracy)
    assert optimizer.stage == "search"
    assert optimizer.kind == "mask"


@pytest.mark.parametrize("task", PAPER_TASKS)
def test_paper_presets_hold_the_papers_common_settings(task: str) -> None:
    preset = paper_preset(task)
    settings = preset.settings
    assert (preset.dim, settings.population, settings.rho, settings.mask_every, settings.directions) == (512, 40, 0.1, 200, 1)
    assert (settings.pruning_ratio, settings.mu_rge, settings.mu_mask, settings.steps) == (0.5, 1e-3, 1e-5, 20_000)
    assert settings.sharpness_every == 1
    assert settings.mu_sharpness == (1e-5 if task in ("dtd", "imagenet") else 1e-3)


def test_paper_eurosat_column() -> None:
    settings = paper_preset("eurosat").settings
    assert (settings.sigma, settings.change_point, settings.learning_rate, paper_preset("eurosat").projection_std) == (0.4, 500, 1e-3, 1.0)


def test_the_default_scales_with_the_model() -> None:
    assert DEFAULT.projection_std is None


def test_a_budget_places_an_open_change_point() -> None:
    settings = SharpZOSettings(**{**vars(SMALL), "change_point": None, "rho": 0.0})
    assert within_budget(settings, DIM, 1100).change_point == int(0.7 * 1100 / 11)
    assert within_budget(SMALL, DIM, 1100) is SMALL
    assert within_budget(settings, DIM, 100).change_point == settings.steps  # a mask would cost too much of it
