"""`python -m serving`: a `clip.onnx` behind an inference server."""

import os
import platform
import signal
import sys
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.system.errors import UserError, os_errors_told
from edge_sharpzo.system.text import shown
from serving.listen import Listen

if TYPE_CHECKING:
    from serving.repository import Repository

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it says is told as an error, once
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Server(StrEnum):
    """What answers."""

    mlserver = "mlserver"
    triton = "triton"
    none = "none"


class _Needs(NamedTuple):
    """What a server takes."""

    module: str  # that runs it
    package: str  # that has to be installed
    make: str  # how it is


_SERVERS = {
    Server.mlserver: _Needs("serving.mlserver_server", "mlserver", "make serve-model"),
    Server.triton: _Needs("serving.triton", "pytriton", "make serve-model SERVER=triton"),
}


@app.command()
def main(
    onnx: Annotated[
        Path,
        typer.Option(
            help="the model file, as `make export` writes it", show_default="the embedded one"
        ),
    ] = EMBEDDED_MODEL,
    out: Annotated[Path, typer.Option(help="folder of the model repository")] = Path(
        "models/served"
    ),
    name: Annotated[str, typer.Option(help="what the model is called")] = "clip",
    server: Annotated[
        Server, typer.Option(help="what serves it; none: write the repository and stop")
    ] = Server.mlserver,
    host: Annotated[
        str, typer.Option(help="address to listen on; 0.0.0.0: all, for other machines")
    ] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = 8001,
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    threads: Annotated[int, typer.Option(min=0, help="of each tower; 0: as many as cores")] = 0,
) -> None:
    """Serves a CLIP so that devices tune prompts without its weights."""
    try:
        with os_errors_told():
            listen = Listen(host, grpc_port, http_port)
            stopped_by = _serve(onnx, out, name, server, listen, threads)
    except UserError as error:
        typer.echo(shown(f"serving: {error}"), err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        stopped_by = signal.SIGINT
    raise typer.Exit(130 if stopped_by == signal.SIGINT else 0)


def _serve(
    onnx: Path, out: Path, name: str, server: Server, listen: Listen, threads: int
) -> int | None:
    """Writes the repository and serves it. Returns the signal that has ended it."""
    from edge_sharpzo.clip.clip_file import ClipOnnx
    from serving.lock import used
    from serving.repository import write_repository

    if server is not Server.none:
        _check_installed(server)
        listen.check()
    with used(out) as use:
        repository = write_repository(ClipOnnx(onnx), out, name, may_write=use.is_alone)
        if server is Server.none:
            print(shown(f"wrote {repository.folder}: {', '.join(repository.models)}"))
            return None
        use.share()
        return _run(repository, name, server, listen, threads)


def _run(
    repository: "Repository", name: str, server: Server, listen: Listen, threads: int
) -> int | None:
    """Serves the repository. Returns the signal that has ended it."""

    def ready() -> None:
        print(
            f"{name} is served, until Ctrl-C. Tune through it with "
            f"--engine kserve://{listen.far}:{listen.grpc_port}/{name}-text",
            flush=True,
        )

    stopped_by: int = import_module(_SERVERS[server].module).serve(
        repository, listen, threads, ready
    )
    return stopped_by


def _check_installed(server: Server) -> None:
    """Raises UserError where the package that serves is not here."""
    needed = _SERVERS[server]
    if find_spec(needed.package):
        return
    old = " with Python 3.11 or 3.12 (PYTHON=python3.12)" if sys.version_info >= (3, 13) else ""
    raise UserError(
        f"--server {server} needs {needed.package}, which is not in this Python "
        f"{platform.python_version()}: start it by `{needed.make} ONNX=clip.onnx`{old}"
    )


if __name__ == "__main__":
    app(prog_name="python -m serving")
