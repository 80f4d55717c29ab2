"""A station as a process of its own, and a browser that looks at it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome")
# A camera that shows a moving test picture, and that nobody has to allow.
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def chromium() -> str | None:
    """Where a Chromium is; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def station(data: Path, run: Path, *more: object) -> Iterator[str]:
    """The address of a station that has been started; `more` are further options."""
    command = [sys.executable, "-m", "edge_sharpzo", "station", "--data", data, "--run", run]
    process = subprocess.Popen(
        [*map(str, command), "--port", "0", *map(str, more)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout
        told = ""
        for line in process.stdout:
            told += line
            if found := re.search(r"http://\S+?:\d+", line):
                yield found[0]
                break
        else:
            raise RuntimeError(f"the station ended: {told}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, as playwright's `Browser`."""
    from playwright.sync_api import sync_playwright

    root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox takes no root
    arguments = [*CAMERA, *(["--no-sandbox"] if root else [])]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield opened
        finally:
            opened.close()
