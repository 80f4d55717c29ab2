"""The Open Inference Protocol over HTTP, with tensors in its binary extension."""

import json
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import quote

import numpy as np
import tritonclient.http as triton
import urllib3

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.credentials import headers, trusted_certificates
from edge_sharpzo.engines.grpc_transport import as_inputs, read_answer
from edge_sharpzo.engines.transport import MOST_BYTES, FaultError, RefusedError
from edge_sharpzo.engines.verdict import no_such_model, other_protocol, refused
from edge_sharpzo.system.storage import parse_json

_BUSY = {408, 425, 429, 500, 502, 503, 504}
_HEADER = "Inference-Header-Content-Length"
_MOST_WAIT = 60.0  # seconds that a service may ask to be left alone
_CHUNK = 1 << 16


class HttpTransport:
    """A `Transport` over a pool of HTTP connections."""

    def __init__(self, address: Address):
        """Raises UserError for a token or certificates that cannot be used; connects later."""
        self._address = address
        self._headers = {**headers(address), "accept-encoding": "identity"}
        scheme = "https" if address.scheme.is_encrypted else "http"
        prefix = f"/{address.prefix}" if address.prefix else ""
        self._base = f"{scheme}://{address.location}{prefix}/v2/models"
        context = None
        if address.scheme.is_encrypted:
            context = ssl.create_default_context(cafile=trusted_certificates())
        self._pool = urllib3.PoolManager(maxsize=4, ssl_context=context)
        self._requests = count()

    def infer(
        self, model: str, feeds: Feeds, outputs: Sequence[str], seconds: float
    ) -> dict[str, np.ndarray]:
        """See `Transport`."""
        request = str(next(self._requests))
        body, length = triton.InferenceServerClient.generate_request_body(
            as_inputs(triton.InferInput, feeds),
            outputs=[triton.InferRequestedOutput(name) for name in outputs],
            request_id=request,
        )
        with self._errors():
            given, found = self._asked("POST", f"{model}/infer", model, seconds, body, length)
            answer = triton.InferenceServerClient.parse_response_body(
                found, header_length=int(given) if given else None
            )
            told = answer.get_response()
            return read_answer(answer, str(told.get("id")), request, outputs)

    def tensors(self, model: str, seconds: float) -> tuple[dict[str, str], dict[str, str]]:
        """See `Transport`."""
        with self._errors():
            _, found = self._asked("GET", model, model, seconds)
            told = parse_json(found.decode())
            inputs, outputs = (
                {str(each["name"]): str(each["datatype"]) for each in told[side]}
                for side in ("inputs", "outputs")
            )
            return inputs, outputs

    def _asked(
        self,
        method: str,
        path: str,
        model: str,
        seconds: float,
        body: bytes | None = None,
        length: int | None = None,
    ) -> tuple[str | None, bytes]:
        """Length of the answer's head, where it says so, and the answer."""
        until = time.monotonic() + seconds
        answer = self._pool.request(
            method,
            f"{self._base}/{quote(path)}",
            body=body,
            headers=self._headers | ({_HEADER: str(length)} if length is not None else {}),
            timeout=urllib3.Timeout(seconds),
            retries=False,  # `Spread` knows what else it could do
            redirect=False,
            preload_content=False,
        )
        try:
            parts, size = [], 0
            while part := answer.read1(_CHUNK):  # `stream` waits for whole chunks, however long
                parts.append(part)
                size += len(part)
                if time.monotonic() > until:
                    raise FaultError("no answer in time")
                if size > MOST_BYTES:
                    raise FaultError("an answer without end")
        except BaseException:
            answer.close()  # what is left of the answer must not be taken for the next one
            raise
        answer.release_conn()
        found = b"".join(parts)
        if answer.status != 200:
            raise self._verdict(answer, found, model)
        return answer.headers.get(_HEADER), found

    def _verdict(self, answer: urllib3.BaseHTTPResponse, body: bytes, model: str) -> Exception:
        """What an answer that is none means."""
        text = _told(body) or answer.reason or ""
        if answer.status in _BUSY:
            return FaultError(f"{answer.status} {text}", _waiting(answer.headers))
        if answer.status == 404:
            return no_such_model(self._address, model, text)
        return refused(self._address, str(answer.status), text)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises what `Transport` does for whatever goes wrong within."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            is_late = isinstance(error, urllib3.exceptions.TimeoutError)
            # In urllib3 a connection that is refused is one, too.
            if is_late and not isinstance(error, urllib3.exceptions.NewConnectionError):
                raise FaultError("no answer in time") from error
            if fault := other_protocol(self._address, str(error)):
                raise fault from error
            raise FaultError(f"no connection ({error})") from error
        except (FaultError, RefusedError):
            raise
        except Exception as error:  # whatever comes of an answer that is not of the protocol
            raise FaultError(f"an answer that cannot be read ({error})") from error


def _told(body: bytes) -> str:
    """What the body of an error says, as the protocol has it."""
    try:
        found: Any = json.loads(body[:10_000])
        return str(found["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _waiting(given: Any) -> float:
    """Seconds that the service asks to be left alone; it may give a date, which is not heeded."""
    try:
        return float(min(max(0, int(given.get("Retry-After", "0"))), _MOST_WAIT))
    except ValueError:
        return 0.0
