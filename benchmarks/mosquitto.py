"""A real MQTT broker, mosquitto, that can be killed, and a listener that misses nothing."""

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

# Debian puts it where only root looks.
PROGRAM = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
CONFIG = """
listener {port} 127.0.0.1
user root
persistence true
persistence_location {folder}/
autosave_interval 1800
max_inflight_messages 0
max_queued_messages 0
log_type none
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def until(done: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Waits for it. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not in {seconds:.0f} s")
        time.sleep(0.02)


class Mosquitto:
    """A broker on a port of this machine. A context manager."""

    def __init__(self, folder: Path, more: str = "allow_anonymous true"):
        """`more` are lines of its configuration; its state is kept in `folder`."""
        self.port, self._folder = free_port(), folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        text = CONFIG.format(port=self.port, folder=folder) + more + "\n"
        (folder / "mosquitto.conf").write_text(text)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        assert PROGRAM
        config = str(self._folder / "mosquitto.conf")
        self._process = subprocess.Popen([PROGRAM, "-c", config], stderr=subprocess.DEVNULL)

        def listens() -> bool:
            with socket.socket() as tried:
                return tried.connect_ex(("127.0.0.1", self.port)) == 0

        until(listens, "mosquitto")

    def keep(self) -> None:
        """Writes its sessions to disk: from now on a kill loses none of them."""
        assert self._process
        file = self._folder / "mosquitto.db"
        before = file.stat().st_mtime_ns if file.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        until(lambda: file.exists() and file.stat().st_mtime_ns > before, "mosquitto.db")

    def end(self, how: signal.Signals) -> None:
        """Ends it, if it runs."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(10)
        self._process = None


class Listener:
    """Hears all that a broker is told, also while it or the broker was away. A context manager."""

    def __init__(self, broker: Mosquitto):
        """The broker runs."""
        self.heard: list[tuple[str, str, bool]] = []  # topic, text, retained before
        self._ready = Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._broker = broker

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload.decode(), message.retain))

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._broker.port)
        self._client.loop_start()
        if not self._ready.wait(10):
            raise TimeoutError("the listener is not heard")
        self._broker.keep()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def texts(self, topic: str) -> list[str]:
        """What was said under a topic, in its order."""
        return [text for name, text, _ in self.heard if name == topic]

    def frames(self, topic: str) -> list[int]:
        """The numbers of the frames whose answers were heard, in their order."""
        return [json.loads(text)["frame"] for text in self.texts(topic)]
