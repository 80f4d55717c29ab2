"""A station for tests: its folders, its real server on a free port, and a client."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from edge_sharpzo.station.app import made_app
from edge_sharpzo.station.desk import Desk
from edge_sharpzo.station.security import names_of
from edge_sharpzo.station.server import Server
from edge_sharpzo.station.tokens import Tokens

MARKED = {"X-Edge-Sharpzo": "1"}


@dataclass
class Station:
    """A station that is being served."""

    desk: Desk
    port: int
    log: list[str] = field(default_factory=list)
    tokens: Tokens | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **more: Any) -> httpx.Client:
        # No certificates: to load them takes longer than most answers.
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, verify=False, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        with self.client() as client:
            return client.get(path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        headers = {**MARKED, **more.pop("headers", {})}
        with self.client() as client:
            return client.post(path, json=body, headers=headers, **more)

    def send(self, path: str, *files: tuple[str, bytes], field: str = "photos") -> httpx.Response:
        with self.client() as client:
            given = [(field, file) for file in files]
            return client.post(path, files=given, headers=MARKED)

    def raw(self, request: bytes, timeout: float = 20) -> bytes:
        """Everything that is answered to these bytes, on a connection of their own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as line:
            line.sendall(request)
            parts = []
            while part := line.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def settled(self) -> dict[str, Any]:
        """The state, once the photos as they are now are learnt."""
        self.desk.changed()
        return self.until(lambda state: state["look"]["state"] != "working")

    def until(self, true_of: Callable[[dict[str, Any]], bool], most: float = 60) -> dict[str, Any]:
        """The first state that it is true of."""
        ends = time.monotonic() + most
        while not true_of(state := self.get("/api/state").json()):
            assert time.monotonic() < ends, state
            time.sleep(0.05)
        return state


@contextmanager
def station(
    onnx: Path | None, data: Path, run: Path, tokens: Tokens | None = None, **options: Any
) -> Iterator[Station]:
    """Serves the folder `data`."""
    log: list[str] = []
    if onnx:
        options["onnx"] = onnx
    given = {"threads": 1, **options}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Desk.opened(data, run, given, log.append) as desk:
            server = Server(made_app(desk, names_of("127.0.0.1"), tokens))
            serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            serving.start()
            while not server.started:
                time.sleep(0.01)
            try:
                yield Station(desk, port, log, tokens)
            finally:
                desk.closing.set()
                server.should_exit = True
                serving.join()


def picture(hue: int, seed: int = 0, size: tuple[int, int] = (60, 50), kind: str = "PNG") -> bytes:
    """A noisy photo of one colour."""
    rng = np.random.default_rng([seed, hue])
    colour = np.array(Image.new("HSV", (1, 1), (hue, 200, 180)).convert("RGB"))[0, 0]
    values = colour + rng.normal(0, 25, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
