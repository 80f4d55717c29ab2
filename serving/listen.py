"""Where a server listens."""

import errno
import os
import socket
from dataclasses import dataclass

from edge_sharpzo.system.errors import UserError

EVERYWHERE = "0.0.0.0"
GRPC, HTTP = "grpc-port", "http-port"  # the flags of the ports


@dataclass(frozen=True)
class Listen:
    """An address of this machine, and two ports."""

    host: str
    grpc_port: int
    http_port: int

    @property
    def near(self) -> str:
        """The address for this machine itself."""
        return "127.0.0.1" if self.host == EVERYWHERE else self.host

    @property
    def far(self) -> str:
        """The address for others: this machine's name where it listens everywhere."""
        return socket.gethostname() if self.host == EVERYWHERE else self.host

    def check(self) -> None:
        """Raises UserError where the ports cannot be had.

        gRPC would share a port that another server has, and calls would go to either.
        """
        if not self.host:
            raise UserError("no --host is given: give an address of this machine, or 0.0.0.0")
        if self.grpc_port == self.http_port:
            raise UserError(f"gRPC and HTTP both on port {self.http_port}: give two ports")
        for flag in (HTTP, GRPC):  # as a server takes them
            self.bound(flag).close()

    def bound(self, flag: str) -> socket.socket:
        """A socket that listens on the port of `flag`, and keeps others from it while it is open.

        Raises UserError where the port cannot be had.
        """
        port = self.grpc_port if flag == GRPC else self.http_port
        # asyncio sends small answers at once (TCP_NODELAY) where it reads that this is TCP: without
        # it a call over REST takes up to 40 ms longer.
        found = socket.socket(proto=socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((self.host, port))
            found.listen()
        except (OSError, OverflowError) as error:
            found.close()
            raise UserError(_cure(self.host, flag, port, error)) from error
        return found


def _cure(host: str, flag: str, port: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"port {port} is taken: give another --{flag}, or stop what listens there"
    if number == errno.EACCES:
        return f"port {port} is not for you (below 1024?): give another --{flag}"
    why = os.strerror(number) if number and number > 0 else error
    return (
        f"cannot listen on {host} port {port} ({why}): give a --host that is an IPv4 address or "
        f"name of this machine, and a --{flag} up to 65535"
    )
