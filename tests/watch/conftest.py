"""Fixtures: what makes waiting short."""

import pytest

from edge_sharpzo.watching import folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files stand still within a tenth of a second."""
    monkeypatch.setattr(folder, "STILL", 0.1)
    monkeypatch.setattr(folder, "PATIENCE", 0.4)
    monkeypatch.setattr(folder, "SHORTEST", 0.02)
