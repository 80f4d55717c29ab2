"""What opens a service: a token and certificates, out of the environment alone."""

import os
import ssl
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
    """The file of certificates to trust, all of which can be read; None for the system's.

    Raises UserError where there is no such file, or it is damaged.
    """
    file = os.environ.get(CERTIFICATES)
    if not file:
        return None
    try:
        if b" CERTIFICATE-----" not in Path(file).read_bytes():
            raise _unusable(
                "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
            )
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:  # an OSError, too
        why = f"is damaged: OpenSSL cannot read all of its certificates ({error})"
        raise _unusable(why) from error
    except OSError as error:
        raise _unusable(f"cannot be read ({error.strerror})") from error
    return file


def _unusable(why: str) -> UserError:
    """What to tell of the file of certificates."""
    return UserError(
        f"{CERTIFICATES} names {os.environ[CERTIFICATES]}, which {why}: copy it there again, name "
        "another file, or unset it",
        field="engine",
    )
