"""A real browser walks through the station: photos in, learn, look, mend, try, take.

Skipped where no Chromium or no playwright is found; `make browser` installs both.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers import write_photos
from stations import MARKED

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from tools.browser import browser, chromium, station

if find_spec("playwright") is None or chromium() is None:
    pytest.skip(
        "no playwright or no Chromium here: `make browser` installs them", allow_module_level=True
    )

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

ALONE = """
import json, sys
import numpy as np, onnxruntime
from PIL import Image
photo = np.asarray(Image.open(sys.argv[3]).convert("RGB"))
session = onnxruntime.InferenceSession(sys.argv[1])
(row,) = session.run(["probabilities"], {"image": photo})[0]
names = open(sys.argv[2]).read().splitlines()
assert not any("edge_sharpzo" in name for name in sys.modules)
print(json.dumps({"name": names[row.argmax()], "probability": float(row.max())}))
"""

# Every text that is seen and enabled whose contrast to what lies behind it is below AA.
PALE = """() => {
  const rgb = (text) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] > 250) return c;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  const bad = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    const passed = ".unseen, noscript, option, :disabled, [aria-disabled=true], .is-old";
    const text = texts.currentNode.textContent.trim();
    if (!text || !e.checkVisibility() || e.closest(passed)) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgb(style.color)), light(behind(e))];
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) bad.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""

# What can be pressed and is smaller than a thumb needs, or has no name.
AWKWARD = """() => [...document.querySelectorAll("button, a[href], input, select, summary")]
  .filter((e) => e.checkVisibility() && !e.closest(".unseen"))
  .filter((e) => !e.matches(".skip, p a, li a:not(.button)"))
  .filter((e) => {
    const box = (e.closest("label") ?? e).getBoundingClientRect();
    const name = e.getAttribute("aria-label") ?? e.labels?.[0]?.textContent ?? e.textContent;
    return box.height < 24 || box.width < 24 || !name.trim();
  })
  .map((e) => e.outerHTML.slice(0, 120))"""

# Texts that are cut, or stand out of their button or of the page; but for those that a box scrolls.
CUT = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), e = texts.currentNode.parentElement;
    const passed = ".unseen, .skip, noscript, option, #matrix, .brand";
    if (!text || !e.checkVisibility() || e.closest(passed)) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const { left, right } = range.getBoundingClientRect();
    const outer = e.closest("button, a.button, th, dialog")?.getBoundingClientRect();
    const hidden = getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
    const [first, last] = [outer?.left ?? 0, outer?.right ?? innerWidth];
    if (hidden || left < first - 1 || right > last + 1) bad.push(text.slice(0, 60));
  }
  return bad;
}"""

# What can be pressed and is covered by something else wherever the page is scrolled to.
COVERED = """() => {
  const top = document.querySelector("dialog[open]") ?? document;
  const pressed = "button, a[href], input, select, summary, .tile:not(.broken) img";
  const bad = [...top.querySelectorAll(pressed)]
    .filter((e) => e.checkVisibility() && !e.matches(":disabled, .skip") && !e.closest(".unseen"))
    .filter((e) => {
      e.scrollIntoView({ block: "center", inline: "center" });
      const { left, top, width, height } = e.getClientRects()[0];
      const at = document.elementFromPoint(left + width / 2, top + height / 2);
      return !(at && (e.contains(at) || at.contains(e) && at.matches("label, li") ||
        e.closest("label")?.contains(at)));
    }).map((e) => e.outerHTML.slice(0, 120));
  scrollTo(0, 0);
  return bad;
}"""


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


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as opened:
        yield opened


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


@pytest.fixture
def fresh(chrome: Any, tiny_onnx: Path, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Opens a page on a station of its own, of `imgs` in `tmp_path`."""
    (tmp_path / "imgs").mkdir()
    with ExitStack() as stack:

        def on_its_own(onnx: Path = tiny_onnx, **how: object) -> Watched:
            running = station(tmp_path / "imgs", tmp_path / "run", "--onnx", onnx)
            return stack.enter_context(opened(chrome, stack.enter_context(running), **how))

        yield on_its_own


@pytest.fixture(scope="module")
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


def taken_alone(web: Watched, folder: Path, photo: Path) -> str:
    """What the classifier that is taken from the page says of a photo, without this package."""
    page = web.page
    visit(page, "Take")
    for name in ("classifier.onnx", "labels.txt", "run.zip"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {name}").click()
        download.value.save_as(folder / "taken" / name)
    shutil.unpack_archive(folder / "taken" / "run.zip", folder / "unpacked")
    taken = [folder / "taken" / name for name in ("classifier.onnx", "labels.txt")]
    alone = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *taken, photo],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(alone.stdout)["name"]


def test_the_whole_loop(fresh: Callable[..., Watched], tmp_path: Path) -> None:
    web = fresh(accept_downloads=True)
    page = web.open("/")
    page.get_by_role("heading", name="Begin with two classes").wait_for()
    wrong = photos_of(tmp_path / "wrong", RED, 1, seed=9)
    add_class(web, "red things", photos_of(tmp_path / "red", RED, 8, seed=1))
    add_class(web, "green things", photos_of(tmp_path / "green", GREEN, 8, seed=1))
    with web.page.expect_file_chooser() as asked:
        page.get_by_role("button", name="Add photos to green things").click()
    asked.value.set_files(wrong)
    page.get_by_text("1 photo added to “green things”").wait_for()
    assert len(list((tmp_path / "imgs" / "green things").iterdir())) == 9

    visit(page, "Learn")
    learn(page)
    page.get_by_role("img", name="queries the loss is").wait_for()

    visit(page, "Look")
    page.get_by_role("button", name="1 photo of green things read as red things").click()
    page.get_by_role("heading", name="green things, read as red things").wait_for()
    before = page.locator(".score.main strong").inner_text()
    page.locator("#lists section", has_text="Misread").get_by_role(
        "button", name="It is red things"
    ).first.click()
    page.get_by_text("1 photo moved to “red things”").wait_for()
    page.locator(".matrix td.wrong button").wait_for(state="detached")
    assert page.locator(".score.main strong").inner_text() != before
    assert page.locator(".matrix td.right").all_inner_texts() == ["8", "9"]
    assert len(list((tmp_path / "imgs" / "red things").iterdir())) == 9
    page.get_by_role("button", name="Undo: ").click()
    page.get_by_text("Taken back: ").wait_for()
    page.get_by_role("button", name="Redo: ").click()
    page.get_by_text("Done again: ").wait_for()
    assert len(list((tmp_path / "imgs" / "red things").iterdir())) == 9

    visit(page, "Learn")
    page.get_by_role("button", name="Learn again").click()
    page.get_by_text("Learning", exact=True).wait_for()
    page.get_by_role("heading", name="Learnt", exact=True).wait_for()

    visit(page, "Try")
    tried = photos_of(tmp_path / "tried", RED, 1, seed=5)[0]
    web.choose(page.get_by_role("button", name="Choose a photo").click, tried)
    page.get_by_text("Answered by the tuned classifier.").wait_for()
    assert page.locator(".verdict").inner_text().startswith("red things")
    reasons = page.locator(".likes li").all_inner_texts()
    assert reasons
    assert all(text.startswith("red things") for text in reasons)

    assert taken_alone(web, tmp_path, tried) == "red things"
    assert list((tmp_path / "unpacked").rglob("classifier.onnx"))
    web.fine()


@pytest.mark.slow
def test_the_loop_on_real_photos(fresh: Callable[..., Watched], tmp_path: Path) -> None:
    fabric = pytest.importorskip("conformal_clip_data").textile_simulated_root()
    flawed, plain = (sorted((fabric / name).glob("*.jpg")) for name in ("global", "nominal"))
    web = fresh(EMBEDDED_MODEL, accept_downloads=True)
    page = web.open("/")
    add_class(web, "flawed", flawed[:12])
    add_class(web, "plain", [*plain[:12], flawed[12]])
    visit(page, "Learn")
    learn(page)
    visit(page, "Look")
    page.locator(".score.main").wait_for()
    mend = page.locator("#lists section", has_text="Labels to look at").locator(".mend")
    assert mend.count() == 1
    mend.get_by_role("button", name="It is flawed").click()
    page.get_by_text("1 photo moved to “flawed”").wait_for()
    assert len(list((tmp_path / "imgs" / "flawed").iterdir())) == 13
    visit(page, "Learn")
    page.get_by_role("heading", name="Changed since it learnt").wait_for()
    learn(page)
    visit(page, "Try")
    web.choose(page.get_by_role("button", name="Choose a photo").click, flawed[40])
    page.get_by_text("Answered by the tuned classifier.").wait_for()
    assert page.locator(".verdict").inner_text().startswith("flawed")
    assert taken_alone(web, tmp_path, flawed[40]) == "flawed"
    web.fine()


def tab_to(page: Any, name: str, back: bool = False) -> None:
    """Presses Tab until what is focused is called so."""
    seen = []
    for _ in range(120):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        now = page.evaluate(
            "(({ ariaLabel, labels, textContent }) => (ariaLabel ?? labels?.[0]?.textContent"
            " ?? textContent).trim())(document.activeElement)"
        )
        if now.startswith(name):
            outline = page.evaluate(
                "getComputedStyle(document.activeElement.closest('.tile') ??"
                " document.activeElement).outlineStyle"
            )
            assert outline != "none" or page.evaluate("document.activeElement.type") == "checkbox"
            return
        seen.append(now)
    raise AssertionError(f"Tab does not come to {name!r}, but to {seen}")


def test_by_keyboard_alone(watched: Callable[..., Watched], imgs: Path, tmp_path: Path) -> None:
    web = watched()
    page = web.open("/")
    page.get_by_label("Photo 8 of red things").wait_for()
    press = page.keyboard.press
    press("Tab")
    press("Enter")  # "Skip to the content"
    assert page.evaluate("document.activeElement.id") == "main"

    tab_to(page, "Name of a new class")
    page.keyboard.type("blue things")
    press("Enter")
    page.get_by_role("heading", name="blue things").wait_for()
    page.locator(":focus[aria-label='Add photos to blue things']").wait_for()
    blue = photos_of(tmp_path / "blue", 170, 4, seed=1)
    web.choose(lambda: press("Enter"), blue)
    page.get_by_text("4 photos added to “blue things”").wait_for()

    tab_to(page, "Photo 1 of green things", back=False)
    press("ArrowRight")
    press("Space")
    press("ArrowRight")
    press("Shift+Space")
    page.get_by_text("2 photos chosen", exact=True).wait_for()
    press("m")
    page.keyboard.type("blue")  # in the list of classes
    press("Tab")
    press("Enter")
    page.get_by_text("2 photos moved to “blue things”").wait_for()
    assert len(list((imgs / "green things").iterdir())) == 7
    press("Control+z")
    page.get_by_text("Taken back: ").wait_for()
    assert len(list((imgs / "green things").iterdir())) == 9

    tab_to(page, "Change the class red things")
    press("Enter")
    page.get_by_role("dialog").wait_for()
    press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.ariaLabel") == "Change the class red things"

    tab_to(page, "Photo 1 of red things")
    press("Enter")
    page.get_by_role("dialog").get_by_role("img", name="red things, photo 1 of 8").wait_for()
    press("ArrowRight")
    page.get_by_role("img", name="red things, photo 2 of 8").wait_for()
    press("Escape")

    tab_to(page, "Look", back=True)
    press("Enter")
    page.wait_for_url("**/look")
    page.locator(".score.main").wait_for()
    tab_to(page, "1 photo of green things read as red things")
    press("Enter")
    page.get_by_role("heading", name="green things, read as red things").wait_for()
    tab_to(page, "It is red things")
    press("Enter")
    page.locator(".matrix td.wrong button").wait_for(state="detached")
    assert page.evaluate("document.activeElement !== document.body")
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("wide", [True, False], ids=["desktop", "phone"])
def test_every_page_fits_and_can_be_read(
    watched: Callable[..., Watched], imgs: Path, scheme: str, wide: bool
) -> None:
    (imgs / "a_class_with_a_long_name_and_without_a_space_in_it_anywhere").mkdir()
    write_photos(imgs / ".set-aside" / "unsure", RED, 2, seed=7)
    (imgs / "red things" / "torn.png").write_bytes(b"none")
    web = watched(color_scheme=scheme, has_touch=not wide, is_mobile=not wide)
    web.page.set_viewport_size(DESKTOP if wide else PHONE)
    page = web.open("/look")
    page.locator(".score.main").wait_for()

    def check(where: str) -> None:
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= (DESKTOP if wide else PHONE)["width"], where
        assert page.evaluate(PALE) == [], where
        assert page.evaluate(AWKWARD) == [], where
        assert page.evaluate(CUT) == [], where
        assert page.evaluate(COVERED) == [], where
        assert page.evaluate("document.querySelectorAll('h1').length") == 1

    for path in PATHS:
        web.open(path)
        page.wait_for_load_state("load")
        page.get_by_text("Asking the station").wait_for(state="hidden")
        page.locator(SHOWN[path]).first.wait_for()
        check(path)
    web.open("/")
    page.get_by_label("Photo 2 of red things").check()
    page.get_by_text("1 photo chosen", exact=True).wait_for()
    check("a photo is chosen")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Change the class red things").click()
    check("the dialog of a class")
    page.keyboard.press("Escape")
    page.get_by_label("Name of a new class").fill("red things")
    page.get_by_role("button", name="Add class").click()
    page.get_by_role("alert").wait_for()
    check("a message")
    assert all("409" in each or "415" in each for each in web.faults)  # of what is refused
    assert web.outside == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>",
        "\"'><b onclick=alert(1)>bold",
        "{{ 7 * 7 }} ${alert(1)} &lt;i&gt;",
    ],
)
def test_names_are_text_and_never_markup(
    watched: Callable[..., Watched], imgs: Path, name: str
) -> None:
    write_photos(imgs / name, 170, 4, seed=1)
    web = watched()
    dialogs = []
    web.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = web.open("/")
    page.get_by_role("heading", name=name, exact=True).wait_for()
    page.get_by_role("button", name=f"Change the class {name}", exact=True).click()
    page.get_by_label("Display name").fill(f"{name} 2")
    page.get_by_role("button", name="Use this name").click()
    page.get_by_role("heading", name=f"{name} 2", exact=True).wait_for()
    web.open("/look")
    page.get_by_role("rowheader", name=f"{name} 2", exact=True).wait_for()
    assert page.locator("main [onclick], main [onerror], main b, main i:not(.x)").count() == 0
    assert dialogs == []
    web.fine()


@pytest.mark.slow
def test_words_show_their_effect_and_classes_change(
    watched: Callable[..., Watched], imgs: Path, tmp_path: Path
) -> None:
    write_photos(imgs / "reds", RED + 4, 3, seed=4)
    web = watched()
    page = web.open("/look")
    page.locator(".score.main").wait_for()
    web.open("/")
    page.get_by_text("Words: ").click()
    page.get_by_label("A sentence about every photo").fill("a red photo of {}.")
    page.get_by_text("By words alone").wait_for()
    page.get_by_role("button", name="Use these words").click()
    page.get_by_text("a red photo of {}.", exact=True).wait_for()
    assert web.state()["template"] == "a red photo of {}."

    page.get_by_role("button", name="Change the class reds").click()
    page.get_by_label("Into which class").select_option("red things")
    page.get_by_role("button", name="Merge").click()
    page.locator("h2", has_text="reds").first.wait_for(state="detached")
    assert len(list((imgs / "red things").iterdir())) == 11
    page.get_by_role("button", name="Change the class red things").click()
    page.get_by_label("Name of the folder").fill("crimson")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("heading", name="crimson").wait_for()
    assert len(list((imgs / "crimson").iterdir())) == 11

    page.get_by_role("button", name="Change the class crimson").click()
    folder = tmp_path / "more"
    write_photos(folder, RED, 3, seed=6)
    (folder / "notes.txt").write_text("no photo")
    web.choose(page.get_by_role("button", name="Add a folder").click, folder)
    page.get_by_text("3 photos added to “crimson”").wait_for()
    page.get_by_text("1 file left out, since it is no photo: notes.txt.").wait_for()
    web.fine()


@pytest.mark.slow
def test_a_held_button_records_a_burst(watched: Callable[..., Watched], imgs: Path) -> None:
    web = watched()
    page = web.open("/look")
    page.locator(".score.main").wait_for()
    web.open("/")
    page.get_by_role("button", name="Camera for red things").click()
    page.get_by_label("What the camera sees").wait_for()
    box = page.get_by_role("button", name="Hold to record a burst").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.get_by_role("button", name="4 photos").wait_for()
    page.mouse.up()
    page.get_by_role("dialog").get_by_text("Hold again for more.").wait_for()
    added = len(list((imgs / "red things").iterdir())) - 8
    assert added >= 1
    page.keyboard.press("Escape")
    web.open("/try")
    page.get_by_role("button", name="Live camera").click()
    page.locator(".verdict").wait_for()
    page.get_by_role("button", name="Stop the camera").click()
    web.fine()


def test_what_fails_is_a_plain_message(
    watched: Callable[..., Watched], imgs: Path, tmp_path: Path
) -> None:
    web = watched()
    page = web.open("/")
    page.get_by_role("heading", name="red things").wait_for()
    fake = tmp_path / "fake.jpg"
    fake.write_text("no photo at all")
    web.choose(page.get_by_role("button", name="Add photos to red things").click, fake)
    page.get_by_role("alert").get_by_text("1 file not added. fake.jpg: ").wait_for()
    web.open("/try")
    web.choose(page.get_by_role("button", name="Choose a photo").click, fake)
    page.get_by_role("alert").get_by_text("That photo cannot be used").wait_for()
    shutil.rmtree(imgs / "green things")  # by hand, under the page's feet
    web.open("/look")
    page.get_by_text("Nothing to look at yet").wait_for()
    page.context.set_offline(True)
    page.get_by_role("link", name="Photos", exact=True).wait_for()
    page.evaluate("import('/static/state.js').then((state) => state.refresh())")
    page.get_by_role("alert").get_by_text("The station does not answer.").wait_for()
    page.context.set_offline(False)
    page.get_by_text("The station is back.").wait_for()


def chosen(page: Any, name: str, *files: Path) -> None:
    with page.expect_file_chooser() as asked:
        page.get_by_role("button", name=name).click()
    asked.value.set_files(files)


@pytest.mark.slow
def test_only_the_newest_failure_is_told_and_a_success_ends_it(
    watched: Callable[..., Watched], tmp_path: Path
) -> None:
    page = watched().open("/")
    name, add = page.get_by_label("Name of a new class"), page.get_by_role("button", name="Add cl")
    failed = page.locator(".notice.bad")
    for wrong in ("red things", "GREEN things", "a/b", "train"):
        name.fill(wrong)
        with page.expect_response("**/api/classes") as answer:
            add.click()
        assert answer.value.status >= 400
        failed.wait_for()
        assert failed.count() == 1
    for wrong in ("one.txt", "two.md"):
        (tmp_path / wrong).write_text("no photo")
    photo = photos_of(tmp_path / "more", RED, 1, seed=7)[0]
    chosen(page, "Add photos to red things", photo, tmp_path / "one.txt", tmp_path / "two.md")
    page.get_by_text("1 photo added to “red things”").wait_for()
    assert failed.all_inner_texts() == [  # of the same deed: both are told
        "2 files left out, since they are no photos: one.txt, two.md."
    ]
    page.get_by_label("Photo 1 of red things").check()
    page.get_by_role("button", name="Set aside").click()
    page.get_by_text("1 photo moved to “Set aside”").wait_for()
    assert failed.count() == 0


@pytest.mark.slow
def test_what_cannot_go_back_is_not_said_to_have_gone(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    write_photos(imgs / ".set-aside" / "gone", RED, 1, seed=7)
    write_photos(imgs / ".set-aside" / "red things", RED, 1, seed=8)
    web = watched()
    changed(  # or it would not be offered
        web.page,
        r"/api/photos\?set-aside",
        lambda body: [photo.update(can_go_back=True) for photo in body["photos"]],
    )
    page = web.open("/")
    aside = page.get_by_role("list", name="Photos of Set aside")
    aside.scroll_into_view_if_needed()
    aside.get_by_label("Photo 1 of Set aside").check()
    back = page.get_by_role("button", name="Put back")
    back.click()
    page.get_by_role("alert").get_by_text("not put back, since").wait_for()
    assert page.get_by_text("Undo takes it back.").count() == 0
    aside.get_by_label("Photo 2 of Set aside").check()
    back.click()
    page.get_by_text("1 photo put back. Undo takes it back.").wait_for()
    assert len(list((imgs / "red things").iterdir())) == 9
    assert len(list((imgs / ".set-aside" / "gone").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("wide", [True, False], ids=["desktop", "phone"])
def test_many_classes_are_found_and_a_long_name_fits(
    watched: Callable[..., Watched], imgs: Path, wide: bool
) -> None:
    for i in range(10):
        write_photos(imgs / f"kind {i}", 25 * i, 2, seed=i)
    (imgs / ("w" * 80)).mkdir()
    web = watched(has_touch=not wide, is_mobile=not wide)
    web.page.set_viewport_size(DESKTOP if wide else PHONE)
    page = web.open("/look")
    page.locator(".score.main").wait_for()
    assert (
        page.locator(".notice", has_text="More photos would help").inner_text().endswith(" more.")
    )
    pair = page.locator(".pairs button").first
    said = pair.locator("span").inner_text().split(" → ")
    pair.click()
    page.get_by_role("heading", name=f"{said[0]}, read as {said[1]}").wait_for()
    room = page.evaluate("""() => { const matrix = document.getElementById("matrix");
      return matrix.closest(".card").clientWidth - matrix.clientWidth; }""")
    assert room < 60  # nothing is left empty beside it
    page.get_by_role("link", name="Misread").click()
    page.get_by_role("heading", name="Misread").wait_for()

    web.open("/")
    page.get_by_label("Find a class").fill("RED")
    page.locator("#columns .column h2:visible").get_by_text("red things").wait_for()
    assert page.locator("#columns .column:visible").count() == 1
    page.get_by_role("button", name="Change the class red things").click()
    outside = """() => { const dialog = document.querySelector("dialog").getBoundingClientRect();
      return [...document.querySelectorAll("dialog :is(select, input, button, p)")]
        .filter((e) => e.getBoundingClientRect().right > dialog.right).length; }"""
    assert page.evaluate(outside) == 0
    web.fine()


def changed(page: Any, path: str, change: Callable[[Any], object]) -> None:
    """Has the page hear something else than the station says."""

    def answer(route: Any) -> None:
        said = route.fetch()
        body = said.json()
        change(body)
        route.fulfill(response=said, json=body)

    page.route(re.compile(path), answer)


@pytest.mark.slow
def test_photos_that_wait_for_a_class_get_one_with_a_press(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    write_photos(imgs / ".set-aside" / "unsure", RED, 3, seed=7)
    web = watched()
    changed(web.page, "/api/state$", lambda body: body.update(waiting=body["set_aside"]))
    says = {"class": "red things", "display": "red things", "probability": 0.53, "known": True}
    guess = {"can_go_back": False, "says": says}
    changed(
        web.page,
        r"/api/photos\?set-aside",
        lambda body: [photo.update(guess) for photo in body["photos"]],
    )
    page = web.open("/")
    waiting = page.locator("#waiting .mend")
    waiting.first.get_by_text("Looks like red things, 53 %").wait_for()
    assert waiting.count() == 3
    waiting.first.get_by_role("button", name="It is red things").click()
    page.get_by_text("1 photo moved to “red things”. Undo takes it back.").wait_for()
    waiting.first.get_by_label("Move to a class").select_option("green things")
    waiting.first.get_by_role("button", name="Move").click()
    page.get_by_text("1 photo moved to “green things”. Undo takes it back.").wait_for()
    waiting.nth(1).wait_for(state="detached")
    assert len(list((imgs / "red things").iterdir())) == 9
    assert len(list((imgs / "green things").iterdir())) == 10
    page.get_by_label("Photo 1 of Set aside").check()
    page.get_by_text("1 photo chosen", exact=True).wait_for()
    assert page.get_by_role("button", name="Put back").count() == 0
    web.fine()


RIGHT = {"right": 15, "photos": 20, "share": 0.75, "plus_minus": 0.18}
LESS = {"right": 12, "photos": 20, "share": 0.6, "plus_minus": 0.2}
OWN = {"prompt": 0.5, "classifier": 0.9, "photos": 10}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "cards", "told"),
    [
        ({"tuned": {"prompt": LESS, "classifier": RIGHT}}, ["60 %", "75 %"], "16 photos taught"),
        ({"tuned": None, "why_not": "too few photos", "tuned_validation": OWN}, [], "90 % right"),
        ({"tuned": None, "why_not": "too few photos"}, [], "prompt here: too few photos."),
        ({"tuned": None}, [], "judged by what the others taught."),
    ],
)
def test_look_says_whose_each_figure_is(
    watched: Callable[..., Watched],
    said: dict[str, Any],
    cards: list[str],
    told: str,
) -> None:
    web = watched()
    changed(web.page, "/api/look$", lambda body: body.update({"taught": 16, **said}))
    page = web.open("/look")
    page.locator("#how").get_by_text(told).wait_for()
    figures = page.locator(".score strong").all_inner_texts()[2:]
    assert [figure.split(" ±")[0] for figure in figures] == cards
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sure", "threshold", "said"),
    [
        (True, 0.5, "It is sure: this classifier is from 50 % on."),
        (False, 0.974, "But it is not sure: this classifier is from 97 % on."),
        (True, None, "It is sure."),
    ],
)
def test_a_try_says_from_where_on_it_is_sure(
    watched: Callable[..., Watched], imgs: Path, sure: bool, threshold: float | None, said: str
) -> None:
    web = watched()
    top = [{"class": "red things", "display": "red things", "probability": 0.53}]
    answer = {"answers": top, "known": True, "sure": sure, "by": "run", "like": []}
    web.page.route("**/api/try", lambda route: route.fulfill(json={**answer, **more}))
    more = {"threshold": threshold}
    page = web.open("/try")
    photo = next((imgs / "red things").iterdir())
    web.choose(page.get_by_role("button", name="Choose a photo").click, photo)
    page.locator("#answer").get_by_text(said, exact=True).wait_for()
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learn", "title", "button", "told"),
    [
        ({"resumable": True}, "Stopped, and kept", "Go on", True),
        (
            {"resumable": False, "why_not_resumable": "photos have changed since"},
            "Stopped, and does not go on",
            "Learn from the beginning",
            True,
        ),
        ({"state": "done", "up_to_date": False}, "Changed since it learnt", "Learn again", False),
        ({"state": "done", "up_to_date": True}, "Learnt", "Learn again", True),
    ],
)
def test_learn_offers_what_will_happen(
    watched: Callable[..., Watched],
    learn: dict[str, Any],
    title: str,
    button: str,
    told: bool,
) -> None:
    web = watched()
    more = {"told": ["'red things' has 14"], **learn}
    changed(web.page, "/api/state$", lambda body: body["learn"].update(more))
    changed(web.page, "/api/learn$", lambda body: body.update(more))
    quiet = {"content_type": "text/event-stream", "body": ": nothing new\n\n"}
    web.page.route("**/api/events", lambda route: route.fulfill(**quiet))
    page = web.open("/learn")
    page.get_by_role("heading", name=title, exact=True).wait_for()
    assert page.locator("#learn-go").inner_text() == button
    assert page.get_by_text("has 14").count() == told


@pytest.mark.slow
def test_an_empty_class_can_be_removed(watched: Callable[..., Watched], imgs: Path) -> None:
    (imgs / "mistypd").mkdir()
    web = watched()
    asked = []
    page = web.open("/")
    page.route("**/remove", lambda route: (asked.append(route.request.url), route.fulfill(json={})))
    page.get_by_role("button", name="Change the class red things").click()
    page.get_by_role("dialog").wait_for()
    assert page.get_by_role("button", name="Remove this class").count() == 0
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Change the class mistypd").click()
    page.get_by_role("button", name="Remove this class").click()
    page.get_by_text("The class “mistypd” is gone. Undo takes it back.").wait_for()
    assert [url.removeprefix(web.address) for url in asked] == ["/api/classes/mistypd/remove"]
    web.fine()


# What is in use stays, whatever the station tells.

# Counts the changes of what a page shows from now on.
COUNT = """() => {
  window.seen = [];
  const name = (node) => (node.id ? node : node.parentElement?.closest("[id]") ?? node).id;
  new MutationObserver((records) => {
    for (const { target, type } of records) window.seen.push(`${type} in ${name(target)}`);
  }).observe(document.body,
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""
ASK_AGAIN = "import('/static/state.js').then((state) => state.refresh())"


def quiet(page: Any) -> None:
    """What the station tells comes when it is asked alone."""
    nothing = {"content_type": "text/event-stream", "body": ": nothing new\n\n"}
    page.route("**/api/events", lambda route: route.fulfill(**nothing))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_says_nothing_new_touches_nothing(
    watched: Callable[..., Watched], imgs: Path, path: str
) -> None:
    write_photos(imgs / ".set-aside" / "unsure", RED, 2, seed=7)
    shutil.copy(imgs / "red things" / "000.png", imgs / "red things" / "z-copy.png")
    web = watched()
    page = web.page
    quiet(page)
    web.open(path)
    page.wait_for_load_state("networkidle")
    page.get_by_text("Asking the station").wait_for(state="hidden")
    page.evaluate(COUNT)
    for _ in range(3):
        page.evaluate(ASK_AGAIN)
        page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    assert page.evaluate("window.seen") == []
    # How far learning is changes that alone.
    far = {"state": "tuning", "queries": 10, "of": 100, "seconds_left": 60.0, "stage": "search"}
    changed(page, "/api/state$", lambda body: body["learn"].update(far))
    page.evaluate(ASK_AGAIN)
    page.get_by_text("Learning 10 %").wait_for()
    page.wait_for_timeout(300)
    touched = {each.rsplit(" ", 1)[1] for each in page.evaluate("window.seen")}
    assert touched - {"learning", "notices", "spoken"} <= (
        {"learn-title", "learn-text", "learn-go", "learn-progress", "learn-bar", "learn-figures"}
        if path == "/learn"
        else set()
    )


def test_what_is_typed_chosen_open_and_focused_stays_when_other_things_change(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    write_photos(imgs / ".set-aside" / "unsure", RED, 3, seed=7)
    web = watched()
    page = web.open("/")
    waiting = page.locator("#waiting .mend")
    waiting.nth(2).wait_for()
    page.get_by_text("Words: ").click()
    page.get_by_label("A sentence about every photo").fill("half a sentence of {}")
    waiting.nth(1).get_by_label("Move to a class").select_option("green things")
    page.get_by_label("Photo 2 of red things").check()
    page.locator("#chosen").get_by_label("Move to a class").select_option("green things")
    page.get_by_label("Photo 3 of red things").focus()
    page.evaluate("scrollTo(0, 120)")
    kept = page.evaluate_handle("document.activeElement")
    scrolled = page.evaluate("scrollY")
    with asking(web.address) as client:  # from elsewhere
        ids = client.get("/api/photos?set-aside=1").json()["photos"]
        client.post("/api/classes", json={"name": "blue things"})
        moved = client.post("/api/photos/move", json={"ids": [ids[0]["id"]], "to": "background"})
        assert moved.status_code == 200
        client.post("/api/classes/green%20things/display", json={"display": "grass"})
    page.get_by_role("heading", name="grass").wait_for()
    waiting.nth(2).wait_for(state="detached")
    assert page.evaluate("(kept) => document.activeElement === kept", kept)
    assert abs(page.evaluate("scrollY") - scrolled) < 400  # what is above became less high
    assert (
        page.get_by_label("A sentence about every photo").input_value() == "half a sentence of {}"
    )
    assert waiting.first.get_by_label("Move to a class").input_value() == "green things"
    assert waiting.last.get_by_label("Move to a class").input_value() == ""
    assert waiting.first.get_by_role("button", name="Move").is_enabled()
    bar = page.locator("#chosen")
    assert bar.get_by_label("Move to a class").input_value() == "green things"
    texts = bar.locator("option").all_inner_texts()
    assert texts == ["Move to …", "blue things", "grass", "red things"]
    bar.get_by_role("button", name="Move").click()
    page.get_by_text("1 photo moved to “grass”").wait_for()
    assert len(list((imgs / "green things").iterdir())) == 10
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize("held", ["It is red things", "Move", "None of these"])
def test_what_is_pressed_is_there_until_it_is_let_go(
    watched: Callable[..., Watched], imgs: Path, held: str
) -> None:
    write_photos(imgs / ".set-aside" / "unsure", RED, 3, seed=7)
    web = watched()
    page = web.open("/")
    waiting = page.locator("#waiting .mend")
    waiting.nth(1).get_by_role("button", name="It is red things").wait_for()
    listed = [each["id"] for each in waiting_photos(web)]
    if held == "Move":
        waiting.nth(1).get_by_label("Move to a class").select_option("red things")
    button = waiting.nth(1).get_by_role("button", name=held)
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    with asking(web.address) as client:  # which takes the one before it away
        client.post("/api/photos/move", json={"ids": listed[:1], "to": {"class": "green things"}})
    page.wait_for_timeout(2500)  # the news have come
    assert waiting.count() == 3
    page.mouse.up()
    page.get_by_text("Undo takes it back.").wait_for()
    waiting.nth(1).wait_for(state="detached")
    assert [each["id"] for each in waiting_photos(web)] == listed[2:]
    there = imgs / ("_background" if held == "None of these" else "red things")
    assert len(list(there.iterdir())) == (1 if held == "None of these" else 9)
    web.fine()


# What an image shows, in the middle.
COLOUR = """(image) => {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.drawImage(image, 0, 0, 1, 1);
  const [r, g] = canvas.getImageData(0, 0, 1, 1).data;
  return image.complete && r !== g ? (r > g ? "red" : "green") : "nothing";
}"""


@pytest.mark.slow
def test_a_photo_that_was_replaced_by_hand_is_shown(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    web = watched()
    page = web.open("/")
    tiles = page.get_by_label("Photos of red things", exact=True).locator("img")

    def until(colour: str) -> None:
        ends = time.monotonic() + 30
        while tiles.count() == 0 or tiles.first.evaluate(COLOUR) != colour:
            assert time.monotonic() < ends
            page.wait_for_timeout(100)

    until("red")
    page.get_by_label("Photo 1 of red things").check(force=True)
    (imgs / "red things").rename(imgs / ".t")
    (imgs / "green things").rename(imgs / "red things")
    (imgs / ".t").rename(imgs / "green things")
    page.locator("#chosen").get_by_role("button", name="Set aside").click()
    page.get_by_text("Choose among those that are there now").wait_for()
    until("green")
    assert not (imgs / ".set-aside").exists()
    page.get_by_label("Photo 1 of red things").check(force=True)
    page.locator("#chosen").get_by_role("button", name="Set aside").click()
    page.get_by_text("Undo takes it back.").wait_for()
    assert [path.parent.name for path in (imgs / ".set-aside").rglob("*.png")] == ["red things"]
    web.faults = [fault for fault in web.faults if "404" not in fault]  # the move that was refused
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize("lifted", [False, True])
def test_another_finger_lets_go_of_nothing(
    watched: Callable[..., Watched], imgs: Path, lifted: bool
) -> None:
    web = watched(has_touch=True)
    page = web.open("/")
    tiles = page.get_by_label("Photos of red things", exact=True).locator(".tile")
    tiles.nth(7).wait_for()
    fingers = page.context.new_cdp_session(page)

    first, second = {"x": 5, "y": 300, "id": 0}, {"x": 60, "y": 300, "id": 1}
    page.evaluate(
        """() => {
          window.heard = [];
          for (const kind of ["pointerdown", "pointerup", "pointercancel"])
            addEventListener(kind, ({ isPrimary }) => window.heard.push(kind, isPrimary), true);
        }"""
    )

    def touch(kind: str, *points: dict[str, int]) -> None:
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    touch("touchStart", first)
    touch("touchStart", first, second)
    if lifted:
        touch("touchEnd", second)
    sorted((imgs / "red things").iterdir())[0].unlink()
    settled(web.address)
    page.wait_for_timeout(2000)  # the news have come
    assert tiles.count() == 8
    heard = ["pointerdown", True, "pointerdown", False, *(["pointerup", False] if lifted else [])]
    assert page.evaluate("window.heard") == heard
    touch("touchEnd")
    tiles.nth(7).wait_for(state="detached")
    assert tiles.count() == 7
    web.fine()


def waiting_photos(web: Watched) -> list[dict[str, Any]]:
    with asking(web.address) as client:
        photos: list[dict[str, Any]] = client.get("/api/photos?set-aside=1").json()["photos"]
    return photos


def many_classes(body: dict[str, Any]) -> None:
    """What a look would say of sixty classes."""
    names = [f"kind number {i} of sixty" for i in range(60)]
    body["classes"] = [{"name": name, "display": name} for name in names]
    body["confusion"] = [[9 if i == j else (i * j) % 7 == 1 for j in range(60)] for i in range(60)]
    body["confusion"] = [[int(n) for n in row] for row in body["confusion"]]


# Of the cells that lie in the clear, those whose row or column cannot be read where they are.
READABLE = """(box) => {
  box.scrollIntoView({ block: "center" });
  const area = box.getBoundingClientRect();
  const middle = (e) => {
    const { left, top, width, height } = e.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };
  const columns = box.querySelector("thead").rows[0].cells;
  const corner = columns[0].getBoundingClientRect();
  const clear = [...box.querySelectorAll("tbody td")].filter((cell) => {
    const [x, y] = middle(cell);
    return x > corner.right + 12 && y > corner.bottom + 12
      && x < area.right - 14 && y < area.bottom - 14;
  });
  const is = (x, y, e) => e.contains(document.elementFromPoint(x, y));
  const bad = clear.filter((cell) => {
    const [x, y] = middle(cell);
    const [row, column] = [cell.parentElement.cells[0], columns[cell.cellIndex]];
    return !is(middle(row)[0], y, row) || !is(x, middle(column)[1], column) || !is(x, y, cell);
  });
  const share = (corner.right - area.left) / area.width;
  return { clear: clear.length, bad: bad.length, share };
}"""


@pytest.mark.slow
@pytest.mark.parametrize("wide", [True, False], ids=["desktop", "phone"])
def test_a_large_table_scrolls_in_its_own_box_and_its_headings_stay(
    watched: Callable[..., Watched], wide: bool
) -> None:
    web = watched(has_touch=not wide, is_mobile=not wide)
    size = DESKTOP if wide else PHONE
    web.page.set_viewport_size(size)
    changed(web.page, "/api/look$", many_classes)
    page = web.open("/look")
    page.locator(".matrix tbody tr").nth(59).wait_for()
    for width in (320, 800, 1100, size["width"]) if wide else (size["width"],):
        page.set_viewport_size({**size, "width": width})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#matrix")
    for left, top in ((0, 0), (400, 300), (10_000, 10_000)):
        box.evaluate("(box, [left, top]) => box.scrollTo(left, top)", [left, top])
        seen = box.evaluate(READABLE)
        assert seen["clear"] >= 20
        assert seen["bad"] == 0
        assert seen["share"] < 0.45
    page.evaluate("scrollTo(0, 0)")
    button = page.locator(".matrix button").last
    button.focus()
    at = box.evaluate("(box) => [box.scrollLeft, box.scrollTop]")
    assert at != [0, 0]
    settled(web.address)
    page.evaluate(ASK_AGAIN)
    page.wait_for_timeout(1500)
    assert box.evaluate("(box) => [box.scrollLeft, box.scrollTop]") == at
    assert page.evaluate("document.activeElement.closest('.matrix') !== null")


@pytest.mark.slow
def test_a_table_that_changes_keeps_the_focus(watched: Callable[..., Watched], imgs: Path) -> None:
    web = watched()
    page = web.open("/look")
    wrong = page.get_by_role("button", name="1 photo of green things read as red things")
    wrong.focus()
    write_photos(imgs / "green things" / "more", RED, 2, seed=31)  # read as red as well
    page.get_by_role(
        "button", name=re.compile("[23] photos of green things read as red")
    ).wait_for()
    said = page.evaluate("document.activeElement.ariaLabel")
    assert "of green things read as red things" in said
    web.fine()


@pytest.mark.slow
def test_the_curve_stays_when_nothing_is_new(watched: Callable[..., Watched]) -> None:
    web = watched()
    points = [{"queries": n, "loss": 1 / n, "val_accuracy": None} for n in (1, 50, 100)]
    changed(web.page, "/api/learn$", lambda body: body.update(history=points))
    quiet(web.page)
    page = web.open("/learn")
    page.get_by_role("img", name="After 100 queries").wait_for()
    page.evaluate(ASK_AGAIN)
    page.wait_for_timeout(300)
    assert page.get_by_role("img", name="After 100 queries").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("more", [5, 60])
def test_the_enlarged_photo_goes_through_the_whole_class(
    more: int, watched: Callable[..., Watched], imgs: Path
) -> None:
    write_photos(imgs / "red things", RED, more, seed=9, start=100)
    total = len(list((imgs / "red things").iterdir()))
    web = watched()
    page = web.open("/")
    page.get_by_label("Photo 12 of red things").press("Enter")
    large, seen = page.locator("dialog img.large"), set[str]()
    for number in range(12, total + 1):
        text = page.get_by_role("dialog").get_by_text(f"red things, {number} of {total}")
        text.wait_for()
        seen.add(large.get_attribute("src"))
        after = page.get_by_role("button", name="Photo after")
        assert after.get_attribute("aria-disabled") == str(number == total).lower()
        if number < total:
            after.click()
    assert len(seen) == total - 11
    page.keyboard.press("ArrowLeft")
    page.get_by_text(f"red things, {total - 1} of {total}").wait_for()
    web.fine()


@pytest.mark.slow
def test_a_class_without_photos_leads_to_the_page_photos(
    watched: Callable[..., Watched], imgs: Path, tmp_path: Path
) -> None:
    for photo in (imgs / "green things").iterdir():
        photo.unlink()
    web = watched()
    why = "'green things' has no photos to learn from: add some on the page Photos"
    for path, place in (("/learn", "#learn-text"), ("/look", "#look-wait"), ("/try", "#answer")):
        link = web.open(path).locator(place).get_by_role("link", name="the page Photos")
        link.wait_for()
        if path == "/look":
            assert web.page.locator(place).inner_text() == f"Nothing to look at yet: {why}."
        link.click()
        web.page.wait_for_url(f"{web.address}/")
    page = web.open("/try")
    chosen(page, "Choose a photo", photos_of(tmp_path / "one", RED, 1, seed=7)[0])
    page.get_by_role("alert").get_by_text(why).get_by_role("link").click()
    page.wait_for_url(f"{web.address}/")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no photo", b"\xff\xd8\xff\xe0 none"])
def test_a_file_that_is_no_photo_leaves_the_place_for_one(
    content: bytes, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    page = watched().open("/try")
    good, bad = photos_of(tmp_path / "one", RED, 1, seed=7)[0], tmp_path / "bad.jpg"
    bad.write_bytes(content)
    for _ in range(2):
        chosen(page, "Choose a photo", bad)
        page.get_by_role("alert").get_by_text("cannot be used").wait_for()
        page.locator("#stage").get_by_text("Drop a photo here").wait_for()
        assert page.locator("#stage img").count() == 0
        chosen(page, "Choose a photo", good)
        page.locator("#stage img").wait_for()
        page.locator("#answer .verdict").wait_for()


@pytest.mark.slow
def test_copies_are_told_with_the_class_that_has_them(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    page = watched().open("/")
    red = sorted((imgs / "red things").iterdir())[:2]
    chosen(page, "Add photos to green things", *red)
    page.get_by_text(
        "0 photos added to “green things”; 2 left out, since they are in “red things” already."
    ).wait_for()


@pytest.mark.slow
def test_the_note_on_the_lists_keeps_apart_from_the_card(watched: Callable[..., Watched]) -> None:
    web = watched()
    changed(web.page, "/api/state$", lambda body: body["learn"].update(state="done"))
    page = web.open("/look")
    note, card = page.locator("#whose"), page.locator("#look > section.card")
    note.wait_for()
    page.locator("#jumps").evaluate("(jumps) => jumps.remove()")  # as where there is one list
    above, below = note.bounding_box(), card.bounding_box()
    assert below["y"] - above["y"] - above["height"] >= 12
