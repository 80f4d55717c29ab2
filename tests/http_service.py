"""A service of the Open Inference Protocol over HTTP, in this process: it answers as it is told."""

import json
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import numpy as np

HEADER = "Inference-Header-Content-Length"
DTYPES = {"FP32": np.dtype("f4"), "FP64": np.dtype("f8"), "UINT8": np.dtype("u1")}
KINDS = {str(dtype): name for name, dtype in DTYPES.items()}


class Handler(BaseHTTPRequestHandler):
    """Answers inference with what `answer` makes of the request's nonce."""

    protocol_version = "HTTP/1.1"
    answer: Callable[["Handler", dict[str, Any], bytes], None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = int(self.headers[HEADER])
        self.server.asked.append((time.monotonic(), dict(self.headers)))  # type: ignore[attr-defined]
        type(self).answer(self, json.loads(body[:head]), body[-16:])

    def do_GET(self) -> None:
        self.reply(404, b'{"error": "no such model"}')

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def tensors(self, request: dict[str, Any], found: dict[str, np.ndarray], **more: Any) -> None:
        """A whole answer of the protocol."""
        outputs = [
            {
                "name": name,
                "datatype": KINDS[str(array.dtype)],
                "shape": list(array.shape),
                "parameters": {"binary_data_size": array.nbytes},
            }
            for name, array in found.items()
        ]
        head = json.dumps({"id": request.get("id"), "outputs": outputs, **more}).encode()
        body = head + b"".join(array.tobytes() for array in found.values())
        self.reply(200, body, Inference_Header_Content_Length=str(len(head)))

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(answer: Callable[[Handler, dict[str, Any], bytes], None]) -> Iterator[Any]:
    handler = type("Made", (Handler,), {"answer": answer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


Tensors = dict[str, np.ndarray]  # strings as an array of objects


class Model:
    """A served model: what it says of its tensors, name -> type, and what it computes."""

    def __init__(
        self, inputs: dict[str, str], outputs: dict[str, str], run: Callable[[Tensors], Tensors]
    ):
        self.inputs, self.outputs, self.run = inputs, outputs, run


class _ModelHandler(Handler):
    """Serves models by their names."""

    def _model(self) -> Model | None:
        found = self.server.models.get(self.path.removeprefix("/v2/models/").split("/")[0])  # type: ignore[attr-defined]
        if found is None:
            self.reply(404, b'{"error": "no such model"}')
        return found

    def do_GET(self) -> None:
        if model := self._model():
            told = {
                side: [{"name": n, "datatype": k, "shape": [-1]} for n, k in each.items()]
                for side, each in (("inputs", model.inputs), ("outputs", model.outputs))
            }
            self.reply(200, json.dumps(told).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = int(self.headers[HEADER])
        if (model := self._model()) is None:
            return
        request, rest = json.loads(body[:head]), body[head:]
        given: Tensors = {}
        for each in request["inputs"]:
            size = each["parameters"]["binary_data_size"]
            part, rest = rest[:size], rest[size:]
            if each["datatype"] == "BYTES":
                given[each["name"]] = np.array(_strings(part), dtype=object)
            else:
                array = np.frombuffer(part, DTYPES[each["datatype"]])
                given[each["name"]] = array.reshape(each["shape"])
        self.server.asked.append((self.path, given))  # type: ignore[attr-defined]
        try:
            with self.server.lock:  # type: ignore[attr-defined]
                found = model.run(given)
        except AssertionError:  # what a test expects of the request
            self.reply(503, b'{"error": "not now"}')
            return
        wanted = [each["name"] for each in request["outputs"]]
        self.tensors(request, {name: found[name] for name in wanted})


def _strings(packed: bytes) -> list[bytes]:
    found = []
    while packed:
        (size,) = struct.unpack_from("<I", packed)
        found.append(packed[4 : 4 + size])
        packed = packed[4 + size :]
    return found


@contextmanager
def models(served: Mapping[str, Model]) -> Iterator[Any]:
    """A server of these models; `asked` holds path and inputs of each call."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ModelHandler)
    server.asked, server.models, server.lock = [], served, Lock()  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
