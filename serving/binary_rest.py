"""The binary tensors of the Open Inference Protocol over REST, which MLServer does not know.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and its extension for binary data: bytes of tensors follow the JSON of a request or an answer.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import numpy as np
import orjson

from serving.tensors import KINDS

JSON_LENGTH = b"inference-header-content-length"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
_DTYPES = {kind.name: kind.dtype for kind in KINDS.values()}


class _RefusedError(Exception):
    """A request that is not passed on."""

    def __init__(self, text: str, status: int = 400):
        super().__init__(text)
        self.status = status


class BinaryTensors:
    """An ASGI middleware: requests and answers in JSON inside, in binary outside where asked for.

    Bodies larger than `most` bytes are refused, and compressed ones, whose size nobody knows.
    """

    def __init__(self, app: App, most: int):
        self._app, self._most = app, most

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            if headers.get(b"content-encoding", b"identity") != b"identity":
                raise _RefusedError("send the request uncompressed", 415)
            body = await self._body(receive)
            body, binary = _to_json(body, headers.get(JSON_LENGTH))
        except _RefusedError as error:
            await _answer(send, error.status, [], orjson.dumps({"error": str(error)}))
            return
        kept = [(k, v) for k, v in headers.items() if k not in (b"content-length", JSON_LENGTH)]
        scope = {**scope, "headers": [*kept, (b"content-length", b"%d" % len(body))]}
        if binary is None:
            await self._app(scope, _replayed(body, receive), send)
            return
        status, said = await self._called(scope, _replayed(body, receive))
        more = []
        if status == 200:
            said, length = _to_binary(said, binary)
            more = [(JSON_LENGTH, b"%d" % length)]
        await _answer(send, status, more, said)

    async def _body(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise _RefusedError("the request breaks off")
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self._most:
                raise _RefusedError(f"the request is larger than {self._most} bytes", 413)
        return b"".join(parts)

    async def _called(self, scope: Message, receive: Receive) -> tuple[int, bytes]:
        """Status and body of the answer."""
        status, parts = 500, []

        async def keep(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        return status, b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body`, and then what the true one gives."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    kind = b"application/octet-stream" if headers else b"application/json"
    headers = [*headers, (b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _to_json(body: bytes, json_length: bytes | None) -> tuple[bytes, Callable[[str], bool] | None]:
    """A request in JSON alone, and which outputs are asked for in binary; None for none."""
    if json_length is None and b'"binary_data' not in body:
        return body, None
    try:
        length = len(body) if json_length is None else int(json_length)
        request = orjson.loads(body[:length])
        rest = memoryview(body)[length:]
        for each in request["inputs"]:
            size = each.get("parameters", {}).pop("binary_data_size", None)
            if size is not None:
                if (dtype := _DTYPES.get(each["datatype"])) is None:
                    raise ValueError(f"{each['name']} is of none of {', '.join(_DTYPES)}")
                each["data"] = np.frombuffer(rest[:size], dtype).tolist()
                if len(rest) < size or len(each["data"]) != np.prod(each["shape"], dtype=object):
                    raise ValueError(f"{each['name']} has not the bytes of its shape")
                rest = rest[size:]
        if len(rest):
            raise ValueError(f"{len(rest)} bytes belong to no input")
        every = request.get("parameters", {}).pop("binary_data_output", False)
        chosen = {
            each["name"]: each.get("parameters", {}).pop("binary_data", every)
            for each in request.get("outputs", ())
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _RefusedError(f"this is no request with binary tensors: {error}") from error
    binary = any(chosen.values()) if chosen else every
    return orjson.dumps(request), (lambda name: chosen.get(name, every)) if binary else None


def _to_binary(body: bytes, binary: Callable[[str], bool]) -> tuple[bytes, int]:
    """An answer with the tensors that are to be `binary` behind its JSON, and the JSON's length."""
    answer = orjson.loads(body)
    parts = list(_taken_out(answer["outputs"], binary))
    said = orjson.dumps(answer)
    return b"".join([said, *parts]), len(said)


def _taken_out(outputs: list[dict[str, Any]], binary: Callable[[str], bool]) -> Iterable[bytes]:
    for each in outputs:
        if binary(each["name"]):
            raw = np.array(each.pop("data"), _DTYPES[each["datatype"]]).tobytes()
            each["parameters"] = {"binary_data_size": len(raw)}
            yield raw
