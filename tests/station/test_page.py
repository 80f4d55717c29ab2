"""The station's page, without a browser: what its files may and may not hold."""

import re
from pathlib import Path

import jinja2
import pytest

import edge_sharpzo

HERE = Path(edge_sharpzo.__file__).parent / "station"
TEMPLATES, STATIC = HERE / "templates", HERE / "static"
PAGES = ["photos", "learn", "look", "try", "take"]
MODULES = sorted(STATIC.glob("*.js"))


def rendered(page: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(f"{page}.html.jinja").render()


def imports(module: Path) -> set[str]:
    """The modules that it needs, by name."""
    return set(re.findall(r'(?:from|import) "\./(.+?)"', module.read_text(encoding="utf8")))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_script_or_style_of_its_own(page: str) -> None:
    html = rendered(page)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert not re.search(r'(?:src|href|action)="(?!/|#)', html)  # nothing from elsewhere


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_what_is_there(page: str) -> None:
    html = rendered(page)
    files = re.findall(r'(?:src|href)="/static/([^"#]+)', html)
    assert f"{page}.js" in files
    for file in files:
        assert (STATIC / file).is_file(), file
    drawn = set(re.findall(r'<symbol id="(\w+)"', (STATIC / "icons.svg").read_text()))
    assert set(re.findall(r"icons\.svg#(\w+)", html)) <= drawn
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for said in re.findall(r'(?:aria-labelledby|aria-describedby|for)="([^"]+)"', html):
        assert said in ids


def test_every_module_is_used_and_there() -> None:
    needed = {f"{page}.js" for page in PAGES}
    waiting = list(needed)
    while waiting:
        for name in imports(STATIC / waiting.pop()):
            assert (STATIC / name).is_file(), name
            if name not in needed:
                needed.add(name)
                waiting.append(name)
    assert {module.name for module in MODULES} == needed


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_makes_no_markup_of_text(module: Path) -> None:
    text = module.read_text(encoding="utf8")
    for bad in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        'setAttribute("style"',
        "DOMParser",
        "createContextualFragment",
    ):
        assert bad not in text
    assert not re.search(r"https?://(?!127\.0\.0\.1|www\.w3\.org/2000/svg)", text)
    assert text.startswith("/**")  # says what its job is
    assert len(text.splitlines()) <= 200


def test_the_style_needs_nothing_from_elsewhere() -> None:
    assert not re.search(r"url\(|@import", (STATIC / "station.css").read_text())
