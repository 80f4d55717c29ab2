"""A station that dies at any moment of a walk over HTTP loses nothing, and the next one opens."""

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from album.test_kills import check_back_and_forth, check_whole, contents
from helpers import write_photos
from stations import MARKED, picture

from edge_sharpzo.album import Album
from station.test_command import launched

NAMES = ("hat", "shoe", "cup", "pen", "<b>")


class Walk:
    """Someone at the page, who does one thing after another until the station is gone."""

    def __init__(self, rng: random.Random):
        self.rng, self.numbers, self.added = rng, count(), list[bytes]()

    def until_it_dies(self, link: str) -> None:
        ways = (self.add, self.add, self.move, self.move, self.name, self.undo, self.learn)
        with suppress(httpx.TransportError), httpx.Client(base_url=link, trust_env=False) as client:
            while True:
                self.step(client, self.rng.choice(ways))

    def until_more(self) -> None:
        """Waits until another photo is in."""
        before, ends = len(self.added), time.monotonic() + 60
        while len(self.added) == before:
            assert time.monotonic() < ends
            time.sleep(0.01)

    def step(self, client: httpx.Client, way: Callable[..., tuple[str, dict[str, Any]]]) -> None:
        path, given = way(client)
        answer = client.post(path, headers=MARKED, **given)
        assert answer.status_code < 500, (path, answer.text)
        if answer.is_success and "files" in given:
            assert answer.json()["added"] == len(given["files"]), answer.text
            self.added += [photo for _, (_, photo) in given["files"]]

    def classes(self, client: httpx.Client) -> list[str]:
        return [each["name"] for each in client.get("/api/state").json()["classes"]]

    def add(self, client: httpx.Client) -> tuple[str, dict[str, Any]]:
        place = f"class={self.rng.choice(self.classes(client))}"
        place = self.rng.choice([place, place, "background=1"])
        numbers = [next(self.numbers) for _ in range(self.rng.randint(1, 3))]
        files = [("photos", ("a.png", picture(n % 256, 1000 + n))) for n in numbers]
        return f"/api/photos?{place}", {"files": files}

    def move(self, client: httpx.Client) -> tuple[str, dict[str, Any]]:
        classes = self.classes(client)
        where = self.rng.choice([{"class": self.rng.choice(classes)}, {"set-aside": 1}])
        photos = client.get("/api/photos", params=where).json()["photos"]
        some = self.rng.sample(photos, min(len(photos), self.rng.randint(1, 3)))
        to = self.rng.choice(
            [{"class": self.rng.choice(classes)}, "background", "set-aside", "back"]
        )
        return "/api/photos/move", {"json": {"ids": [each["id"] for each in some], "to": to}}

    def name(self, client: httpx.Client) -> tuple[str, dict[str, Any]]:
        one, another = self.rng.choice(self.classes(client)), self.rng.choice(NAMES)
        return self.rng.choice(
            [
                ("/api/classes", {"json": {"name": another}}),
                (f"/api/classes/{one}/rename", {"json": {"to": another}}),
                (f"/api/classes/{one}/merge", {"json": {"into": another}}),
                (f"/api/classes/{one}/display", {"json": {"display": another * 2}}),
                (f"/api/classes/{one}/remove", {}),
                ("/api/template", {"json": {"template": f"a {another} of {{}}"}}),
            ]
        )

    def undo(self, _: httpx.Client) -> tuple[str, dict[str, Any]]:
        return self.rng.choice(["/api/undo", "/api/redo"]), {}

    def learn(self, _: httpx.Client) -> tuple[str, dict[str, Any]]:
        return self.rng.choice(
            [
                ("/api/learn", {"json": {"again": True}}),
                ("/api/learn", {"json": {}}),
                ("/api/learn/stop", {}),
            ]
        )


def check_folder(root: Path, photos: list[bytes]) -> None:
    """Every photo is there once, in whole, and what was done can be undone and done again."""
    with Album.open(root) as album:
        check_whole(root)
        there = contents(root)
        assert len(set(there)) == len(there)
        assert set(photos) <= set(there)
        check_back_and_forth(album, there)


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="2"), pytest.param(100, id="100", marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_of_a_walk(kills: int, tiny_onnx: Path, tmp_path: Path) -> None:
    rng, root, run = random.Random(kills), tmp_path / "data", tmp_path / "run"
    for seed, name in enumerate(("red things", "green things", "blue things")):
        write_photos(root / name, 85 * seed, 6, seed)
    first, walk = contents(root), Walk(rng)
    given = ("--data", root, "--onnx", tiny_onnx, "--run", run, "--port", 0, "--threads", 1)
    for number in range(kills):
        with launched(*given) as (process, link):
            walker = Thread(target=walk.until_it_dies, args=(link,), daemon=True)
            walker.start()
            if number % 2:  # the others may come before anything was done
                walk.until_more()
            time.sleep(rng.uniform(0, 3))
            assert process.poll() is None
            assert walker.is_alive()
            process.kill()
            walker.join(60)
            assert not walker.is_alive()
        check_folder(root, first + walk.added)
    assert len(walk.added) >= kills // 2
    with launched(*given) as (process, link):
        learnt(link)
        process.kill()
    json.loads((run / "summary.json").read_text())


def learnt(link: str) -> None:
    """It learns of the photos as they are now, to the end."""
    with httpx.Client(base_url=link, trust_env=False, headers=MARKED, timeout=60) as client:
        for name, hue in (("end red", 0), ("end blue", 170)):
            client.post("/api/classes", json={"name": name})
            files = [("photos", ("a.png", picture(hue, 10**6 + hue + n))) for n in range(8)]
            assert client.post(f"/api/photos?class={name}", files=files).json()["added"] == 8
        assert client.post("/api/learn", json={"again": True}).status_code == 200
        ends = time.monotonic() + 120
        while (learn := client.get("/api/learn").json())["state"] != "done":
            assert learn["state"] in ("encoding", "tuning"), learn
            assert time.monotonic() < ends, learn
            time.sleep(0.1)
