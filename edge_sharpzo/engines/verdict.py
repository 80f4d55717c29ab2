"""What to tell of a service that says no, whichever way it is spoken to."""

from edge_sharpzo.engines.address import Address, Scheme
from edge_sharpzo.engines.credentials import CERTIFICATES, TOKEN
from edge_sharpzo.engines.served import Served
from edge_sharpzo.engines.transport import RefusedError, UnknownModelError

_CERTIFICATE = ("certificate", "hostname verification", "handshake", "wrong_version_number", "ssl")
_TOKEN_WANTED = {"UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403"}


def refused(address: Address, status: str, text: str) -> RefusedError:
    """For a request that the service does not take, with what it says of that."""
    told = _shortened(text)
    if status in _TOKEN_WANTED:
        return RefusedError(
            f"{address} lets nobody in without the right token ({told}): set {TOKEN}", "engine"
        )
    return RefusedError(
        f"{address} does not take what it is asked ({status}: {told}): serve it with "
        "`make serve-model` of this version",
        field="engine",
    )


def no_such_model(address: Address, model: str, text: str) -> UnknownModelError:
    """For a service without the model."""
    cure = "look at the name behind the port, and whether all of `make serve-model` is served"
    if model == f"{address.model}-{Served.TEXT_INTEGER}":
        cure = "serve it on a processor like that of the run's other endpoints, or leave it out"
    return UnknownModelError(
        f"{address} serves no model '{model}' ({_shortened(text)}): {cure}",
        field="engine",
    )


def other_protocol(address: Address, text: str) -> RefusedError | None:
    """Where a failure to connect is one of the protocol or the encryption; None elsewhere."""
    low = text.lower()
    scheme = address.scheme
    if scheme.is_http and "badstatusline" in low and "\\x00" in low:
        return _other_scheme(address, "speaks gRPC", Scheme.GRPC_TLS, Scheme.GRPC)
    if not scheme.is_http and "http1" in low:
        return _other_scheme(address, "does not speak gRPC", Scheme.HTTPS, Scheme.HTTP)
    if not scheme.is_encrypted or not any(word in low for word in _CERTIFICATE):
        return None
    if "wrong_version_number" in low or "wrong version number" in low:
        plain = Scheme.HTTP if scheme.is_http else Scheme.GRPC
        return RefusedError(
            f"{address} is not encrypted: use {plain}:// where you trust the network, or put a "
            "proxy in front of it (docs/service.md)",
            field="engine",
        )
    return RefusedError(
        f"no encrypted connection to {address} ({_shortened(text)}): name the host as its "
        f"certificate does, and let {CERTIFICATES} name a file with the certificate to trust",
        field="engine",
    )


def _other_scheme(address: Address, what: str, encrypted: Scheme, plain: Scheme) -> RefusedError:
    wanted = encrypted if address.scheme.is_encrypted else plain
    return RefusedError(
        f"{address} {what}: use {wanted}://, or the server's other port", field="engine"
    )


def _shortened(text: str) -> str:
    """What a service says, on one line."""
    return " ".join(text.split())[:200]
