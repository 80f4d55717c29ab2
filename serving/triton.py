"""Runs Triton on a repository, by nvidia-pytriton: its binary, and the models in this process."""

import logging
import os
import signal
import sysconfig
from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np

# The stub that Triton starts for each model is linked against Python's own library, which lies
# beside Python where the system's loader does not look.
os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(
    filter(None, (os.environ.get("LD_LIBRARY_PATH"), sysconfig.get_config_var("LIBDIR")))
)
# Through the memory that Triton and this process would share no empty tensor goes, and a prompt
# without a context is one.
os.environ["PYTRITON_NO_TENSORSTORE"] = "1"

from pytriton.exceptions import PyTritonError, PyTritonRuntimeError
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import first_line
from serving.listen import Listen
from serving.model import ServedModel
from serving.repository import Repository


def serve(repository: Repository, listen: Listen, threads: int, ready: Callable[[], None]) -> int:
    """Serves until a signal says to stop, and returns its number.

    `threads` of each model, 0 for onnxruntime's choice; `ready` is called once all of them answer.
    Raises UserError where a model does not open.
    """
    stopped, over = [], Event()

    def stop(number: int, _: Any) -> None:
        stopped.append(number)
        over.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    logging.getLogger("pytriton").setLevel(logging.ERROR)
    log = repository.folder.with_name(f"{repository.folder.name}.triton.log")
    told = f"{log} says why"
    config = TritonConfig(
        http_address=listen.host,
        http_port=listen.http_port,
        grpc_address=listen.host,
        grpc_port=listen.grpc_port,
        allow_metrics=False,
        log_file=log,
    )
    server = Triton(config=config)
    for name in repository.models:
        model = ServedModel(repository.file(name), threads)
        server.bind(
            name,
            _answers(model),
            inputs=[_declared(each) for each in model.inputs],
            outputs=[_declared(each) for each in model.outputs],
            config=ModelConfig(batching=False),
            strict=True,
        )
    listen.check()  # others may have come meanwhile
    try:
        server.run()
        if server.is_alive():
            ready()
        while not over.wait(1) and server.is_alive():
            pass
    except PyTritonError as error:
        raise UserError(f"Triton does not start ({first_line(error, 200)}): {told}") from error
    finally:
        server.stop()
    if not stopped:
        raise UserError(f"Triton has stopped by itself: {told}")
    return stopped[0]


def _answers(model: ServedModel) -> Callable[[list[Any]], list[dict[str, np.ndarray]]]:
    def answer(requests: list[Any]) -> list[dict[str, np.ndarray]]:
        try:
            return [model.run(request.data) for request in requests]
        except UserError as error:  # pytriton sends the client all that led to an error
            raise PyTritonRuntimeError(str(error)) from None

    return answer


def _declared(tensor: Any) -> Tensor:
    return Tensor(name=tensor.name, dtype=tensor.kind.dtype.type, shape=tensor.shape)
