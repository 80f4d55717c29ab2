"""The noise floor against noise that was put there."""

import numpy as np
import pytest

from edge_sharpzo.tuning.noise import LARGEST, difference_step, noise_floor


@pytest.mark.parametrize("noise", [1e-7, 1e-3])
def test_noise_is_told_from_a_smooth_function(noise: float) -> None:
    x = 1e-3 * np.arange(7)[:, None] * np.linspace(0.5, 1.5, 4000)
    values = np.sin(x) + noise * np.random.default_rng(0).standard_normal(x.shape)
    assert noise_floor(values) == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize(("noise", "wanted"), [(1e-8, 0.2), (0.01, 2**0.5 * 1.0), (1.0, LARGEST)])
def test_the_step_grows_with_the_noise(noise: float, wanted: float) -> None:
    """Outputs with a slope of one along every direction."""
    rng = np.random.default_rng(0)

    def box(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points, axis=1)[:, None] + noise * rng.standard_normal(
            (len(points), 5000)
        )

    found = difference_step(box, dim=10, shortest=0.2, seed=0)
    assert found.noise == pytest.approx(noise, rel=0.15)
    assert found.step == pytest.approx(wanted, rel=0.2)
    assert found.error == pytest.approx(2**0.5 * noise / found.step, rel=0.2)
    assert found.fit == (noise < 1)


def test_a_flat_box_keeps_the_shortest_step() -> None:
    assert difference_step(lambda points: np.ones((len(points), 3)), 4, 0.2, 0) == (0.2, 0.0, 0.0)
