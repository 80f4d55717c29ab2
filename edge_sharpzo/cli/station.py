"""`edge-sharpzo station`: the page on the device, served until a signal ends it."""

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_sharpzo.cli.boundary import as_flags, user_errors
from edge_sharpzo.cli.flags import with_station_options
from edge_sharpzo.cli.terminal import is_terminal, out, say, write
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import shown

if TYPE_CHECKING:
    from edge_sharpzo.station.desk import Desk
    from edge_sharpzo.station.server import Server

SIOCGIFADDR = 0x8915  # Linux: an interface's address
EVERYWHERE = ("0.0.0.0", "::")
BACKLOG = 128  # connections that wait


@with_station_options
def command(
    *,
    data: Annotated[Path, typer.Option(help="folder of photos, one subfolder per class")],
    run: Annotated[Path, typer.Option(help="run folder, as --out of `tune`")] = Path(
        "runs/station"
    ),
    host: Annotated[
        str, typer.Option(help="address to listen at; others than this machine's need a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen at; 0 for any that is free")] = 8080,
    **given: Any,
) -> None:
    """Serves a page where photos come in, labels get mended, and the classifier learns."""
    with user_errors() as signals:
        _check_installed()
        from edge_sharpzo.station.desk import Desk
        from edge_sharpzo.system.memory import return_large_arrays_at_once

        given = {name: value for name, value in given.items() if value is not None}
        return_large_arrays_at_once()
        with _listening(host, port) as listener:
            desk = Desk.opened(data, run, given, lambda text: say(as_flags(text)))
            ending = _Ending(desk)
            signals.search = ending  # until the last checkpoint is written
            with desk:
                _serve(desk, listener, host, ending)
        if ending.asked:
            raise KeyboardInterrupt


def _check_installed() -> None:
    """Raises UserError where the extra is missing."""
    from importlib.util import find_spec

    names = ("starlette", "uvicorn", "python_multipart", "segno")
    if missing := [name for name in names if find_spec(name) is None]:
        raise UserError(
            f"the station needs {missing[0].replace('_', '-')}: pip install 'edge-sharpzo[station]'"
        )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises UserError."""
    if not 0 <= port <= 65535:
        raise UserError(f"`port={port}`: give a number from 0 to 65535", field="port")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sends small answers at once (TCP_NODELAY) where it reads that this is TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"`host={host}` is no address of this machine: take 127.0.0.1, or 0.0.0.0 for all",
            field="host",
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        yield listener


def _cannot_listen(host: str, port: int, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"`port={port}` is taken: stop what listens there, or take another, `port={port + 1}`"
            if port < 65535
            else f"`port={port}` is taken: stop what listens there, or take another",
            field="port",
        )
    if error.errno == errno.EACCES:
        return UserError(
            f"`port={port}` is the system's: take one from 1024 on, such as `port=8080`", "port"
        )
    return UserError(
        f"`host={host}` cannot be listened at ({error.strerror}): take 127.0.0.1, or 0.0.0.0 for "
        "all addresses",
        field="host",
    )


def _serve(desk: "Desk", listener: socket.socket, host: str, ending: "_Ending") -> None:
    """Answers until a signal comes."""
    from edge_sharpzo.station.app import made_app
    from edge_sharpzo.station.security import is_loopback, names_of
    from edge_sharpzo.station.server import Server
    from edge_sharpzo.station.tokens import Tokens, kept_token

    port = listener.getsockname()[1]
    token = None if is_loopback(host) else kept_token(desk.own)
    app = made_app(desk, names_of(host), Tokens(token) if token else None)
    address = f"http://{_reached_at(host)}:{port}/"
    desk.album.announce(address)

    server = ending.server = Server(app)
    every = _own_addresses() if host in EVERYWHERE else []
    others = [other for each in every if (other := f"http://{each}:{port}/") != address]
    _tell(address, token, others)
    if not ending.asked:
        server.run(sockets=[listener])


class _Ending:
    """Hears of signals: the server ends its answers, and then the rest ends."""

    def __init__(self, desk: "Desk"):
        self._desk = desk
        self.server: Server | None = None
        self.asked = False

    def ask(self) -> None:
        """A signal has come."""
        self.asked = True
        self._desk.closing.set()
        if self.server:
            self.server.should_exit = True


def _reached_at(host: str) -> str:
    """How others call a server that listens at `host`."""
    if host not in EVERYWHERE:
        return f"[{host}]" if ":" in host else host
    # No packet is sent: the system says which of its addresses leads out.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return next(iter(_own_addresses()), socket.gethostname())


def _own_addresses() -> list[str]:
    """IPv4 addresses of the interfaces that others reach, as far as the system (Linux) tells.

    A phone often cannot look a host's name up.
    """
    import struct

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError, ImportError):
                from fcntl import ioctl

                asked = struct.pack("256s", name.encode()[:15])
                address = socket.inet_ntoa(ioctl(probe, SIOCGIFADDR, asked)[20:24])
                if not address.startswith("127."):
                    found.append(address)
    return found


def _tell(address: str, token: str | None, others: Sequence[str] = ()) -> None:
    """Where the page is; with a token, as a code that a phone's camera reads.

    `others` are more addresses of it.
    """
    import sys

    link = f"{address}?token={token}" if token else address
    out(f"the station is at {shown(link)}")
    if token:
        for other in others:
            out(f"or at {shown(link.replace(address, other, 1))}")
        import segno

        if is_terminal(sys.stdout):
            code = segno.make(link, micro=False)
            write("\n".join(_lines(code)) + "\n")
        out("who has this link may see, add and change photos: give it to nobody else")
    say("it ends with Ctrl-C")


def _lines(code: object) -> Iterator[str]:
    """A code in half blocks, which terminals show nearly square."""
    import io

    stream = io.StringIO()
    code.terminal(out=stream, compact=True)  # type: ignore[attr-defined]
    yield from stream.getvalue().splitlines()
