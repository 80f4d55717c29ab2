"""Fixtures: pages of stations in a real browser.

Skipped where no Chromium or no playwright is found; `make browser` installs both.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from browser.web import Watched, asking, opened, settled, two_classes
from tools.browser import browser, chromium, station


@pytest.fixture(scope="package")
def chrome() -> Iterator[Any]:
    if find_spec("playwright") is None or chromium() is None:
        pytest.skip("no playwright or no Chromium here: `make browser` installs them")
    with browser() as running:
        yield running


@pytest.fixture
def fresh(chrome: Any, tiny_onnx: Path, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Opens a page on a station of its own, of `imgs` in `tmp_path`."""
    (tmp_path / "imgs").mkdir()
    with ExitStack() as stack:

        def on_its_own(onnx: Path = tiny_onnx, **how: object) -> Watched:
            running = station(tmp_path / "imgs", tmp_path / "run", "--onnx", onnx)
            return stack.enter_context(opened(chrome, stack.enter_context(running), **how))

        yield on_its_own


@pytest.fixture(scope="package")
def shared(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A station that nothing is tuned with: its folder, and its address."""
    root = tmp_path_factory.mktemp("shared")
    two_classes(root / "imgs")
    with station(root / "imgs", root / "run", "--onnx", tiny_onnx) as address:
        yield root / "imgs", address


@pytest.fixture
def imgs(shared: tuple[Path, str], tmp_path: Path) -> Path:
    """The folder of the shared station: two classes, as at first, and nothing to undo."""
    folder, address = shared
    with asking(address) as client:
        while client.post("/api/undo").status_code == 200:
            pass
    for each in folder.iterdir():
        if each.name != ".station":
            shutil.rmtree(each)
    two_classes(tmp_path / "first" / "imgs")
    shutil.copytree(tmp_path / "first" / "imgs", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def watched(chrome: Any, shared: tuple[Path, str], imgs: Path) -> Iterator[Callable[..., Watched]]:
    """Opens a page on the shared station, once that has seen what lies in `imgs`."""
    assert imgs == shared[0]
    with ExitStack() as stack:

        def once_seen(**how: object) -> Watched:
            settled(shared[1])
            return stack.enter_context(opened(chrome, shared[1], **how))

        yield once_seen
