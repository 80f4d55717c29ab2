"""Runs MLServer on a repository, in this process."""

import asyncio
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

import mlserver
import mlserver.grpc
import mlserver.grpc.server
import mlserver.rest.server
import mlserver.server
from mlserver.cli.serve import load_settings
from mlserver.errors import InferenceError
from mlserver.grpc.servicers import InferenceServicer

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import first_line
from serving.binary_rest import BinaryTensors
from serving.listen import GRPC, HTTP, Listen
from serving.repository import Repository
from serving.settings import MOST_MESSAGE_BYTES


def serve(repository: Repository, listen: Listen, threads: int, ready: Callable[[], None]) -> int:
    """Serves until a signal says to stop, and returns its number.

    `threads` of each model, 0 for onnxruntime's choice; `ready` is called once all of them answer.
    Raises UserError where a model does not open, or a port is taken.
    """
    mlserver.grpc.server.InferenceServicer = _Servicer
    mlserver.server.GRPCServer = _GrpcServer
    # Of two that start at once one has this port, and the other leaves it both.
    with listen.bound(HTTP) as http:
        return asyncio.run(_serve(repository, listen, http, threads, ready))


async def _serve(
    repository: Repository,
    listen: Listen,
    http: socket.socket,
    threads: int,
    ready: Callable[[], None],
) -> int:
    settings, models = await load_settings(str(repository.folder))
    settings.host = listen.host
    settings.grpc_port, settings.http_port = listen.grpc_port, listen.http_port
    for model in models:
        assert model.parameters is not None
        model.parameters.extra = {"threads": threads}
    server = _Server(settings)
    # MLServer has no setting for it, nor for the servicer.
    server._rest_server._app.add_middleware(BinaryTensors, most=MOST_MESSAGE_BYTES)
    server._grpc_server.listen = listen
    mlserver.rest.server._NoSignalServer = partial(_HttpServer, http)
    running = asyncio.create_task(server.start(models))
    waiting = asyncio.create_task(asyncio.to_thread(_all_answer, repository, listen, running.done))
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if server.has_its_ports and not running.done():  # else whoever has them answers
        ready()
    try:
        await running
    except UserError:
        await server.end()
        raise
    if not server.stops or server.stops[0] is None:
        raise UserError("MLServer has stopped by itself, see above")
    return server.stops[0]


class _Server(mlserver.MLServer):
    """One that knows why it has stopped."""

    stops: tuple[int | None, ...] = ()  # signals, None where MLServer itself gives up

    async def stop(self, sig: int | None = None) -> None:
        self.stops += (sig,)
        # uvicorn, which hears of a signal too, takes a second SIGINT for impatience.
        await super().stop(signal.SIGTERM)

    @property
    def has_its_ports(self) -> bool:
        """Whether it is this server that listens on both."""
        http = getattr(self._rest_server, "_server", None)
        return self._grpc_server.is_bound and http is not None and http.started

    async def end(self) -> None:
        """Ends what has started of a server that has not started whole."""
        await self.stop()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=10)


class _GrpcServer(mlserver.grpc.GRPCServer):
    """One that shares its port with nobody."""

    listen: Listen
    is_bound = False

    def _create_server(self) -> Any:
        self.listen.bound(GRPC).close()  # says what hinders, and gRPC prints lines of its own
        try:
            made = super()._create_server()
        except RuntimeError as error:
            raise UserError(f"gRPC cannot listen ({first_line(error, 200)})") from error
        self.is_bound = True
        return made

    async def stop(self, sig: int | None = None) -> None:
        if self.is_bound:
            await super().stop(sig)

    def _get_options(self) -> list[tuple[str, Any]]:
        return [*super()._get_options(), ("grpc.so_reuseport", 0)]


class _HttpServer(mlserver.rest.server._NoSignalServer):
    """One whose port was taken, or refused with its cure, before all else."""

    def __init__(self, taken: socket.socket, config: Any):
        super().__init__(config)
        self._taken = taken

    async def serve(self, sockets: Any = None) -> None:
        """See uvicorn."""
        await super().serve([*(sockets or ()), self._taken])


class _Servicer(InferenceServicer):
    """One that tells clients whose fault it is that a request cannot be read."""

    def _InsertHeaders(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            return super()._InsertHeaders(request, context)
        except Exception as error:  # of many classes
            raise InferenceError(
                f"a tensor's bytes are not what its type and shape say ({first_line(error, 200)})"
            ) from error


def _all_answer(repository: Repository, listen: Listen, over: Callable[[], bool]) -> None:
    """Waits until every model answers, or it is over."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine, direct
    for name in repository.models:
        url = f"http://{listen.near}:{listen.http_port}/v2/models/{name}/ready"
        while not over():
            try:
                with opener.open(url, timeout=5):
                    break
            except OSError:
                time.sleep(0.05)
    while not over():
        try:
            socket.create_connection((listen.near, listen.grpc_port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
