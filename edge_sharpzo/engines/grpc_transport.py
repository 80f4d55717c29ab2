"""The Open Inference Protocol over gRPC."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it says is told as an error, once

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from edge_sharpzo.clip.session import Feeds
from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.credentials import headers, trusted_certificates
from edge_sharpzo.engines.transport import MOST_BYTES, FaultError
from edge_sharpzo.engines.verdict import no_such_model, other_protocol, refused

# By default a channel waits up to two minutes before it looks again for a server that was away.
_RECONNECT = ("initial", "min", "max")
_RECONNECT_MS = 500
_NOT_FOUND, _NO_TIME = "NOT_FOUND", "DEADLINE_EXCEEDED"
# What the server decides about a request, and would decide again.
_FINAL = {
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "INVALID_ARGUMENT",
    "UNIMPLEMENTED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
}


class GrpcTransport:
    """A `Transport` over one gRPC channel."""

    def __init__(self, address: Address):
        """Raises UserError for a token or certificates that cannot be used; connects later."""
        self._address = address
        self._headers = headers(address)
        self._certificates = trusted_certificates() if address.scheme.is_encrypted else None
        self._requests = count()
        self._client = self._connected()

    def _connected(self) -> Any:
        """A client with a connection of its own."""
        limits = [(f"grpc.{each}_reconnect_backoff_ms", _RECONNECT_MS) for each in _RECONNECT]
        return triton.InferenceServerClient(
            self._address.location,
            ssl=self._address.scheme.is_encrypted,
            root_certificates=self._certificates,
            channel_args=[
                *limits,
                ("grpc.max_receive_message_length", MOST_BYTES),
                ("grpc.max_send_message_length", MOST_BYTES),
                ("grpc.enable_retries", 0),  # `Spread` knows what else it could do
                ("grpc.use_local_subchannel_pool", 1),
                # `http_proxy` of the environment would see what is not encrypted, and the token.
                ("grpc.enable_http_proxy", int(self._address.goes_far)),
            ],
        )

    def infer(
        self, model: str, feeds: Feeds, outputs: Sequence[str], seconds: float
    ) -> dict[str, np.ndarray]:
        """See `Transport`."""
        request = str(next(self._requests))
        with self._errors(model):
            answer = self._client.infer(
                model,
                as_inputs(triton.InferInput, feeds),
                outputs=[triton.InferRequestedOutput(name) for name in outputs],
                request_id=request,
                client_timeout=seconds,
                headers=self._headers,
            )
            return read_answer(answer, answer.get_response().id, request, outputs)

    def tensors(self, model: str, seconds: float) -> tuple[dict[str, str], dict[str, str]]:
        """See `Transport`."""
        with self._errors(model):
            told = self._client.get_model_metadata(
                model, headers=self._headers, client_timeout=seconds
            )
            inputs, outputs = ({t.name: t.datatype for t in s} for s in (told.inputs, told.outputs))
            return inputs, outputs

    @contextmanager
    def _errors(self, model: str) -> Iterator[None]:
        """Raises what `Transport` does for whatever goes wrong within."""
        try:
            yield
        except InferenceServerException as error:
            status = str(error.status()).rpartition(".")[2]
            text = error.message() or status
            if status == _NOT_FOUND:
                raise no_such_model(self._address, model, text) from error
            if status in _FINAL:
                raise refused(self._address, status, text) from error
            if fault := other_protocol(self._address, text):
                raise fault from error
            if status == _NO_TIME:  # the connection may be one that nobody is at the end of
                self._client = self._connected()
                text = "no answer in time"
            raise FaultError(text) from error
        except FaultError:
            raise
        except Exception as error:  # whatever comes of an answer that is not of the protocol
            raise FaultError(f"an answer that cannot be read ({error})") from error


def as_inputs(made: Callable[..., Any], feeds: Feeds) -> list[Any]:
    """The tensors of a request, each `made` as one of tritonclient's inputs."""
    return [
        made(name, array.shape, np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)
        for name, array in feeds.items()
    ]


def read_answer(
    answer: Any, echoed: str, request: str, outputs: Sequence[str]
) -> dict[str, np.ndarray]:
    """The tensors of tritonclient's `answer` to a request.

    Raises FaultError for the answer to another one, or one without some of the `outputs`;
    ValueError for bytes that are no such tensor.
    """
    if echoed != request:
        raise FaultError("an answer to another request")
    found = {name: answer.as_numpy(name) for name in outputs}
    if missing := [name for name, array in found.items() if array is None]:
        raise FaultError(f"an answer without {missing[0]}")
    return found
