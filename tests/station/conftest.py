"""Fixtures: stations that are being served."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from stations import Station, files_of, station


@pytest.fixture
def data(photos: Path, tmp_path: Path) -> Path:
    """Three classes of six photos, without splits."""
    return Path(shutil.copytree(photos / "train", tmp_path / "data"))


@pytest.fixture
def served(tiny_onnx: Path, data: Path, tmp_path: Path) -> Iterator[Station]:
    with station(tiny_onnx, data, tmp_path / "run") as running:
        yield running


@pytest.fixture(scope="package")
def steady_data(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(photos / "train", tmp_path_factory.mktemp("steady") / "data"))


@pytest.fixture(scope="package")
def steady(tiny_onnx: Path, steady_data: Path) -> Iterator[Station]:
    """A station that nothing changes: whatever is asked of it is refused, or reads alone."""
    with station(tiny_onnx, steady_data, steady_data.parent / "run") as running:
        before = {n: c for n, c in files_of(steady_data).items() if n != ".station/lock"}
        running.settled()
        yield running
        after = {n: c for n, c in files_of(steady_data).items() if n != ".station/lock"}
        assert after == before
        assert not any("Traceback" in line for line in running.log)
