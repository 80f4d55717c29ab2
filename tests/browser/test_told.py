"""What the page says: figures, causes, and what to do next."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import write_photos
from PIL import Image

from browser.web import RED, Watched, changed, chosen, photos_of, quiet


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
    quiet(web.page)
    page = web.open("/learn")
    page.get_by_role("heading", name=title, exact=True).wait_for()
    assert page.locator("#learn-go").inner_text() == button
    assert page.get_by_text("has 14").count() == told


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
def test_a_photo_that_browsers_do_not_show_is_answered_and_said_to_be_unseen(
    watched: Callable[..., Watched], tmp_path: Path
) -> None:
    page = watched().open("/try")
    tiff = tmp_path / "red.tiff"
    Image.open(photos_of(tmp_path / "one", RED, 1, seed=7)[0]).save(tiff)
    chosen(page, "Choose a photo", tiff)
    page.locator("#answer .verdict").wait_for()
    page.locator("#stage").get_by_text("cannot show this photo").wait_for()


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
