"""`watch` for many frames, with a broker that is killed twice: memory, and what arrives.

`python -m benchmarks.watch_soak [--frames 20000] [--onnx FILE] [--out FILE.json]`

Linux only; mosquitto has to be installed. The frames are a video's, taken as fast as they come;
the classifier is written anew once in between. The process starts as a user starts it.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.memory import resident_mb
from benchmarks.mosquitto import PROGRAM, Listener, Mosquitto, until
from benchmarks.timing import save
from edge_sharpzo.api import tune
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL

SIZE = (320, 240)
TOPIC = "soak"
AWAY = 2.0  # seconds that the broker is away
WARM = 0.1  # share of the frames after which memory is compared


def write_photos(folder: Path) -> None:
    """Photos of three colours, to tune with."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for place in range(3):
        (folder / f"colour_{place}").mkdir(parents=True)
        for number in range(12):
            Image.fromarray(_picture(place, rng)).save(folder / f"colour_{place}/{number}.png")


def _picture(place: int, rng: np.random.Generator) -> np.ndarray:
    """Noise around a colour, [H, W, 3]."""
    colour = np.roll([190, 60, 60], place) + rng.integers(-30, 30, 3)
    noise = rng.normal(0, 20, (SIZE[1] // 8, SIZE[0] // 8, 3)).repeat(8, 0).repeat(8, 1)
    made: np.ndarray = (colour + noise).clip(0, 255).astype(np.uint8)
    return made


def write_video(file: Path, frames: int) -> None:
    """So many frames; the colour changes every fifty."""
    rng = np.random.default_rng(1)
    kept = [[_picture(place, rng) for _ in range(7)] for place in range(3)]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(frames):
            picture = kept[number // 50 % 3][number % 7]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class Watched:
    """The command at work: its rows, what it says, and its memory at each hundredth row."""

    def __init__(self, *arguments: object):
        self.rows: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.memory: list[tuple[int, float]] = []  # frame, MB
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_sharpzo", "watch", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [Thread(target=self._read), Thread(target=self._hear)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.rows.append(json.loads(line))
            if len(self.rows) % 100 == 0 and (found := resident_mb(self.process.pid)):
                self.memory.append((len(self.rows), found["resident"]))

    def _hear(self) -> None:
        assert self.process.stderr
        self.said += [line.rstrip("\n") for line in self.process.stderr]

    def wait_for(self, rows: float) -> None:
        """Until there are so many."""
        until(lambda: len(self.rows) >= rows or self.process.poll() is not None, "rows", 3000)

    def ended(self) -> int:
        """The exit status, once it has ended and all is read."""
        for thread in self._threads:
            thread.join()
        return self.process.wait()


def measure(frames: int, onnx: Path) -> dict[str, Any]:
    """What came of so many frames."""
    with tempfile.TemporaryDirectory(prefix="edge-sharpzo-soak-") as name:
        place = Path(name)
        write_photos(place / "imgs")
        run = tune(place / "imgs", onnx=onnx, out=place / "run", shots=8, budget=100).folder
        write_video(place / "clip.mp4", frames)
        with Mosquitto(place / "mosquitto") as broker, Listener(broker) as listener:
            began = time.monotonic()
            watched = Watched(
                run,
                *("--source", place / "clip.mp4", "--every", 0, "--mqtt"),
                f"mqtt://127.0.0.1:{broker.port}/{TOPIC}",
                *("--save", "unsure", "--save-to", place / "unsure"),
            )
            for share in (0.3, 0.6):
                watched.wait_for(share * frames)
                broker.end(signal.SIGKILL)
                time.sleep(AWAY)
                broker.start()
            watched.wait_for(0.8 * frames)
            os.utime(run / "summary.json")
            status = watched.ended()
            seconds = time.monotonic() - began
            expected = {row["frame"] for row in watched.rows}
            with suppress(TimeoutError):  # then some are lost
                until(lambda: len(set(listener.frames(TOPIC))) >= len(expected), "the last", 20)
            heard = listener.frames(TOPIC)
            states = [json.loads(text)["state"] for text in listener.texts(f"{TOPIC}/state")]
    assert status == 0, watched.said
    warm = [mb for frame, mb in watched.memory if frame >= WARM * frames]
    first, last = (statistics.median(part) for part in (warm[:20], warm[-20:]))
    return {
        "frames": frames,
        "answers": len(watched.rows),
        "broker_killed": 2,
        "answers_lost": len(expected - set(heard)),
        "answers_twice": len(heard) - len(set(heard)),
        "last_state_right": states[-1] == watched.rows[-1]["state"],
        "state_changes": sum(row["changed"] for row in watched.rows),
        "seconds": round(seconds, 1),
        "memory_mb": {
            "first": round(first, 1),
            "last": round(last, 1),
            "most": round(max(warm), 1),
        },
        "said": [line.replace(name, "…").replace(str(broker.port), "…") for line in watched.said],
    }


def told(result: dict[str, Any]) -> str:
    """As the guide says it."""
    memory = result["memory_mb"]
    return (
        f"{result['frames']:,} frames of {SIZE[0]} x {SIZE[1]}, as fast as they come, mosquitto "
        f"killed {result['broker_killed']} times for {AWAY:.0f} s, the classifier written anew "
        f"once: {result['answers']:,} answers, {result['answers_lost']} lost on their way to a "
        f"listener, {result['answers_twice']} heard twice. The process held {memory['first']} MB "
        f"after a tenth of them, {memory['last']} MB at the end and {memory['most']} MB at most."
    )


def main() -> None:
    """Prints what came of it, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--onnx", type=Path, default=EMBEDDED_MODEL)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not PROGRAM:
        raise SystemExit("install mosquitto")
    result = measure(options.frames, options.onnx)
    print(told(result))
    machine = describe_machine()
    machine["versions"] |= {package: version(package) for package in ("av", "paho-mqtt")}
    save({**machine, "model": options.onnx.parent.name, **result}, options.out)


if __name__ == "__main__":
    main()
