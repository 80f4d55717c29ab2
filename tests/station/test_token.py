"""The station's token: who has it, who guesses it, and where it is kept."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stations import MARKED, Station, station

from edge_sharpzo.album import Album
from edge_sharpzo.station.tokens import (
    MOST_HOSTS,
    MOST_WRONG,
    WITHIN,
    Tokens,
    TooManyError,
    kept_token,
)
from edge_sharpzo.system.errors import UserError
from station.asking import cause

NAME = Tokens("right" * 9).cookie_name


@pytest.fixture(scope="module")
def guarded_station(
    tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Station]:
    room = tmp_path_factory.mktemp("guarded")
    shutil.copytree(photos / "train", room / "data")
    with station(tiny_onnx, room / "data", room / "run", Tokens("right" * 9)) as running:
        yield running


@pytest.fixture
def guarded(guarded_station: Station) -> Station:
    """With no wrong token so far."""
    guarded_station.tokens._wrong.clear()
    return guarded_station


def test_the_link_opens_a_browser(guarded: Station) -> None:
    for path in ("/", "/api/state", "/static/photos.js", "/api/events"):
        assert "link" in cause(guarded.get(path), 401)
    with guarded.client() as client:
        first = client.get("/?token=" + "right" * 9)
        assert first.status_code == 200
        assert 'url=/"' in first.text
        cookie = first.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "right" not in cookie
        assert client.get("/api/state").status_code == 200
        assert client.post("/api/learn/stop", headers=MARKED).status_code == 200
        assert cause(client.post("/api/learn/stop"), 400)


@pytest.mark.parametrize("path", ["/", "/look", "/?token=wrong", "/api/state"])
def test_a_browser_without_the_token_is_asked_for_it(path: str, guarded: Station) -> None:
    with guarded.client() as client:
        answer = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
        assert answer.status_code == 401
        assert answer.headers["content-type"].startswith("text/html")
        assert '<form action="/"' in answer.text
        assert 'name="token"' in answer.text
        assert not any(each in answer.text for each in ("<script", "<style", " style=", "right"))
        assert client.get("/", params={"token": "right" * 9}).status_code == 200  # what it sends
        assert client.get("/look").status_code == 200


def test_learning_begins_without_a_body(served: Station) -> None:
    with served.client() as client:
        assert client.post("/api/learn", headers=MARKED).status_code == 200
        for path in ("/api/classes", "/api/template", "/api/learn/auto"):
            assert "send JSON" in cause(client.post(path, headers=MARKED), 415)


def test_a_script_brings_the_token_as_a_header(guarded: Station) -> None:
    headers = {"Authorization": "Bearer " + "right" * 9}
    assert guarded.get("/api/state", headers=headers).status_code == 200
    assert guarded.post("/api/learn/stop", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {"params": {"token": "wrong"}},
        {"params": {"token": "right" * 8}},
        {"params": {"token": "ü\u202e\0"}},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Cookie": f"{NAME}=right"}},
        {"headers": {"Cookie": f"{NAME}=" + "right" * 9}},
        {"headers": {"Cookie": "; ; =;;" + NAME}},
    ],
)
def test_wrong_tokens(given: Any, guarded: Station) -> None:
    assert cause(guarded.get("/api/state", **given), 401)


def test_after_too_many_wrong_ones_of_an_address_none_of_it_is_looked_at() -> None:
    now = [0.0]
    tokens = Tokens("right", lambda: now[0])
    for _ in range(MOST_WRONG):
        assert not tokens.admits("wrong", [], "stranger")
    for token in ("wrong", "right"):
        with pytest.raises(TooManyError):
            tokens.admits(token, [], "stranger")
    assert tokens.admits("right", [], "owner")  # strangers lock nobody else out
    assert tokens.admits(None, [tokens.cookie], "stranger")
    assert not tokens.admits(None, [], "stranger")
    now[0] = WITHIN + 1
    assert tokens.admits("right", [], "stranger")
    assert not tokens.admits("wrong", [], "stranger")


def test_strangers_of_many_addresses_take_no_memory() -> None:
    tokens = Tokens("right")
    for number in range(3 * MOST_HOSTS):
        assert not tokens.admits("wrong", [], str(number))
    assert len(tokens._wrong) == MOST_HOSTS
    assert tokens.admits("right", [], "owner")


def test_too_many_are_told(guarded: Station) -> None:
    for _ in range(MOST_WRONG):
        guarded.get("/?token=wrong")
    assert "ten minutes" in cause(guarded.get("/?token=" + "right" * 9), 429)
    page = guarded.get("/?token=" + "right" * 9, headers=BROWSER)
    assert page.status_code == 429
    assert "ten minutes" in page.text


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/", "/learn", "/look", "/try", "/take"])
def test_a_page_asks_for_the_token(path: str, guarded: Station) -> None:
    for query, wrong in (("", False), ("?token=", False), ("?token=%3Cb%3Estale", True)):
        page = guarded.get(path + query, headers=BROWSER)
        assert page.status_code == 401
        assert page.headers["content-type"].startswith("text/html")
        assert '<form action="/"' in page.text
        assert 'name="token"' in page.text
        assert ("That is not the token." in page.text) == wrong
        assert "stale" not in page.text
    for file in re.findall(r'(?:href|src)="(/static/[^"]+)', page.text):
        assert guarded.get(file).status_code == 200
    assert cause(guarded.post(path, headers=MARKED), 401)


def test_the_token_is_kept_where_its_owner_alone_reads_it(tmp_path: Path) -> None:
    token = kept_token(tmp_path / "own")
    assert len(token) >= 43
    assert (tmp_path / "own" / "token").stat().st_mode & 0o777 == 0o600
    assert kept_token(tmp_path / "own") == token
    for broken in (b"", b"short", b"\xff\xfe"):
        file = tmp_path / "own" / "token"
        file.write_bytes(broken)
        if broken == b"\xff\xfe":
            with pytest.raises(UserError, match="delete the file"):
                kept_token(tmp_path / "own")
        else:
            assert len(kept_token(tmp_path / "own")) >= 43


@pytest.mark.parametrize("what", ["link", "link to nothing", "pipe", "folder"])
@pytest.mark.parametrize("name", ["token", "lock", "journal.jsonl"])
def test_a_file_of_the_station_is_never_one_elsewhere(
    name: str, what: str, data: Path, tmp_path: Path
) -> None:
    victim, place = tmp_path / "victim", data / ".station" / name
    place.parent.mkdir()
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to(victim)
    if what == "link":
        victim.write_text("mine")
        victim.chmod(0o644)
    with pytest.raises(UserError, match=name):
        kept_token(data / ".station") if name == "token" else Album.open(data)
    if what == "link":
        assert victim.read_text() == "mine"
        assert victim.stat().st_mode & 0o777 == 0o644
    else:
        assert not victim.exists()


@pytest.mark.parametrize("stale", ["0" * 64, "", "ü", "right" * 9])
def test_a_page_left_open_locks_nobody_out(stale: str) -> None:
    tokens = Tokens("another one")
    for _ in range(MOST_WRONG * 2):
        assert not tokens.admits(None, [stale], "owner")
    assert tokens.admits("another one", [stale], "owner")


@pytest.mark.parametrize(
    "others",
    [
        "{right}",
        'prefs={{"a":"b"}}; {right}',
        "x=a b; {right}; y",
        "{right}; {name}=old",
        '{name}="old;{right}',
        "\\=1,2; @; {right} ;",
    ],
)
def test_cookies_of_others_change_nothing(others: str, guarded: Station) -> None:
    assert guarded.tokens
    right = f"{NAME}={guarded.tokens.cookie}"
    given = {"Cookie": others.format(name=NAME, right=right)}
    assert guarded.get("/api/state", headers=given).status_code == 200


def test_two_stations_of_one_host_leave_each_other_in() -> None:
    names = {Tokens(token).cookie_name for token in ("one", "two", "right" * 9)}
    assert len(names) == 3
