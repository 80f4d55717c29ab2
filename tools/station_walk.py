"""Walks through a station as a browser would: uploads, answers, learning begun and stopped.

With Python's own library: it is to run where nothing but the package is installed.

    python station_walk.py PHOTOS RUN      PHOTOS/<class>/*.jpg, 5 or more photos a class
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

FORM = "----form"
QUERIES = 100  # after which learning is stopped


def asked(url: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    """The JSON answer; raises OSError for any other."""
    headers = {"X-Edge-Sharpzo": "1", "Content-Type": kind}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def sent(url: str, field: str, photos: list[Path]) -> Any:
    """The answer to a form with these photos."""
    part = f'--{FORM}\r\nContent-Disposition: form-data; name="{field}"; filename="{{}}"\r\n\r\n'
    parts = [part.format(p.name).encode() + p.read_bytes() + b"\r\n" for p in photos]
    return asked(
        url, b"".join(parts) + f"--{FORM}--".encode(), f"multipart/form-data; boundary={FORM}"
    )


def waited(url: str, field: str, is_done: Callable[[Any], bool]) -> Any:
    """What `field` of the state says once that `is_done`."""
    while not is_done(now := asked(url + "api/state")[field]):
        if now["state"] == "failed":
            raise SystemExit(f"{field}: {now}")
        time.sleep(1)
    return now


def walk(url: str, classes: dict[str, list[Path]]) -> None:
    """The last photo of each class is kept back, and asked for in the end.

    Learning is stopped on the way: where this runs emulated, it would take hours.
    """
    for name, photos in classes.items():
        asked(url + "api/classes", json.dumps({"name": name}).encode())
        answer = sent(f"{url}api/photos?class={quote(name)}", "photos", photos[:-1])
        print(f"uploaded to {name}: {answer['added']} of {len(photos) - 1}")
    waited(url, "look", lambda look: look["state"] == "ready")
    for name, photos in classes.items():
        answer = sent(url + "api/try", "photo", photos[-1:])
        best = answer["answers"][0]
        print(f"a photo of {name}: {best['class']}, {best['probability']:.0%}")
    asked(url + "api/learn", b"{}")
    waited(url, "learn", lambda learn: learn["queries"] > QUERIES)
    asked(url + "api/learn/stop", b"")
    learn = waited(url, "learn", lambda learn: learn["state"] == "idle")
    print(f"stopped after {learn['queries']} queries; can go on: {learn['resumable']}")


def main() -> None:
    photos, run = (Path(argument) for argument in sys.argv[1:])
    classes = {
        folder.name: sorted(folder.iterdir())
        for folder in sorted(photos.iterdir())
        if folder.is_dir()
    }
    shutil.rmtree(run, ignore_errors=True)
    with tempfile.TemporaryDirectory() as data:
        command = ["edge-sharpzo", "station", "--data", data, "--run", str(run), "--port", "0"]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as station:
            assert station.stdout is not None
            try:
                walk(station.stdout.readline().split()[-1], classes)
            finally:
                station.terminate()
        print(f"{time.monotonic() - began:.0f} s from the start to the end")


if __name__ == "__main__":
    main()
