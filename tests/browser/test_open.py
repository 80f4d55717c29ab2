"""Pages that stay open, beside others and for long."""

from collections.abc import Callable
from typing import Any

import pytest

from browser.web import Watched, asking, until

SOURCES = """
  window.sources = [];
  window.EventSource = class extends EventSource {
    constructor(...how) {
      super(...how);
      window.sources.push(this);
    }
  };"""
HIDDEN = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });"
SEEN = "delete document.hidden;"
TOLD = "document.dispatchEvent(new Event('visibilitychange'));"
LISTENS = "window.sources.filter((each) => each.readyState !== EventSource.CLOSED).length"


@pytest.mark.slow
@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_page_that_is_not_seen_listens_to_nothing_and_shows_the_news_when_it_is(
    watched: Callable[..., Watched], from_the_start: bool
) -> None:
    web = watched()
    web.page.add_init_script(SOURCES + (HIDDEN if from_the_start else ""))
    page = web.open("/")
    page.get_by_role("heading", name="red things").wait_for()
    if not from_the_start:
        assert page.evaluate(LISTENS) == 1
        page.evaluate(HIDDEN + TOLD)
    assert page.evaluate(LISTENS) == 0
    with asking(web.address) as client:
        client.post("/api/classes", json={"name": "foxes"})
    page.wait_for_timeout(1500)
    assert page.get_by_role("heading", name="foxes").count() == 0
    page.evaluate(SEEN + TOLD)
    page.get_by_role("heading", name="foxes").wait_for()
    assert page.evaluate(LISTENS) == 1
    with asking(web.address) as client:
        client.post("/api/classes", json={"name": "bears"})
    page.get_by_role("heading", name="bears").wait_for()
    web.fine()


@pytest.mark.slow
def test_many_pages_in_one_browser_leave_room_for_another(watched: Callable[..., Watched]) -> None:
    web = watched()
    page = web.open("/learn")
    for _ in range(7):  # browsers keep six connections to a host
        page.locator("#learn-go:not([disabled])").wait_for()
        page.evaluate(HIDDEN + TOLD)
        page = page.context.new_page()
        page.goto(f"{web.address}/learn", timeout=20_000)
    page.locator("#learn-go:not([disabled])").wait_for(timeout=20_000)


def counted(page: Any, owner: str, kind: str) -> Callable[[], int]:
    """How many listeners of a kind things of that class have."""
    page.add_init_script(f"""
      window.counted = 0;
      for (const [name, by] of [["addEventListener", 1], ["removeEventListener", -1]]) {{
        const real = EventTarget.prototype[name];
        EventTarget.prototype[name] = function (kind, ...how) {{
          const owner = (this ?? window).constructor.name;
          if (owner === "{owner}" && kind === "{kind}") window.counted += by;
          return real.call(this ?? window, kind, ...how);
        }};
      }}""")
    return lambda: page.evaluate("window.counted")


@pytest.mark.slow
def test_a_column_that_is_gone_is_told_nothing_more(watched: Callable[..., Watched]) -> None:
    web = watched()
    listeners = counted(web.page, "Selection", "change")
    page = web.open("/")
    page.get_by_role("heading", name="red things").wait_for()
    before = listeners()
    assert before >= 3
    with asking(web.address) as client:
        client.post("/api/classes", json={"name": "foxes"})
        page.get_by_role("heading", name="foxes").wait_for()
        assert listeners() == before + 1
        client.post("/api/undo")
        page.get_by_role("heading", name="foxes").wait_for(state="detached")
    assert listeners() == before
    web.fine()


@pytest.mark.slow
def test_events_that_are_refused_again_and_again_hold_nothing(
    watched: Callable[..., Watched],
) -> None:
    web = watched()
    listeners = counted(web.page, "Window", "pagehide")
    web.page.add_init_script(SOURCES)
    web.page.add_init_script(  # it tries again at once
        "const real = setInterval; window.setInterval = (act) => real(act, 50);"
    )
    web.page.route("**/api/events", lambda route: route.fulfill(status=401, body="{}"))
    page = web.open("/")
    until(page, "window.sources.length >= 2")
    before = listeners()
    until(page, "window.sources.length >= 6")
    assert listeners() == before
