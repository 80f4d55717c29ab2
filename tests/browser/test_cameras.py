"""Cameras: a burst has all its photos, and none stays on that nobody sees."""

from collections.abc import Callable
from pathlib import Path

import pytest

from browser.web import Watched, changed, chosen, until

# A camera opens when the page's `asked` are called, as when somebody thinks about allowing it.
THINKING = """() => {
  window.streams = [];
  window.asked = [];
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (how) => {
    await new Promise((go) => window.asked.push(go));
    const stream = await real(how);
    window.streams.push(stream);
    return stream;
  };
}"""
ALLOW = "window.asked.forEach((go) => go())"
ASKED = "window.asked.length === {}"
OPENED = "window.streams.length === {}"
OFF = "window.streams.every((stream) => stream.getTracks()[0].readyState === 'ended')"


@pytest.mark.slow
@pytest.mark.parametrize("meanwhile", ["pressed again", "a photo is chosen"])
def test_a_live_camera_that_opens_too_late_is_turned_off(
    watched: Callable[..., Watched], imgs: Path, meanwhile: str
) -> None:
    web = watched()
    page = web.open("/try")
    live = page.get_by_role("button", name="Live camera")
    live.click()  # without a held answer, to see that it works
    page.get_by_role("button", name="Stop the camera").click()
    page.evaluate(THINKING)
    live.click()
    until(page, ASKED.format(1))
    if meanwhile == "pressed again":
        live.click()
        page.wait_for_timeout(300)
        page.evaluate(ALLOW)
        page.get_by_role("button", name="Stop the camera").click()
    else:
        chosen(page, "Choose a photo", next((imgs / "red things").iterdir()))
        page.locator("#answer .verdict").wait_for()
        page.evaluate(ALLOW)
        until(page, OPENED.format(1))
    until(page, OFF)
    live.wait_for()
    if meanwhile == "a photo is chosen":
        assert page.locator("#stage img").count() == 1
    web.fine()


@pytest.mark.slow
def test_a_camera_that_opens_after_its_dialog_is_closed_is_turned_off(
    watched: Callable[..., Watched], imgs: Path
) -> None:
    web = watched()
    photo = next((imgs / "red things").iterdir()).read_bytes()
    changed(web.page, "/api/camera$", lambda body: body.update(available=True))
    web.page.route(
        "**/api/camera/frame", lambda route: route.fulfill(body=photo, content_type="image/png")
    )
    page = web.open("/")
    page.evaluate(THINKING)
    camera = page.get_by_role("button", name="Camera for red things")
    camera.evaluate("(button) => { button.click(); button.click(); }")
    page.wait_for_timeout(300)
    until(page, ASKED.format(1))  # one dialog, not two
    page.evaluate(ALLOW)
    which = page.get_by_label("Which camera")
    which.select_option("Camera of the device")
    page.get_by_alt_text("What the device's camera sees").wait_for()
    until(page, OFF)
    which.select_option("Camera of this machine")
    until(page, ASKED.format(2))
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.evaluate(ALLOW)
    until(page, OPENED.format(2))
    until(page, OFF)
    web.fine()


# Presses and lets go twice, quicker than two photos of a burst follow each other.
TWICE = """(button) => {
  for (const kind of ["keydown", "keyup", "keydown", "keyup"])
    button.dispatchEvent(new KeyboardEvent(kind, { key: " " }));
}"""


@pytest.mark.slow
def test_two_quick_presses_send_the_photos_of_both(watched: Callable[..., Watched]) -> None:
    web = watched()
    web.page.add_init_script("""
      window.sent = [];
      const append = FormData.prototype.append;
      FormData.prototype.append = function (name, file, ...how) {
        window.sent.push(file);
        return append.call(this, name, file, ...how);
      };""")
    page = web.open("/")
    page.get_by_role("button", name="Camera for red things").click()
    page.get_by_role("button", name="Hold to record a burst").evaluate(TWICE)
    until(page, "window.sent.length === 2")
    assert page.evaluate("new Set(window.sent).size") == 2
    page.get_by_role("button", name="Hold to record a burst").wait_for()
    page.get_by_role("dialog").get_by_text("Hold again for more.").wait_for()
    web.fine()
