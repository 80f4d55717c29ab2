"""A real browser walks through the station: photos in, learn, look, mend, try, take."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser.web import GREEN, RED, Watched, add_class, learn, photos_of, visit
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL

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
    page.get_by_text("Undone: ").wait_for()
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
    page.get_by_text("Undone: ").wait_for()
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
