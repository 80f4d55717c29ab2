"""A `station` at work: seconds to the first answer, to see what a relabel does, and what 50 photos
that come at once cost those who look at it meanwhile.

`python -m benchmarks.station_cost [--out FILE.json]`

Linux only. The station starts as a user starts it, on an empty folder, with the embedded model and
an empty cache. All photos have 12 megapixels.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.timing import save

CLASSES = ("hat", "shoe", "cup")
SIZE = (4000, 3000)
PHOTOS = 8  # a class
UPLOADS, PAGES = 50, 3  # at once
RELABELS = 5


def photo(seed: int, hue: int) -> bytes:
    """A JPEG of soft shapes of about one colour, with a camera's noise."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    colour = np.roll([180, 90, 60], hue) + rng.normal(0, 40, (height // 250, width // 250, 3))
    soft = Image.fromarray(colour.clip(0, 255).astype(np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    grain = rng.integers(-8, 9, (height, width, 1), np.int16)
    stream = io.BytesIO()
    picture = (np.asarray(soft, np.int16) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(picture).save(stream, "JPEG", quality=85)
    return stream.getvalue()


class Served:
    """A station in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], link: str):
        self.process = process
        self.client = httpx.Client(
            base_url=link, headers={"X-Edge-Sharpzo": "1"}, trust_env=False, timeout=300
        )

    def asked(self, path: str, **form: Any) -> Any:
        """The JSON answer to a GET, or to a POST where there is something to send."""
        answer = self.client.post(path, **form) if form else self.client.get(path)
        answer.raise_for_status()
        return answer.json()

    def until(self, is_done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first state that `is_done`, asked for every hundredth of a second."""
        while not is_done(state := self.asked("/api/state")):
            time.sleep(0.01)
        return dict(state)

    def processor_seconds(self) -> float:
        """Of all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """The most memory that a process has held, MB of 10^6 bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((1024 * int(each.split()[1]) / 1e6 for each in lines if each[:6] == "VmHWM:"), 0.0)


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge_sharpzo", name, *map(str, arguments)]


@contextmanager
def started(place: Path) -> Iterator[Served]:
    given = ("--data", place / "imgs", "--run", place / "run", "--port", 0)
    with subprocess.Popen(command("station", *given), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield Served(process, process.stdout.readline().split()[-1])
        finally:
            process.terminate()


def first_answer(served: Served, began: float) -> dict[str, float]:
    """Seconds since `began`: photos come in class by class, then one is tried."""
    link = time.monotonic() - began
    sent = [(c, photo(100 * i + n, i)) for i, c in enumerate(CLASSES) for n in range(PHOTOS)]
    asked = photo(1000, 0)
    made = time.monotonic() - began - link  # a browser has its photos already
    for name in CLASSES:
        served.asked("/api/classes", json={"name": name})
        files = [("photos", ("a.jpg", each)) for of, each in sent if of == name]
        served.asked(f"/api/photos?class={name}", files=files)
    served.until(lambda state: state["look"]["state"] == "ready")
    answer = served.asked("/api/try", files={"photo": ("a.jpg", asked)})
    assert answer["answers"][0]["class"] == CLASSES[0], answer
    return {
        "link": round(link, 2),
        "first_answer": round(time.monotonic() - began - made, 2),
        "first_answer_processor": round(served.processor_seconds(), 2),
    }


def slowest_relabel(served: Served) -> float:
    """Seconds from a press to what it changed, the slowest of several."""
    found = []
    for number in range(RELABELS):
        of, to = CLASSES[number % 3], CLASSES[(number + 1) % 3]
        one = served.asked(f"/api/photos?class={of}")["photos"][0]["id"]
        before, began = served.asked("/api/look")["version"], time.monotonic()
        served.asked("/api/photos/move", json={"ids": [one], "to": {"class": to}})
        served.until(
            lambda state, before=before: (  # type: ignore[misc]
                state["look"]["state"] == "ready" and state["look"]["version"] != before
            )
        )
        found.append(time.monotonic() - began)
    return round(max(found), 2)


def load(served: Served) -> dict[str, float]:
    """Photos that come at once while it tunes, and pages that are looked at meanwhile."""
    photos, slow, over = [photo(2000 + n, n % 3) for n in range(UPLOADS)], [0.0], Event()
    served.asked("/api/learn", json={})
    served.until(lambda state: state["learn"]["state"] == "tuning")

    def look() -> None:
        while not over.is_set():
            some = served.asked("/api/photos?limit=20")["photos"]
            thumbnail = f"/api/photos/{some[-1]['id']}/thumbnail"
            for path in ("/", "/look", "/api/state", "/api/look", "/api/learn", thumbnail):
                began = time.monotonic()
                served.client.get(path)
                slow.append(time.monotonic() - began)

    pages = [Thread(target=look) for _ in range(PAGES)]
    for page in pages:
        page.start()
    began = time.monotonic()
    with ThreadPoolExecutor(UPLOADS) as pool:
        sent = [
            pool.submit(served.asked, f"/api/photos?class={CLASSES[n % 3]}", files={"photos": each})
            for n, each in enumerate(photos)
        ]
        assert sum(each.result()["added"] for each in sent) == UPLOADS
    seconds = time.monotonic() - began
    tuning = served.asked("/api/learn")["state"] == "tuning"
    over.set()
    for page in pages:
        page.join()
    assert tuning
    return {
        "uploads_seconds": round(seconds, 1),
        "requests_meanwhile": len(slow) - 1,
        "slowest_request": round(max(slow), 2),
    }


def tuner_mb(place: Path) -> float:
    """The peak of `tune` by itself on the same photos."""
    given = ("--data", place / "imgs", "--out", place / "alone", "--shots", 0)
    most = 0.0  # not what the system says of a child that ended: its parent's counts there
    with subprocess.Popen(command("tune", *given), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, peak_mb(process.pid))
            time.sleep(0.02)
    assert process.returncode == 0
    return round(most, 1)


def measure() -> dict[str, Any]:
    """All of it, one after the other, in a place of its own."""
    with tempfile.TemporaryDirectory(prefix="edge-sharpzo-station-") as name:
        place = Path(name)
        os.environ["EDGE_SHARPZO_CACHE"] = str(place / "cache")
        (place / "imgs").mkdir()
        began = time.monotonic()
        with started(place) as served:
            result = {"seconds": first_answer(served, began)}
            relabel = slowest_relabel(served)
            under_load = load(served)
            peak = round(peak_mb(served.process.pid), 1)
        alone = tuner_mb(place)
    return {
        **result,
        "slowest_relabel": relabel,
        "load": under_load,
        "memory_mb": {"station": peak, "tune": alone},
    }


def told(result: dict[str, Any]) -> str:
    """As the guide says it."""
    seconds, under_load, memory = result["seconds"], result["load"], result["memory_mb"]
    return (
        f"From the start to the first answer, with {len(CLASSES)} classes of {PHOTOS} photos of 12 "
        f"megapixels: {seconds['first_answer']} s ({seconds['first_answer_processor']} s of "
        f"processor time). A relabel shows what it does after {result['slowest_relabel']} s. While "
        f"it tunes, {UPLOADS} such photos come at once and {PAGES} pages are looked at: the photos "
        f"are in after {under_load['uploads_seconds']} s, the slowest of "
        f"{under_load['requests_meanwhile']:,} other requests takes "
        f"{under_load['slowest_request']} s, and the process holds {memory['station']} MB at most; "
        f"`tune` by itself on the same photos holds {memory['tune']} MB."
    )


def main() -> None:
    """Prints what came of it, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = measure()
    print(told(result))
    save({**describe_machine(), **result}, options.out)


if __name__ == "__main__":
    main()
