"""Requests to the station that make no sense: each is a plain error, and nothing changes."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from stations import MARKED, Station, files_of, picture, station

from edge_sharpzo.station import pages
from station.asking import RED, cause, ids

JSON = {"Content-Type": "application/json"}
NAMES = [
    "",
    " ",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "/etc",
    ".hidden",
    "_background",
    "train",
    "new\nline",
    "nul\0",
    "\u202egnp",
    "x" * 81,
    "ü" * 101,
    "\ud800",
]


@pytest.mark.parametrize("name", NAMES)
def test_bad_names_of_classes(name: str, steady: Station, steady_data: Path) -> None:
    before = files_of(steady_data)
    body = json.dumps({"name": name})  # \ud800 as an escape, too
    with steady.client() as client:
        made = client.post("/api/classes", content=body, headers={**MARKED, **JSON})
    assert made.status_code in (400, 422)
    assert cause(made, made.status_code)
    body = json.dumps({"to": name})
    with steady.client() as client:
        made = client.post(
            "/api/classes/red_things/rename", content=body, headers={**MARKED, **JSON}
        )
    assert made.status_code in (400, 422)
    assert {n for n in files_of(steady_data) if not n.startswith(".station")} == {
        n for n in before if not n.startswith(".station")
    }


@pytest.mark.parametrize("name", ["green_things", "Green things", "GREEN_THINGS"])
def test_a_class_cannot_take_anothers_name(name: str, steady: Station, steady_data: Path) -> None:
    assert cause(steady.post("/api/classes", {"name": name}), 409)
    assert cause(steady.post("/api/classes/red_things/rename", {"to": name}), 409)
    assert len(list((steady_data / "red_things").iterdir())) == 6


@pytest.mark.parametrize(
    "path",
    [
        "/api/photos/0123456789abcdef/thumbnail",
        "/api/photos/..%2f..%2fetc%2fpasswd/image",
        "/api/photos/%2e%2e/image",
        "/api/photos//etc/passwd/image",
        "/api/photos/%00/image",
        "/api/photos/" + "a" * 3000 + "/image",
        "/api/photos/%ff%fe/thumbnail",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/desk.py",
        "/static/..%5c..%5capp.py",
        "/static//etc/passwd",
        "/static/no-such.js",
        "/templates/base.html.jinja",
        "/api/take/config.json",
        "/api/take/..%2fconfig.json",
        "/api/",
        "/.station/token",
        "//evil.example/",
    ],
)
def test_nothing_else_is_served(path: str, steady: Station) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\nConnection: close\r\n\r\n"
    answer = steady.raw(request.encode())
    assert answer.startswith(b"HTTP/1.1 404"), answer[:300]
    assert b'"cause"' in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/api/classes/no-such/rename",
        "/api/classes/..%2f..%2fdata/rename",
        "/api/classes/%2e%2e/rename",
        "/api/classes/.station/rename",
        "/api/classes/red_things%00/rename",
        "/api/classes/%ed%a0%80/rename",
    ],
)
def test_classes_are_looked_up_never_joined(path: str, steady: Station, steady_data: Path) -> None:
    before = sorted(each.name for each in steady_data.iterdir())
    answer = steady.post(path, {"to": "mine"})
    assert cause(answer, 404)
    assert sorted(each.name for each in steady_data.iterdir()) == before


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=99999999999999999999999",
        "limit=1e9",
        "limit=-1",
        "limit=NaN",
        "offset=-1",
        "offset=10000000000",
        "offset=%F0%9F%92%A9",
        "limit=1&limit=2",
        "class=a&background=1",
        "class=" + "x" * 300,
        "page=2",
    ],
)
def test_queries_that_make_no_sense(query: str, steady: Station) -> None:
    assert cause(steady.get(f"/api/photos?{query}"), 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"name": "a"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 200_000, 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"name": 3}', 422),
        (b'{"name": null}', 422),
        (b'{"name": "a", "more": 1}', 422),
        (b'{"name": "' + b"a" * 2_000_000 + b'"}', 413),
        (b"1" * 5000, 422),
        (b'{"name": "\\ud800"}', 400),
        (b'{"name": "\\ud800', 400),
        (b'{"name": "a\\udfffb", "more": [1]}', 400),
    ],
)
def test_bodies_that_are_no_request(body: bytes, status: int, steady: Station) -> None:
    with steady.client() as client:
        answer = client.post("/api/classes", content=body, headers={**MARKED, **JSON})
    has_half = b"\\ud" in body and body.endswith(b"}")
    assert ("half of a character" in cause(answer, status)) == has_half


@pytest.mark.parametrize(
    "body",
    [
        {"ids": [], "to": "background"},
        {"ids": ["../../etc/passwd"], "to": "background"},
        {"ids": ["0123456789ABCDEF"], "to": "background"},
        {"ids": ["0123456789abcdef"], "to": "nowhere"},
        {"ids": ["0123456789abcdef"], "to": {"class": ""}},
        {"ids": ["0123456789abcdef"], "to": {"folder": "red_things"}},
        {"ids": "0123456789abcdef", "to": "background"},
        {"ids": [1], "to": "background"},
    ],
)
def test_moves_that_make_no_sense(body: Any, steady: Station) -> None:
    assert cause(steady.post("/api/photos/move", body), 422)


@pytest.mark.parametrize(
    ("path", "body", "told", "field"),
    [
        ("/api/classes", {"name": ""}, "name is empty", "name"),
        ("/api/classes", {"name": "x" * 201}, "name has more than 200 characters", "name"),
        ("/api/classes", {"name": 3}, "name has to be text, and is a whole number", "name"),
        ("/api/classes", {}, "name is missing", "name"),
        ("/api/classes", {"name": "a", "more": 1}, "more is nothing that is taken here", "more"),
        ("/api/classes", {"name": "a", "{x}": 1}, "{x} is nothing that is taken here", "{x}"),
        ("/api/classes", {"name": "a", "a\nb": 1}, "a\\nb is nothing that is taken here", "a\\nb"),
        ("/api/classes", [], "what is sent has to be an object, and is a list", None),
        ("/api/learn/auto", {"on": "yes"}, "on has to be true or false, and is text", "on"),
        (
            "/api/photos/move",
            {"ids": [], "to": "back"},
            "ids is empty: give at least one entry",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16] * 20_001, "to": "back"},
            "ids has more than 20000 entries",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16, "../a"], "to": "back"},
            "an entry of ids is no photo's id, 16 digits of 0 to 9, a to f",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16, None], "to": "back"},
            "an entry of ids has to be text, and is null",
            "ids",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16], "to": 3},
            "to has to be text or an object, and is a whole number",
            "to",
        ),
        (
            "/api/photos/move",
            {"ids": ["0" * 16], "to": {"class": ""}},
            "class in to is empty",
            "to",
        ),
        ("/api/photos/move", {"ids": ["0" * 16], "to": {}}, "class in to is missing", "to"),
    ],
)
def test_a_field_of_another_shape_is_told(
    path: str, body: Any, told: str, field: str | None, steady: Station
) -> None:
    answer = steady.post(path, body)
    assert cause(answer, 422) == told
    assert answer.json()["error"]["field"] == field


@pytest.mark.parametrize(
    ("query", "told", "field"),
    [
        ("limit=0", "limit has to be 1 or more", "limit"),
        ("class=a&limit=1001", "limit has to be 1000 or less", "limit"),
        ("offset=some", "offset has to be a whole number, and is text", "offset"),
        ("set-aside=12345678901", "set-aside has more than 10 characters", "set-aside"),
        ("page=2", "page is nothing that is taken here", "page"),
    ],
)
def test_a_parameter_of_another_shape_is_told(
    query: str, told: str, field: str, steady: Station
) -> None:
    answer = steady.get(f"/api/photos?{query}")
    assert cause(answer, 422) == told
    assert answer.json()["error"]["field"] == field


def test_moves_of_photos_that_are_gone(steady: Station) -> None:
    photo = ids(steady, "class=red_things")[0]
    for to in ("background", {"class": "red_things"}, "set-aside", "back"):
        body = {"ids": ["0123456789abcdef"], "to": to}
        assert cause(steady.post("/api/photos/move", body), 404)
    assert cause(steady.post("/api/photos/move", {"ids": [photo], "to": {"class": "no"}}), 404)


@pytest.mark.parametrize("template", ["", "no place", "{} and {}", "{0}", "a\n{}", "{}\ud800"])
def test_templates_without_a_place(template: str, steady: Station) -> None:
    body = json.dumps({"template": template})
    with steady.client() as client:
        made = client.post("/api/template", content=body, headers={**MARKED, **JSON})
    assert made.status_code in (400, 422)
    if "\ud800" not in template:
        assert cause(steady.get("/api/words", params={"template": template}), 422)


def test_a_template_too_long_for_the_model_is_refused(steady: Station) -> None:
    steady.settled()
    long = "word " * 300 + "{}"
    assert "tokens" in cause(steady.get("/api/words", params={"template": long}), 422)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/template", {"template": "long " * 90 + "{}"}, "template"),
        ("/api/template", {"template": "{}" + " , ." * 60}, "template"),
        ("/api/template", {"template": "\U0001f600" * 80 + "{}"}, "template"),
        ("/api/classes", {"name": "\u8d64\u3044\u8eca" * 20}, "name"),
        ("/api/classes/red_things/rename", {"to": "\U0001f9ff" * 45}, "to"),
        ("/api/classes/red_things/display", {"display": "q7" * 40}, "display"),
    ],
)
def test_words_that_are_too_long_for_the_model_are_refused(
    path: str, body: dict[str, str], field: str, steady: Station
) -> None:
    answer = steady.post(path, body)
    assert "tokens and the model reads" in cause(answer, 422)
    assert answer.json()["error"]["field"] == field
    assert steady.settled()["look"]["state"] == "ready"


@pytest.mark.parametrize("path", ["/api/events", "/api/state", "/", "/api/look"])
def test_heads_end(path: str, steady: Station) -> None:
    steady.settled()
    with steady.client() as client:
        began = time.monotonic()
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert client.get("/api/state").status_code == 200
        assert time.monotonic() - began < 5
    request = f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1:{steady.port}\r\nConnection: close\r\n\r\n"
    assert steady.raw(request.encode(), timeout=5).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("folder", [b"caf\xe9", b"train/na\xefve", b"\xff\xfe/sub", b"dog\xc3"])
def test_folders_aside_whose_names_are_no_text(folder: bytes, served: Station, data: Path) -> None:
    for place in (folder, b"cow"):
        path = data / ".set-aside" / os.fsdecode(place) / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(RED))
    listed = served.get("/api/photos?set-aside=1").json()
    first = folder.split(b"/")[0].decode(errors="backslashreplace")
    assert (listed["total"], sorted(each["class"] for each in listed["photos"])) == (
        2,
        sorted(["cow", first]),
    )
    assert served.get("/api/state").json()["set_aside"] == 2
    assert served.get("/api/photos").json()["total"] == 18


def test_a_run_folder_whose_name_is_no_text(tiny_onnx: Path, data: Path, tmp_path: Path) -> None:
    with station(tiny_onnx, data, tmp_path / os.fsdecode(b"run\xe9")) as running:
        for path in ("/api/state", "/api/take", "/api/learn"):
            assert running.get(path).status_code == 200


@pytest.mark.parametrize("name", ["%00", "a%00.js", "css%2f%00", "..%00", "n" * 300, "%ff"])
def test_static_files_that_cannot_be(name: str, steady: Station) -> None:
    assert cause(steady.get(f"/static/{name}"), 404)


@pytest.mark.parametrize("ranges", ["0-1", "0-,5-9", ",".join(["0-1"] * 6000), "x", "-5"])
def test_everything_is_sent_whole(ranges: str, steady: Station, steady_data: Path) -> None:
    photo = ids(steady, "class=red_things")[0]
    path = steady_data / "red_things" / "000.png"
    answer = steady.get(f"/api/photos/{photo}/image", headers={"Range": f"bytes={ranges}"})
    assert (answer.status_code, answer.content) == (200, path.read_bytes())
    assert answer.headers["content-length"] == str(path.stat().st_size)
    css = next((Path(pages.__file__).parent / "static").glob("*.css"))
    answer = steady.get(f"/static/{css.name}", headers={"Range": f"bytes={ranges}"})
    assert (answer.status_code, answer.content) == (200, css.read_bytes())


@pytest.mark.parametrize("what", ["pipe", "folder", "nothing", "link to a pipe"])
def test_a_photo_that_became_no_file_while_it_was_listed(
    what: str, served: Station, data: Path
) -> None:
    photo, path = ids(served, "class=red_things")[0], data / "red_things" / "000.png"
    served.desk.contents()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to a pipe":
        os.mkfifo(data.parent / "pipe")
        path.symlink_to(data.parent / "pipe")
    with served.client() as client:
        assert cause(client.get(f"/api/photos/{photo}/image", timeout=5), 404)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_json_alone_is_taken_as_json(kind: str, steady: Station) -> None:
    with steady.client() as client:
        answer = client.post(
            "/api/classes", content=b'{"name": "a"}', headers={**MARKED, "Content-Type": kind}
        )
    assert cause(answer, 415)


@pytest.mark.parametrize("path", ["/api/classes", "/api/state", "/", "/api/photos/move"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods(method: str, path: str, steady: Station) -> None:
    with steady.client() as client:
        assert cause(client.request(method, path, headers=MARKED), 405)
