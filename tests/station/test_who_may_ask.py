"""Who may ask the station: by host, by page, by header."""

import pytest
from stations import Station

from station.asking import cause


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "localhost:{port}@evil.example",
        "2130706433:{port}",
        "0.0.0.0:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/state", "/static/station.css"])
def test_other_names_for_this_host(host: str, path: str, steady: Station) -> None:
    name = host.format(port=steady.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    answer = steady.raw(request.encode())
    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400")), answer[:200]
    assert b"red_things" not in answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_this_host(host: str, steady: Station) -> None:
    request = f"GET /api/state HTTP/1.1\r\nHost: {host}:{steady.port}\r\nConnection: close\r\n\r\n"
    assert steady.raw(request.encode()).startswith(b"HTTP/1.1 200")


def test_two_hosts_or_none(steady: Station) -> None:
    ours = f"Host: 127.0.0.1:{steady.port}\r\n"
    for hosts in (ours + ours, ours + "Host: evil.example\r\n", ""):
        request = f"GET /api/state HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        assert not steady.raw(request.encode()).startswith(b"HTTP/1.1 200")


STEPS = ["/api/classes", "/api/undo", "/api/photos?class=red_things", "/api/learn", "/api/try"]


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize("headers", [{}, {"X-Edge-Sharpzo": "0"}, {"X-Edge-Sharpzo": "1, 1"}])
def test_what_changes_something_needs_the_header(
    path: str, headers: dict[str, str], steady: Station
) -> None:
    with steady.client() as client:
        answer = client.post(path, json={"name": "a"}, headers=headers)
    assert "X-Edge-Sharpzo" in cause(answer, 400)


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "null",
        "",
    ],
)
def test_what_comes_from_another_page(path: str, origin: str, steady: Station) -> None:
    headers = {"Origin": origin.format(port=steady.port)}
    answer = steady.post(path, {"name": "a"}, headers=headers)
    assert "Origin" in cause(answer, 400)
    ours = steady.post("/api/learn/stop", headers={"Origin": steady.url})
    assert ours.status_code == 200


def test_no_other_origin_is_allowed_to_read(steady: Station) -> None:
    with steady.client() as client:
        asked = client.options("/api/state", headers={"Origin": "http://evil.example"})
    for answer in (asked, steady.get("/", headers={"Origin": "http://evil.example"})):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/api/state", "/api/camera/frame", "/api/take/run.zip"])
@pytest.mark.parametrize(
    ("header", "value", "passes"),
    [
        ("Origin", "http://evil.example", False),
        ("Sec-Fetch-Site", "cross-site", False),
        ("Sec-Fetch-Site", "same-site", False),  # another port of this host
        ("Sec-Fetch-Site", "same-origin", True),
        ("Sec-Fetch-Site", "none", True),  # typed by hand
    ],
)
def test_other_pages_read_nothing_and_switch_nothing_on(
    header: str, value: str, passes: bool, path: str, steady: Station
) -> None:
    answer = steady.get(path, headers={header: value})
    assert (header in answer.text) is not passes
    assert (answer.status_code == 400) is not passes
    assert steady.get("/", headers={header: value}).status_code == 200  # a link leads here
