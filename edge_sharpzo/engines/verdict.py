"""What to tell of a service that says no, whichever way it is spoken to."""

from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.credentials import CERTIFICATES, TOKEN
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
    return UnknownModelError(
        f"{address} serves no model '{model}' ({_shortened(text)}): name the one that it "
        "serves behind the port, or start it with `make serve-model`",
        field="engine",
    )


def about_certificate(address: Address, text: str) -> RefusedError | None:
    """Where a failure to connect is one of encryption; None where it is another."""
    if not any(word in text.lower() for word in _CERTIFICATE):
        return None
    if not address.scheme.is_encrypted:
        return None
    return RefusedError(
        f"no encrypted connection to {address} ({_shortened(text)}): name the host as its "
        f"certificate does, and let {CERTIFICATES} name a file with the certificate to trust",
        field="engine",
    )


def _shortened(text: str) -> str:
    """What a service says, on one line."""
    return " ".join(text.split())[:200]
