"""What tests of the station's API ask with, and what they look for in an answer."""

from typing import Any

from stations import Station, picture

RED, GREEN, BLUE = 0, 90, 170


def cause(answer: Any, status: int) -> str:
    """The cause of an error, which has the shape of all errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"cause", "field"}
    text: str = told["error"]["cause"]
    assert text
    assert "Traceback" not in text
    return text


def ids(served: Station, query: str) -> list[str]:
    return [each["id"] for each in served.get(f"/api/photos?{query}").json()["photos"]]


def part(content: bytes, name: str = "photos", more: str = '; filename="a.png"') -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content


GOOD = picture(RED, seed=77)
