"""What the page shows is of what is there now: no older answer takes its place."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser.web import ASK_AGAIN, Watched, asking, changed, chosen, quiet, until


def held(page: Any, path: str) -> list[Any]:
    """What the page asks there, which waits for an answer of the test's."""
    asked: list[Any] = []
    page.route(path, lambda route: asked.append(route))
    return asked


def until_asked(page: Any, asked: list[Any], times: int) -> None:
    ends = time.monotonic() + 60
    while len(asked) < times:
        assert time.monotonic() < ends, f"asked {len(asked)} times"
        page.wait_for_timeout(100)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["a photo", "the camera"])
@pytest.mark.parametrize("ends", ["answered", "failed"])
def test_a_try_shows_the_answer_about_what_is_shown(
    watched: Callable[..., Watched], imgs: Path, first: str, ends: str
) -> None:
    def answer(name: str) -> dict[str, Any]:
        top = [{"class": name, "display": name, "probability": 0.9}]
        return {"answers": top, "known": True, "sure": True, "by": "run", "threshold": None}

    web = watched()
    asked = held(web.page, "**/api/try")
    page = web.open("/try")
    red, green = (next((imgs / name).iterdir()) for name in ("red things", "green things"))
    if first == "a photo":
        chosen(page, "Choose a photo", red)
    else:
        page.get_by_role("button", name="Live camera").click()
    until_asked(page, asked, 1)
    chosen(page, "Choose a photo", green)
    until_asked(page, asked, 2)
    asked[1].fulfill(json=answer("green things"))
    verdict = page.locator("#answer .verdict")
    verdict.get_by_text("green things").wait_for()
    if ends == "answered":
        asked[0].fulfill(json=answer("red things"))
    else:
        asked[0].abort()
    page.wait_for_timeout(500)
    assert verdict.inner_text().startswith("green things")
    assert page.locator(".notice").count() == 0
    assert page.locator("#stage img").count() == 1


@pytest.mark.slow
def test_look_comes_back_with_the_photos(watched: Callable[..., Watched]) -> None:
    web = watched()
    page = web.open("/look")
    page.locator(".score.main").wait_for()
    with asking(web.address) as client:
        green = client.get("/api/photos?class=green%20things").json()["photos"]
        ids = [each["id"] for each in green]
        assert client.post("/api/photos/move", json={"ids": ids, "to": "set-aside"}).is_success
    page.get_by_text("Nothing to look at yet").wait_for()
    page.locator(".score.main").wait_for(state="hidden")
    page.get_by_role("button", name="Undo: ").click()
    page.locator(".score.main").wait_for()
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize(
    "ended",
    [
        {"queries": 150, "resumable": True},  # stopped
        {"queries": 300, "state": "done", "up_to_date": True},
        {"queries": 300, "state": "done", "up_to_date": False},
    ],
    ids=["stopped", "done", "of before"],
)
def test_look_has_the_figures_of_a_run_as_soon_as_it_ends(
    watched: Callable[..., Watched], ended: dict[str, Any]
) -> None:
    web, learn, figures = watched(), dict[str, Any](), dict[str, Any]()
    changed(web.page, "/api/state$", lambda body: body["learn"].update(learn))
    changed(web.page, "/api/look$", lambda body: body.update(figures))
    quiet(web.page)
    page = web.open("/look")
    page.locator("#how").get_by_text("no prompt is tuned yet").wait_for()
    for queries in (150, 300):  # the run goes on after the first time
        learn.update({"state": "tuning", "queries": queries - 10, "of": 300})
        page.evaluate(ASK_AGAIN)
        page.get_by_text("Learning ", exact=False).first.wait_for()
        figures.update(why_not=f"it took {queries} queries")
        learn.update({"state": "idle", **ended, "queries": queries})
        page.evaluate(ASK_AGAIN)
        page.locator("#how").get_by_text(f"it took {queries} queries").wait_for()


@pytest.mark.slow
def test_undo_names_the_step_that_was_undone(watched: Callable[..., Watched]) -> None:
    web = watched()
    changed(web.page, "/api/state$", lambda body: body.update(can_undo="what was done before"))
    with asking(web.address) as client:  # as from another page, of which this one has not heard
        client.post("/api/classes", json={"name": "foxes"})
    page = web.open("/")
    page.get_by_role("button", name="Undo: what was done before").click()
    page.get_by_text("Undone: ").get_by_text("foxes").wait_for()
    web.fine()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "asked", "there"),
    [
        ("/take", "**/api/take", "#take-why:not(:empty)"),
        ("/look", "**/api/look", ".score.main"),
        ("/", "**/api/photos?class=red*", "[aria-label^='Photo 1 of red things']"),
    ],
)
def test_what_did_not_come_is_asked_for_again(
    watched: Callable[..., Watched], path: str, asked: str, there: str
) -> None:
    web = watched()
    quiet(web.page)
    web.page.route("**/api/events", lambda route: None)  # nor does anything else ask again
    web.page.route(asked, lambda route: route.abort(), times=1)
    page = web.open(path)
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    page.locator(there).wait_for()
    assert page.get_by_role("alert").count() == 0


@pytest.mark.slow
def test_take_shows_the_newest_answer(watched: Callable[..., Watched]) -> None:
    web, learn = watched(), dict[str, Any]()
    changed(web.page, "/api/state$", lambda body: body["learn"].update(learn))
    quiet(web.page)
    said = web.page.request.get(f"{web.address}/api/take").json()
    asked = held(web.page, "**/api/take")
    page = web.open("/take")
    until_asked(page, asked, 1)
    learn.update(state="failed")
    page.evaluate(ASK_AGAIN)
    until_asked(page, asked, 2)
    asked[1].fulfill(json={**said, "why": "the newest reason"})
    why = page.locator("#take-why")
    why.get_by_text("The newest reason.").wait_for()
    asked[0].fulfill(json={**said, "why": "an older reason"})
    page.wait_for_timeout(500)
    assert why.inner_text() == "The newest reason."


@pytest.mark.slow
def test_a_newer_message_takes_the_place_of_what_was_done_before(
    watched: Callable[..., Watched],
) -> None:
    web = watched()
    page = web.open("/")
    done = page.locator(".notice.good")
    for _ in range(3):
        page.get_by_label("Photo 1 of red things").check()
        page.locator("#chosen").get_by_role("button", name="Set aside").click()
        page.locator("#chosen").wait_for(state="hidden")
        assert done.count() == 1
    for _ in range(2):
        with page.expect_response("**/api/undo"):
            page.keyboard.press("Control+z")
        done.get_by_text("Undone: ").wait_for()
        assert done.count() == 1
    web.fine()


@pytest.mark.slow
def test_a_class_that_is_gone_leaves_nothing_chosen_and_the_focus_somewhere(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    shutil.copytree(imgs / "red things", imgs / "reds")
    for path in (imgs / "red things").iterdir():
        path.unlink()
    web = watched()
    page = web.open("/")
    label = "document.activeElement.ariaLabel"

    def choose(name: str) -> None:
        page.get_by_label(re.compile(f"Photo 1 of {name}\\b")).check()
        page.get_by_text("1 photo chosen", exact=True).wait_for()
        page.get_by_role("button", name=f"Change the class {name}", exact=True).click()

    def all_is_well(name: str) -> None:
        page.get_by_role("dialog").wait_for(state="detached")
        page.locator("#chosen").wait_for(state="hidden")
        until(page, f"{label} === 'Change the class {name}'")

    choose("reds")
    page.get_by_label("Name of the folder").fill("crimson")
    page.get_by_role("button", name="Rename").click()
    all_is_well("crimson")
    choose("crimson")
    page.get_by_label("Into which class").select_option("green things")
    page.get_by_role("button", name="Merge").click()
    all_is_well("green things")
    page.get_by_label("Photo 1 of green things").check()
    page.get_by_role("button", name="Change the class red things").click()
    page.get_by_role("button", name="Remove this class").click()
    page.get_by_role("button", name="Change the class red things").wait_for(state="detached")
    until(page, "document.activeElement.id === 'main'")
    page.get_by_text("1 photo chosen", exact=True).wait_for()  # of a class that stays
    web.fine()
