"""Fixtures: an album of two classes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from album.places import write
from edge_sharpzo.album import Album


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two photos."""
    write(tmp_path / "data", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/3.png")
    return tmp_path / "data"


@pytest.fixture
def album(root: Path) -> Iterator[Album]:
    with Album.open(root) as album:
        yield album
