"""Every page can be read and pressed, on a desktop and on a phone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import write_photos

from browser.web import ASK_AGAIN, DESKTOP, PATHS, PHONE, RED, SHOWN, Watched, changed, settled

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
def test_the_note_on_the_lists_keeps_apart_from_the_card(watched: Callable[..., Watched]) -> None:
    web = watched()
    changed(web.page, "/api/state$", lambda body: body["learn"].update(state="done"))
    page = web.open("/look")
    note, card = page.locator("#whose"), page.locator("#look > section.card")
    note.wait_for()
    page.locator("#jumps").evaluate("(jumps) => jumps.remove()")  # as where there is one list
    above, below = note.bounding_box(), card.bounding_box()
    assert below["y"] - above["y"] - above["height"] >= 12
