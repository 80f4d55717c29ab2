"""Photos and classes: what the page does with them, and says of them."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers import write_photos

from browser.web import RED, Watched, asking, changed


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
    effect = page.locator("#template-effect")
    effect.get_by_text("By words alone").wait_for(state="detached")  # they are those of now
    page.get_by_label("A sentence about every photo").fill("a photo of {}, red.")
    effect.get_by_text("By words alone").wait_for()
    page.get_by_role("button", name="Use these words").click()
    effect.get_by_text("By words alone").wait_for(state="detached")

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
    page.get_by_label("Photo 2 of Set aside").wait_for(state="detached")
    page.get_by_label("Photo 1 of Set aside").check()
    page.get_by_text("1 photo chosen", exact=True).wait_for()
    assert page.get_by_role("button", name="Put back").count() == 0
    web.fine()


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
@pytest.mark.parametrize("more", [5, 60])
def test_the_enlarged_photo_goes_through_the_whole_class(
    more: int, watched: Callable[..., Watched], imgs: Path
) -> None:
    write_photos(imgs / "red things", RED, more, seed=9, start=100)
    names = sorted(each.name for each in (imgs / "red things").iterdir())
    total = len(names)
    web = watched()
    page = web.open("/")
    page.get_by_label("Photo 12 of red things").press("Enter")
    large, seen = page.locator("dialog img.large"), set[str]()
    for number in range(12, total + 1):
        text = page.get_by_role("dialog").get_by_text(f"red things, {number} of {total}")
        text.wait_for()
        page.get_by_role("dialog", name=names[number - 1], exact=True).wait_for()
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
def test_a_burst_that_failed_is_told_as_failed(watched: Callable[..., Watched]) -> None:
    web = watched()

    def nothing_filed(body: dict[str, Any]) -> None:
        if "added" in body:  # what was sent, not what is listed
            refused = {"file": "1.jpg", "why": "failed (Operation not permitted)"}
            body.update(step=None, ids=[], added=0, near_duplicates=0, refused=[refused])

    changed(web.page, r"/api/photos\?class", nothing_filed)
    page = web.open("/")
    page.get_by_role("button", name="Camera for red things").click()
    page.get_by_label("What the camera sees").wait_for()
    button = page.get_by_role("button", name="Hold to record a burst")
    button.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 photo not added. Hold again for more.").wait_for()
    dialog.get_by_text("1.jpg: failed (Operation not permitted)").wait_for()
    web.fine()


DROP = """([heading, data]) => {
  const transfer = new DataTransfer();
  transfer.setData("application/x-edge-sharpzo-photos", data);
  const how = { bubbles: true, cancelable: true, dataTransfer: transfer };
  [...document.querySelectorAll("h2")].find((each) => each.textContent === heading)
    .dispatchEvent(new DragEvent("drop", how));
}"""


@pytest.mark.slow
def test_what_is_dragged_is_moved_and_not_what_another_window_has_chosen(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    def photos() -> list[int]:
        return [len(list((imgs / name).iterdir())) for name in ("red things", "green things")]

    web = watched()
    page = web.open("/")
    red, green = (page.get_by_label(f"Photo 2 of {name} things") for name in ("red", "green"))
    red.check()
    page.get_by_text("1 photo chosen", exact=True).wait_for()
    page.evaluate(DROP, ["green things", ""])  # a drag of another window, and of an older page
    with asking(web.address) as client:
        found = client.get("/api/photos?class=green%20things").json()["photos"]
    page.evaluate(DROP, ["red things", json.dumps([found[3]["id"]])])
    page.get_by_text("1 photo moved to “red things”").wait_for()
    assert photos() == [9, 8]
    assert not (imgs / "green things" / found[3]["name"]).exists()
    page.get_by_text("1 photo chosen", exact=True).wait_for()

    page.keyboard.press("Escape")
    page.locator("#chosen").wait_for(state="hidden")
    tile = page.locator(".tile", has=green)
    tile.drag_to(page.get_by_role("heading", name="red things"))
    page.locator(".notice").get_by_text("1 photo moved to “red things”").wait_for()
    page.locator("#chosen").wait_for(state="hidden")
    assert photos() == [10, 7]
    web.fine()


@pytest.mark.slow
def test_photos_that_wait_are_found_behind_many_that_were_set_aside(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    write_photos(imgs / ".set-aside" / "unsure", RED, 1, seed=7)
    web = watched()
    with asking(web.address) as client:
        photo = client.get("/api/photos?set-aside=1").json()["photos"][0]
    says = {"class": "red things", "display": "red things", "probability": 0.53, "known": True}
    aside = [
        {**photo, "id": f"{i:064x}", "can_go_back": i < 1050, "says": None} for i in range(1060)
    ]

    def answer(route: Any) -> None:  # as the station: a guess for a few more with each answer
        asked = parse_qs(urlsplit(route.request.url).query)
        first = int(asked["offset"][0])
        some = aside[first : first + int(asked["limit"][0])]
        for each in [each for each in some if not each["says"]][:3]:
            each["says"] = says
        route.fulfill(json={"photos": some, "total": len(aside)})

    web.page.route(re.compile(r"/api/photos\?set-aside"), answer)
    changed(web.page, "/api/state$", lambda body: body.update(waiting=10, set_aside=len(aside)))
    page = web.open("/")
    waiting = page.locator("#waiting .mend")
    waiting.nth(9).get_by_text("Looks like red things, 53 %").wait_for()
    assert waiting.count() == 10
    web.fine()
