"""Pictures of the station's pages, light and dark, desktop and phone, to be looked at.

    python -m tools.screenshots OUT [--data DIR]

Without --data: 20 photos each of the three classes of conformal-clip-data, one of them mislabelled.
The station works on a copy.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tools.browser import browser, station

PAGES = {"photos": "/", "learn": "/learn", "look": "/look", "try": "/try", "take": "/take"}
SIZES = {"desktop": (1280, 860), "phone": (360, 740)}
PHOTOS = 20  # of each class
LEARNT = 600_000  # ms


def demo_photos(root: Path) -> None:
    """Photos of fabric; one with a global defect lies among those without."""
    from conformal_clip_data import textile_simulated_root

    for name in ("nominal", "local", "global"):
        files = sorted((textile_simulated_root() / name).glob("*.jpg"))[: PHOTOS + 1]
        (root / name).mkdir()
        for file in files[:PHOTOS]:
            shutil.copy(file, root / name)
        if name == "global":
            shutil.copy(files[PHOTOS], root / "nominal" / f"mislabelled-{files[PHOTOS].name}")


class Pictures:
    """Takes pictures of one way to look at the pages."""

    def __init__(self, chrome: Any, address: str, out: Path, scheme: str, size: str):
        width, height = SIZES[size]
        self._context = chrome.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=size == "phone",
            is_mobile=size == "phone",
            device_scale_factor=2 if size == "phone" else 1,
        )
        self._page = self._context.new_page()
        self._page.on("console", lambda message: print(f"{scheme} {size}: {message.text}"))
        self._page.on("pageerror", lambda error: print(f"{scheme} {size}: {error}"))
        self._address, self._out, self._suffix = address, out, f"{scheme}-{size}"

    def close(self) -> None:
        """Takes no more."""
        self._context.close()

    def take(
        self, name: str, path: str, before: Callable[[Any], object] = lambda page: None
    ) -> None:
        """A picture of a page, and one of all of it as far as it can be scrolled."""
        self._page.goto(self._address + path)
        self._page.wait_for_timeout(1500)
        before(self._page)
        self._page.wait_for_timeout(700)
        self._page.screenshot(path=self._out / f"{name}-{self._suffix}.png")
        self._page.screenshot(path=self._out / f"{name}-{self._suffix}-whole.png", full_page=True)


def take_begin(chrome: Any, folder: Path, out: Path) -> None:
    """Pictures of a station without a photo."""
    (folder / "empty").mkdir()
    with station(folder / "empty", folder / "none") as address:
        for scheme, size in (("light", "desktop"), ("dark", "phone")):
            pictures = Pictures(chrome, address, out, scheme, size)
            pictures.take("begin", "/")
            pictures.close()


def learn(chrome: Any, address: str) -> None:
    """Has the station learn, to the end."""
    page = chrome.new_page()
    page.goto(f"{address}/learn")
    page.locator("#learn-go:not([disabled])").click()
    page.get_by_role("heading", name="Learnt", exact=True).wait_for(timeout=LEARNT)
    page.close()


def press(name: str) -> Callable[[Any], object]:
    """Presses the first button whose name begins so."""
    return lambda page: page.get_by_role("button", name=name).first.click()


def choose_two(page: Any) -> None:
    """Chooses two photos."""
    for i in (0, 2):
        page.locator(".tile input").nth(i).check()


def try_photo(photo: Path) -> Callable[[Any], object]:
    """Tries a photo."""

    def act(page: Any) -> None:
        with page.expect_file_chooser() as asked:
            page.get_by_role("button", name="Choose a photo").click()
        asked.value.set_files(photo)
        page.locator(".verdict").wait_for()

    return act


def take_all(chrome: Any, address: str, out: Path, photo: Path) -> None:
    """Every picture."""
    for scheme in ("light", "dark"):
        for size in SIZES:
            pictures = Pictures(chrome, address, out, scheme, size)
            for name, path in PAGES.items():
                pictures.take(name, path, *([try_photo(photo)] if name == "try" else []))
            pictures.take("chosen", "/", choose_two)
            pictures.take("class", "/", press("Change the class"))
            pictures.take("camera", "/", press("Camera for"))
            pictures.take("photo", "/", lambda page: page.locator(".tile img").nth(1).click())
            pictures.take("cell", "/look", lambda page: page.locator(".wrong button").first.click())
            pictures.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="folder of photos, a subfolder for each class")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="edge-sharpzo-station-") as folder:
        data = Path(folder) / "imgs"
        if given.data:
            shutil.copytree(given.data, data)
        else:
            data.mkdir()
            demo_photos(data)
        photo = next(file for file in sorted(data.rglob("*.*")) if file.is_file())
        with station(data, Path(folder) / "run") as address, browser() as chrome:
            take_begin(chrome, Path(folder), given.out)
            learn(chrome, address)
            take_all(chrome, address, given.out, photo)
    print(f"{len(list(given.out.glob('*.png')))} pictures in {given.out}")


if __name__ == "__main__":
    main()
