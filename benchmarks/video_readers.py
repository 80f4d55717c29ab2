"""What reads videos for `watch`: PyAV beside OpenCV, their wheels for 64-bit Arm and their memory.

`python -m benchmarks.video_readers [--out FILE.json]`; `pip install opencv-python-headless` before.

Each reads 300 frames of 1280 x 720 pixels, H.264, into RGB arrays, in a process of its own. Linux
only; the wheels are asked of the package index.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.timing import save

PACKAGES = {"PyAV": "av", "OpenCV": "opencv-python-headless"}
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
START = """
import json, sys, time
import numpy
def own():
    lines = open("/proc/self/status").read().splitlines()
    sizes = dict(line.split(":", 1) for line in lines if ":" in line)
    return [1024 * int(sizes[name].split()[0]) / 1e6 for name in ("VmRSS", "RssAnon")]
before = own()
"""
READ = {
    "PyAV": """
import av
imported = own()
began, frames = time.process_time(), 0
with av.open(sys.argv[1]) as container:
    for frame in container.decode(video=0):
        picture, frames = frame.to_ndarray(format="rgb24"), frames + 1
""",
    "OpenCV": """
import cv2
imported = own()
began, frames = time.process_time(), 0
video = cv2.VideoCapture(sys.argv[1])
while (got := video.read())[0]:
    picture, frames = cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB), frames + 1
""",
}
END = """
assert picture.shape == (720, 1280, 3), picture.shape
print(json.dumps([frames, before, imported, own(), time.process_time() - began]))
"""


def write_video(file: Path) -> None:
    """Noise that moves."""
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(300):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 4 * number, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def wheel_mb(package: str, folder: Path) -> tuple[str, float, float]:
    """The newest release's file for 64-bit Arm: its name, MB of it, and MB unpacked."""
    platforms = [part for each in PLATFORMS for part in ("--platform", each)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *platforms]
    command += ["--only-binary=:all:", "--dest", str(folder / package), package]
    subprocess.run(command, check=True)
    (file,) = (folder / package).glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        unpacked = sum(entry.file_size for entry in wheel.infolist())
    return file.name, round(file.stat().st_size / 1e6, 1), round(unpacked / 1e6, 1)


def measure(reader: str, file: Path, folder: Path) -> dict[str, Any]:
    """One reader's figures; memory in MB beyond the process with NumPy."""
    script = START + READ[reader] + END
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True
    )
    frames, before, imported, after, seconds = json.loads(done.stdout)
    name, packed, unpacked = wheel_mb(PACKAGES[reader], folder)
    return {
        "reader": reader,
        "wheel": name,
        "wheel_mb": packed,
        "installed_mb": unpacked,
        "imported_mb": round(imported[0] - before[0], 1),
        "reading_mb": round(after[0] - before[0], 1),
        "reading_own_mb": round(after[1] - before[1], 1),
        "ms_per_frame": round(1e3 * seconds / frames, 1),
    }


def table(results: list[dict[str, Any]]) -> str:
    """As the guide shows them."""
    rows = [
        f"| {r['reader']} | {r['wheel_mb']} MB | {r['installed_mb']} MB | {r['imported_mb']} MB "
        f"| {r['reading_mb']} MB | {r['ms_per_frame']} ms |"
        for r in results
    ]
    head = "| | wheel | installed | imported | reading | processor, a frame |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def main() -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_video(file := Path(name) / "clip.mp4")
        results = [measure(reader, file, Path(name)) for reader in READ]
    print(table(results))
    save({**describe_machine(), "results": results}, options.out)


if __name__ == "__main__":
    main()
