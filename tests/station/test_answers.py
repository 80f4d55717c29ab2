"""What the station's API answers once it has learnt; the figures are in test_learner.py."""

import io
import json
import os
import zipfile
from pathlib import Path

import onnxruntime
import pytest
from helpers import invoke
from stations import Station, files_of, picture

from edge_sharpzo.runs.records import Summary
from edge_sharpzo.station.api import ENDPOINTS
from edge_sharpzo.station.take_api import zipped
from station.asking import RED, cause, ids


def test_a_try_answers_with_photos_as_the_reason(steady: Station, steady_data: Path) -> None:
    steady.settled()
    photo = (steady_data / "red_things" / "003.png").read_bytes()
    answer = steady.send("/api/try", ("photo.png", photo), field="photo").json()
    assert answer["by"] == "heads"
    assert {each["class"] for each in answer["answers"]} == {
        p.name for p in steady_data.glob("*_things")
    }
    assert sum(each["probability"] for each in answer["answers"]) == pytest.approx(1, abs=1e-5)
    assert answer["answers"] == sorted(answer["answers"], key=lambda a: -a["probability"])
    assert answer["answers"][0]["display"] == answer["answers"][0]["class"].replace("_", " ")
    assert len(answer["like"]) == 6
    threshold = answer["threshold"] or 0
    likely = answer["answers"][0]["probability"] >= threshold
    assert answer["sure"] is (likely and answer["known"] is not False)
    assert answer["threshold"] == steady.get("/api/look").json()["threshold"]
    assert answer["like"][0]["similarity"] == pytest.approx(1, abs=1e-3)  # itself
    assert answer["like"][0]["id"] == ids(steady, "class=red_things")[3]


def test_other_words_show_their_effect(steady: Station) -> None:
    steady.settled()
    now = steady.get("/api/look").json()
    same = steady.get("/api/words", params={"template": "a photo of a {}."}).json()
    assert same["before"] == same["after"]
    assert (same["before"]["right"], same["photos"]) == (now["before"]["right"], 18)
    named = {"class": "red_things", "display": "blue things"}
    other = steady.get("/api/words", params=named).json()
    assert other["before"] == same["before"]
    assert other["after"]["photos"] == 18
    assert steady.get("/api/state").json()["classes"][2]["display"] == "red things"  # as it was


def test_taking_it_elsewhere(
    served: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.settled()
    assert served.get("/api/take").json()["ready"] is False
    for name in ("classifier.onnx", "labels.txt", "run.zip"):
        assert "learn first" in cause(served.get(f"/api/take/{name}"), 409)
    served.post("/api/learn", {})
    served.until(lambda state: state["learn"]["state"] == "done", most=120)
    told = served.get("/api/take").json()
    assert told["ready"] is told["up_to_date"] is True
    outputs = onnxruntime.InferenceSession(tmp_path / "run" / "classifier.onnx").get_outputs()
    assert told["none_of_these"] is ("known" in [each.name for each in outputs])
    run = tmp_path / "run"
    sizes = {each["name"]: each["bytes"] for each in told["files"]}
    assert sizes["labels.txt"] == (run / "labels.txt").stat().st_size
    for name in ("classifier.onnx", "labels.txt"):
        assert served.get(f"/api/take/{name}").content == (run / name).read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(served.get("/api/take/run.zip").content))
    assert archive.testzip() is None
    assert {name.removeprefix("run/") for name in archive.namelist()} == set(sizes)
    assert archive.read("run/summary.json") == (run / "summary.json").read_bytes()
    archive.extractall(tmp_path / "elsewhere")
    photo = next((tmp_path / "data" / "red_things").iterdir())
    typed = told["command"].split()
    assert (typed[0], typed[-1]) == ("edge-sharpzo", "photo.jpg")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert invoke(*typed[1:-1], photo).exit_code == 0
    assert served.get("/api/learn").json()["queries"] == Summary.read(run).queries.total
    answer = served.send("/api/try", ("a.png", picture(RED)), field="photo").json()
    assert answer["by"] == "run"


@pytest.mark.parametrize("year", [1970, 1979, 1981, 2150])
def test_a_zip_takes_files_of_any_year(year: int, tmp_path: Path) -> None:
    file, seconds = tmp_path / "labels.txt", (year - 1970) * 31_557_600 + 86_400
    file.write_text("cat\n")
    os.utime(file, (seconds, seconds))
    made = zipfile.ZipFile(io.BytesIO(b"".join(zipped([file], "run"))))
    assert made.read("run/labels.txt") == b"cat\n"
    assert made.infolist()[0].date_time[0] == min(max(year, 1980), 2107)


def test_news_come_as_they_happen(served: Station) -> None:
    served.settled()
    with served.client() as client, client.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        first = json.loads(next(lines)[6:])
        served.post("/api/classes", {"name": "more"})
        second = json.loads(next(lines)[6:])
    assert first["version"] != second["version"]
    assert first["learn"]["state"] == "idle"


def test_without_a_camera_it_says_why(served: Station) -> None:
    served.desk.camera._video = Path("/dev/no-such-camera")
    told = served.get("/api/camera").json()
    assert (told["available"], "no camera" in told["why"]) == (False, True)
    assert "no camera" in cause(served.get("/api/camera/frame"), 409)


def test_pages_and_the_openapi_file_are_served(steady: Station) -> None:
    for path in ("/", "/learn", "/look", "/try", "/take"):
        answer = steady.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    described = steady.get("/api/openapi.json").json()
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {each.path for each in ENDPOINTS}


def test_what_is_tried_is_not_kept(
    served: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    served.settled()
    before = files_of(tmp_path)
    for number in range(3):
        served.send("/api/try", ("a.png", picture(RED, number)), field="photo")
    assert files_of(tmp_path) == before
