"""What `engine` names: services behind addresses, or the scheduler of a fleet."""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from edge_sharpzo.system.errors import UserError

EXAMPLE = "kserve://host:8001/clip-text"
_TEXT = "-text"  # what a model's name ends in where users name that of the text tower


class Scheme(StrEnum):
    """How an engine is spoken to."""

    GRPC = "kserve"  # the Open Inference Protocol, also known as KServe v2
    GRPC_TLS = "kserve+tls"
    HTTP = "kserve+http"
    HTTPS = "kserve+https"
    DASK = "dask"  # a scheduler of Dask
    DASK_TLS = "dask+tls"

    @property
    def is_http(self) -> bool:
        return self in (Scheme.HTTP, Scheme.HTTPS)

    @property
    def is_dask(self) -> bool:
        return self in (Scheme.DASK, Scheme.DASK_TLS)

    @property
    def is_encrypted(self) -> bool:
        return self in (Scheme.GRPC_TLS, Scheme.HTTPS, Scheme.DASK_TLS)


@dataclass(frozen=True)
class Address:
    """One place where a model's towers run."""

    scheme: Scheme
    host: str  # IPv6 without brackets
    port: int
    prefix: str = ""  # of the path, before the model; of HTTP alone
    model: str = ""  # the name that all of its served models begin with; Dask has none

    def __str__(self) -> str:
        """As users know it: host and port."""
        return self.location

    @property
    def location(self) -> str:
        """Host and port, as in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether what is sent there stays on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return self.host == "localhost"

    @property
    def goes_far(self) -> bool:
        """Whether what is sent there leaves this machine encrypted."""
        return self.scheme.is_encrypted and not self.is_here


_ADDRESS = re.compile(
    r"(?:(?P<scheme>[a-z+]+)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)"
    r"(?::(?P<port>\d{1,5}))?(?P<path>(?:/[A-Za-z0-9_.-]+)*)/?",
)
_PORTS = {
    Scheme.GRPC: 8001,
    Scheme.HTTP: 8000,
    Scheme.GRPC_TLS: 443,
    Scheme.HTTPS: 443,
    Scheme.DASK: 8786,
    Scheme.DASK_TLS: 8786,
}


def is_address(engine: str) -> bool:
    """Whether `engine` is somewhere else."""
    return "://" in engine


def addresses(engine: str) -> list[Address]:
    """The places that `engine` names between commas; all but the first may leave the scheme out.

    Raises UserError.
    """
    found: list[Address] = []
    for text in engine.split(","):
        found.append(_address(text.strip(), found[-1].scheme if found else None, engine))
    if len(set(found)) < len(found):
        raise _refused(engine, "it names one place twice")
    if any(each.scheme.is_dask for each in found) and len(found) > 1:
        raise _refused(engine, "a fleet has one scheduler: name that alone")
    return found


def _address(text: str, before: Scheme | None, engine: str) -> Address:
    if "@" in text or "?" in text:
        raise _refused(
            engine, "no name, password or token goes into an address: set EDGE_SHARPZO_TOKEN"
        )
    match = _ADDRESS.fullmatch(text)
    if match is None or not (match["scheme"] or before):
        raise _refused(engine, f"'{text[:80]}' is no address")
    name = match["scheme"] or str(before)
    if name not in list(Scheme):
        raise _refused(engine, f"there is no {name}://, but {', '.join(f'{s}://' for s in Scheme)}")
    scheme = Scheme(name)
    port = int(match["port"] or _PORTS[scheme])
    if not 1 <= port <= 65535:
        raise _refused(engine, f"there is no port {port}")
    *prefix, model = match["path"].strip("/").split("/")
    host = match["host"].strip("[]")
    if scheme.is_dask:
        if model:
            raise _refused(engine, "a fleet's address ends with its port: the model is `onnx`")
        return Address(scheme, host, port)
    if not model:
        raise _refused(
            engine, f"'{text[:80]}' has to end with the model's name, as every place does"
        )
    if prefix and not scheme.is_http:
        raise _refused(engine, "behind the port comes the model's name alone")
    return Address(scheme, host, port, "/".join(prefix), model.removesuffix(_TEXT))


def _refused(engine: str, why: str) -> UserError:
    return UserError(f"`engine={engine[:200]}`: {why}. It reads like {EXAMPLE}", field="engine")
