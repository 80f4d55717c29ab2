"""The API against whatever its OpenAPI file allows, and does not: no 500, no write elsewhere."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from stations import MARKED, Station, picture, station

SECONDS = float(os.environ.get("EDGE_SHARPZO_FUZZ", "600"))
SHORT = 4  # requests to each endpoint
# News never end; what begins to tune is tried by the long test.
ENDLESS = ("/api/events",)
KNOWN = (200, 304, 400, 404, 405, 409, 413, 415, 421, 422, 503, 507)


@pytest.fixture
def room(photos: Path, tmp_path: Path) -> Path:
    """A folder whose folders `data` and `run` alone may change; nor does the cache lie in it."""
    shutil.copytree(photos / "train", tmp_path / "room" / "in" / "data")
    (tmp_path / "room" / "letter.txt").write_text("mine")
    (tmp_path / "room" / "in" / "letter.txt").write_text("mine")
    return tmp_path / "room"


@pytest.fixture
def served(tiny_onnx: Path, room: Path) -> Iterator[Station]:
    data, run = room / "in" / "data", room / "in" / "run"
    with station(tiny_onnx, data, run, budget=200) as running:
        running.settled()
        yield running


def beside(room: Path) -> dict[str, str]:
    """What lies beside the two folders, and those that runs are put away to."""
    return {
        str(path): path.read_text() if path.is_file() else ""
        for path in room.rglob("*")
        if not path.relative_to(room).as_posix().startswith(("in/data", "in/run"))
    }


def photos_in(data: Path) -> int:
    """Photos, those set aside too: no step deletes one."""
    return sum(path.suffix == ".png" for path in data.rglob("*") if ".station" not in path.parts)


def endpoints(served: Station) -> list[Any]:
    described = served.get("/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=served.url)
    return [made.ok() for made in schema.get_all_operations() if made.ok().path not in ENDLESS]


def real(served: Station, case: Any, picks: list[int]) -> None:
    """Has a request ask for photos and classes that are there, mostly."""
    state = served.get("/api/state").json()
    names = [each["name"] for each in state["classes"]] or ["none"]
    photos = served.get("/api/photos?limit=20").json()["photos"]
    ids = [each["id"] for each in photos] or ["0123456789abcdef"]
    chosen = {"name": names, "class": names, "into": names, "id": ids}
    body = case.body if isinstance(case.body, dict) else {}
    for place in (case.path_parameters or {}, case.query or {}, body):
        for name, values in chosen.items():
            if name in place and picks[1] % 4 and (place is not body or name == "into"):
                place[name] = values[picks[0] % len(values)]
    if "ids" in body and picks[1] % 4:
        body["ids"] = [ids[pick % len(ids)] for pick in picks[2:5]]


def asked(
    served: Station, operation: Any, examples: int, seconds: float | None = None
) -> Counter[int]:
    """Sends so many requests to an endpoint, or as many as there is time for; their statuses."""
    found: Counter[int] = Counter()
    ends = None if seconds is None else time.monotonic() + seconds
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=seconds is None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(
        case=st.one_of(modes), picks=st.lists(st.integers(0, 999), min_size=5, max_size=5)
    )
    def ask(case: Any, picks: list[int]) -> None:
        if ends is not None and time.monotonic() > ends:
            return
        real(served, case, picks)
        case.headers = {**(case.headers or {}), **MARKED}
        response = case.call(timeout=30)
        found[response.status_code] += 1
        assert response.status_code in KNOWN, (response.status_code, response.text)
        if response.status_code >= 400:
            told = response.json()["error"]
            assert told["cause"]
            assert "Traceback" not in told["cause"]
            assert "failed (" not in told["cause"], told  # what nobody has thought of

    ask()
    return found


def test_any_request_has_a_plain_answer(served: Station, room: Path) -> None:
    before, photos = beside(room), photos_in(served.desk.data)
    good = set()
    for operation in endpoints(served):
        if operation.path != "/api/learn" or operation.method == "get":
            found = asked(served, operation, SHORT)
            good |= {operation.path} if found[200] else set()
    assert len(good) > 12, good  # it is not that everything was refused
    assert served.get("/api/state").status_code == 200
    assert beside(room) == before
    assert photos_in(served.desk.data) >= photos


@pytest.mark.slow
def test_any_request_for_ten_minutes(served: Station, room: Path) -> None:
    before, photos = beside(room), photos_in(served.desk.data)
    ends, sent = time.monotonic() + SECONDS, Counter[int]()
    while time.monotonic() < ends:
        for operation in endpoints(served):
            sent += asked(served, operation, 50, SECONDS / 100)
        served.send("/api/photos?background", ("a.png", picture(0, sent.total())))
    print(dict(sent))
    assert sent[200] > 100
    assert served.get("/api/state").status_code == 200
    assert beside(room) == before
    assert photos_in(served.desk.data) >= photos
