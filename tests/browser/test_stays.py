"""What is looked at, typed or pressed stays while other things change."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import write_photos

from browser.web import (
    ASK_AGAIN,
    PATHS,
    RED,
    Watched,
    asking,
    changed,
    quiet,
    settled,
    waiting_photos,
)

# Counts the changes of what a page shows from now on.
COUNT = """() => {
  window.seen = [];
  const name = (node) => (node.id ? node : node.parentElement?.closest("[id]") ?? node).id;
  new MutationObserver((records) => {
    for (const { target, type } of records) window.seen.push(`${type} in ${name(target)}`);
  }).observe(document.body,
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""


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
