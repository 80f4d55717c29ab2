"""A page of the station in a real browser, and what tests do with it."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from helpers import write_photos
from stations import MARKED

RED, GREEN = 0, 90


DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}


PATHS = ["/", "/learn", "/look", "/try", "/take"]


SHOWN = {  # when it has all that it shows of two classes
    "/": "#waiting .mend",
    "/learn": "#learn-go:not([disabled])",
    "/look": "#lists .mend",
    "/try": "#choose",
    "/take": "#take-why:not(:empty)",
}


WAIT = 60_000  # ms, at the longest


LEARNT = 400_000  # ms, for the real model on two busy cores


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, page: Any, address: str):
        self.page, self.address = page, address
        self.faults: list[str] = []
        self.outside: list[str] = []
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._heard)
        page.on("request", self._asked)
        page.on("filechooser", lambda chooser: None)  # or keys may be quicker than its interception

    def _heard(self, message: Any) -> None:
        # A photo, or a class, may be asked for at the very moment at which it moves.
        asked = message.location["url"]
        gone = "404" in message.text and (asked.endswith("/thumbnail") or "?class=" in asked)
        if message.type in ("error", "warning") and not gone:
            self.faults.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((f"{self.address}/", "blob:", "data:")):
            self.outside.append(request.url)

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def choose(self, press: Callable[[], object], files: list[Path] | Path) -> None:
        """Presses what asks for files, and gives these."""
        with self.page.expect_file_chooser() as asked:
            press()
        asked.value.set_files(files)

    def state(self) -> dict[str, Any]:
        return self.page.evaluate("fetch('/api/state').then((answer) => answer.json())")

    def fine(self) -> None:
        assert self.faults == []
        assert self.outside == []


@contextmanager
def opened(chrome: Any, address: str, **how: object) -> Iterator[Watched]:
    """A page of the station at `address`."""
    context = chrome.new_context(viewport=DESKTOP, **how)
    page = context.new_page()
    try:
        yield Watched(page, address)
    finally:
        page.unroute_all(behavior="ignoreErrors")
        context.close()


def asking(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers=MARKED, timeout=60, trust_env=False)


def settled(address: str) -> None:
    """Has a station look at its folder now, and waits until it has."""
    with asking(address) as client:
        client.post("/api/classes", json={"name": "so that it looks"})
        client.post("/api/undo")
        ends = time.monotonic() + 60
        while client.get("/api/state").json()["look"]["state"] == "working":
            assert time.monotonic() < ends
            time.sleep(0.1)


def photos_of(folder: Path, hue: int, count: int, seed: int) -> list[Path]:
    write_photos(folder, hue, count, seed=seed)
    return sorted(folder.iterdir())


def two_classes(root: Path) -> None:
    """Photos of two classes, as a data folder; one red photo is called green."""
    write_photos(root / "red things", RED, 8, seed=1)
    write_photos(root / "green things", GREEN, 8, seed=1)
    wrong = photos_of(root.parent / "wrong", RED, 1, seed=9)[0]
    shutil.copy(wrong, root / "green things" / "wrong.png")


def add_class(web: Watched, name: str, files: list[Path]) -> None:
    page = web.page
    page.get_by_label("Name of a new class").fill(name)
    page.get_by_role("button", name="Add class").click()
    add = page.get_by_role("button", name=f"Add photos to {name}")
    web.choose(add.click, files)
    page.get_by_text(f"{len(files)} photos added to “{name}”").wait_for()


def visit(page: Any, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def learn(page: Any) -> None:
    page.locator("#learn-go:not([disabled])").click()
    page.get_by_role("heading", name="Learnt", exact=True).wait_for(timeout=LEARNT)


def chosen(page: Any, name: str, *files: Path) -> None:
    with page.expect_file_chooser() as asked:
        page.get_by_role("button", name=name).click()
    asked.value.set_files(files)


def changed(page: Any, path: str, change: Callable[[Any], object]) -> None:
    """Has the page hear something else than the station says."""

    def answer(route: Any) -> None:
        said = route.fetch()
        body = said.json()
        change(body)
        route.fulfill(response=said, json=body)

    page.route(re.compile(path), answer)


def until(page: Any, is_so: str) -> None:
    """Waits until a script says so; the page's own rules keep playwright from waiting for it."""
    ends = time.monotonic() + WAIT / 1000
    while not page.evaluate(is_so):
        assert time.monotonic() < ends, is_so
        page.wait_for_timeout(100)


ASK_AGAIN = "import('/static/state.js').then((state) => state.refresh())"


def quiet(page: Any) -> None:
    """What the station tells comes when it is asked alone."""
    nothing = {"content_type": "text/event-stream", "body": ": nothing new\n\n"}
    page.route("**/api/events", lambda route: route.fulfill(**nothing))


def waiting_photos(web: Watched) -> list[dict[str, Any]]:
    with asking(web.address) as client:
        photos: list[dict[str, Any]] = client.get("/api/photos?set-aside=1").json()["photos"]
    return photos
