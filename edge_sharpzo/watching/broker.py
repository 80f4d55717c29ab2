"""Which MQTT broker answers go to, and under which topic."""

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self
from urllib.parse import unquote, urlsplit

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import is_line

PASSWORD = "EDGE_SHARPZO_MQTT_PASSWORD"
EXAMPLE = "mqtt://user@host/topic"
PORTS = {"mqtt": 1883, "mqtts": 8883}
MOST_PORT = 65_535
LONGEST_TOPIC = 200  # bytes; what is put behind it fits as well


@dataclass(frozen=True)
class Broker:
    """A broker, and a topic of it."""

    host: str
    port: int
    topic: str
    user: str | None
    password: str | None
    is_encrypted: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def shows_password(self) -> bool:
        """Whether a password leaves this machine unencrypted."""
        try:
            is_here = ip_address(self.host).is_loopback
        except ValueError:  # a name
            is_here = self.host == "localhost"
        return bool(self.password) and not self.is_encrypted and not is_here

    @classmethod
    def parsed(cls, text: str) -> Self:
        """What `mqtt://user@host[:port]/topic` says; the password is the environment's.

        Raises UserError.
        """
        try:
            parts = urlsplit(text)
            port, host = parts.port, parts.hostname
            topic = unquote(parts.path, errors="strict").strip("/")
            user = unquote(parts.username or "", errors="strict") or None
        except UnicodeError:
            raise _refused("what is behind a % in it is no text") from None
        except ValueError:  # which may quote a password
            raise _refused(f"its host or port (1 to {MOST_PORT}) cannot be read") from None
        if parts.password is not None:
            raise UserError(
                f"`mqtt`: everybody on this machine can read a password there: set {PASSWORD}",
                field="mqtt",
            )
        if parts.scheme not in PORTS or not host or port == 0:
            raise _refused("it is no address of a broker")
        # What `urlsplit` leaves out without a word: also where nothing is behind a ? or #.
        if re.search(r"[?#]", text) or not is_line(text):
            raise _refused(
                "it is no address of a broker, in which no ?, # or line break may be. A topic has "
                "no #, and a ? in it is written %3F"
            )
        if not topic:
            raise _refused("the topic is missing")
        is_fit = is_line(topic) and not re.search(r"[+#]", topic) and not topic.startswith("$")
        if not is_fit or len(topic.encode()) > LONGEST_TOPIC:
            raise _refused(
                f"a topic is up to {LONGEST_TOPIC} bytes without +, # and a $ at its start"
            )
        password = os.environ.get(PASSWORD) or None
        if password and not user:
            raise _refused(f"{PASSWORD} is set, and a user is missing")
        return cls(
            host, port or PORTS[parts.scheme], topic, user, password, parts.scheme[4:] == "s"
        )


def _refused(why: str) -> UserError:
    """Does not show the address: where it cannot be read, no part of it is known to be harmless."""
    return UserError(
        f"`mqtt`: {why}. It reads like {EXAMPLE}, and the password is read from {PASSWORD}",
        field="mqtt",
    )
