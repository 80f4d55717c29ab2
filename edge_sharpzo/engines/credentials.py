"""What opens a service: a token and certificates, out of the environment alone."""

import os
from pathlib import Path

from edge_sharpzo.engines.address import Address
from edge_sharpzo.system.errors import UserError

TOKEN = "EDGE_SHARPZO_TOKEN"
CERTIFICATES = "SSL_CERT_FILE"  # as OpenSSL calls it: certificates to trust, PEM


def headers(address: Address) -> dict[str, str]:
    """What goes with every request to `address`.

    Raises UserError for a token that would leave this machine unencrypted, or cannot be sent.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        return {}
    if not token.isascii() or not token.isprintable():
        raise UserError(f"{TOKEN} holds more than printable ASCII: set it again", field="engine")
    if not (address.scheme.is_encrypted or address.is_here):
        raise UserError(
            f"{TOKEN} is set, and {address.scheme}:// would send it to {address} unencrypted: "
            "use kserve+tls:// or kserve+https://, or unset it",
            field="engine",
        )
    return {"authorization": f"Bearer {token}"}


def trusted_certificates() -> str | None:
    """The file of certificates to trust; None for those that the system does.

    Raises UserError where there is no such file.
    """
    file = os.environ.get(CERTIFICATES)
    if not file:
        return None
    try:
        holds = b"BEGIN CERTIFICATE" in Path(file).read_bytes()
    except OSError as error:
        raise UserError(
            f"{CERTIFICATES} names {file}, which cannot be read ({error.strerror}): set it again",
            field="engine",
        ) from error
    if not holds:
        raise UserError(
            f"{CERTIFICATES} names {file}, which holds no certificate (PEM): set it again",
            field="engine",
        )
    return file
