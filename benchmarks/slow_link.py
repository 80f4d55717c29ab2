"""A slow link on this machine, before servers that are here too.

`python -m benchmarks.slow_link ROUND_TRIP_MS MBIT PORT...` listens on as many ports of 127.0.0.1,
prints them, and passes bytes on until its input ends.

One link carries all connections, as that of the device that tunes does: each direction takes a
piece after the other at so many Mbit a second (0: at once), and each piece arrives half a round
trip later. TCP itself, its slow start above all, sees the loopback device alone.
"""

import asyncio
import selectors
import sys
from collections.abc import Callable
from typing import cast


class Way:
    """One direction of the link."""

    def __init__(self, seconds: float, bytes_per_second: float):
        """`seconds` from one end to the other; 0 bytes a second are any number."""
        self._seconds, self._rate = seconds, bytes_per_second
        self._free = 0.0  # when it can take the next piece, s on the loop's clock

    def arrival(self, now: float, size: int) -> float:
        """When a piece of `size` bytes is at the other end that is given to it `now`."""
        self._free = max(now, self._free) + (size / self._rate if self._rate else 0.0)
        return self._free + self._seconds


class _End(asyncio.Protocol):
    """One of a connection's two ends; what it hears, the other one says later."""

    def __init__(self, way: Way, connect: Callable[["_End"], None]):
        self._way, self._connect = way, connect
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # heard before there was another end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connect(self)

    def join(self, other: asyncio.Transport) -> None:
        """From now on there is another end."""
        self.other = other
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
            return
        self._later(len(data), self.other.write, data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.other is not None:
            self._later(0, self.other.close)

    def _later(self, size: int, do: Callable[..., object], *arguments: object) -> None:
        """Does something at the other end, once so many bytes are there."""
        loop = asyncio.get_running_loop()
        loop.call_at(self._way.arrival(loop.time(), size), do, *arguments)


async def carry(round_trip: float, rate: float, ports: list[int]) -> None:
    """Carries until stdin ends. `round_trip` in seconds, `rate` in bytes a second."""
    loop = asyncio.get_running_loop()
    up, down = Way(round_trip / 2, rate), Way(round_trip / 2, rate)
    tasks = set()

    def accepted(port: int) -> _End:
        def connect(client: _End) -> None:
            async def reach() -> None:
                _, server = await loop.create_connection(
                    lambda: _End(down, lambda end: None), "127.0.0.1", port
                )
                assert client.transport
                assert server.transport
                server.join(client.transport)
                client.join(server.transport)

            task = loop.create_task(reach())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return _End(up, connect)

    listening = []
    for port in ports:
        server = await loop.create_server(lambda port=port: accepted(port), "127.0.0.1", 0)  # type: ignore[misc]
        listening.append(server.sockets[0].getsockname()[1])
    print(*listening, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """The command."""
    round_trip, mbit, *ports = sys.argv[1:]
    # epoll waits whole milliseconds, select does not.
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        runner.run(
            carry(float(round_trip) / 1e3, float(mbit) * 1e6 / 8, [int(port) for port in ports])
        )


if __name__ == "__main__":
    main()
