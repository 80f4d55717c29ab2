"""A connection that misbehaves: a proxy on this machine, between a client and a server."""

import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

FAULTS = ("drop", "truncate", "duplicate", "delay")
Chosen = Callable[
    [bytes, bool], str | None
]  # a piece of traffic, and whether it goes to the server


class Proxy:
    """Passes bytes on; `fault` may name something to do to a piece of them instead."""

    def __init__(
        self,
        port: int,
        fault: Chosen = lambda data, to_server: None,
        tls: ssl.SSLContext | None = None,
    ):
        """Clients speak to it encrypted where there is a `tls`."""
        self.fault, self._tls = fault, tls
        self.done: list[str] = []  # faults
        self.sent = bytearray()  # all that clients have sent
        self._target = port
        self._stop = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._stop.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError):
                client, _ = self._listener.accept()
                if self._tls:
                    client = self._tls.wrap_socket(client, server_side=True)
                server = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((client, server, True), (server, client, False)):
                    Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if to_server:
                    self.sent += data
                fault = self.fault(data, to_server)
                if fault:
                    self.done.append(fault)
                if fault == "delay":
                    time.sleep(0.05)
                if fault == "drop":
                    break
                if fault == "truncate":
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data * 2 if fault == "duplicate" else data)
        for each in (source, sink):  # whoever waits at them wakes up, in the other direction too
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def proxy(
    port: int,
    fault: Chosen = lambda data, to_server: None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Proxy]:
    """A proxy before the server at `port`."""
    made = Proxy(port, fault, tls)
    try:
        yield made
    finally:
        made.close()


def sometimes(share: float, seed: int, most: int = 10**9) -> Chosen:
    """A fault for that share of pieces of traffic, drawn from `seed`, `most` in all."""
    rng, left = random.Random(seed), [most]

    def chosen(data: bytes, to_server: bool) -> str | None:  # noqa: ARG001
        if left[0] <= 0 or rng.random() >= share:
            return None
        left[0] -= 1
        return rng.choice(FAULTS)

    return chosen
