"""The token of a station that others on the network can reach: who has it may come in."""

import hashlib
import hmac
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.storage import open_file

TOKEN = "token"  # the file's name
BYTES = 32
MOST_BYTES = 1000  # of the file
# Wrong ones of an address, in so many seconds: then none of that address is looked at so long.
MOST_WRONG, WITHIN = 20, 600.0
MOST_HOSTS = 1000  # addresses whose wrong ones are counted


class TooManyError(Exception):
    """Too many wrong tokens came."""


class Tokens:
    """Compares what visitors bring with the token, in constant time, and not for ever."""

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic):
        self._token, self._clock, self._lock = token, clock, Lock()
        self._wrong: dict[str, deque[float]] = {}  # by address, the one heard of last at the end
        # Not the token itself: a link that leaks from the cookie's jar would open every browser.
        self.cookie = self._derived(b"cookie")
        # Browsers send a cookie to every port: another station's takes another name.
        self.cookie_name = f"edge-sharpzo-{self._derived(b'name')[:8]}"

    def _derived(self, what: bytes) -> str:
        return hmac.new(self._token.encode(), what, hashlib.sha256).hexdigest()

    def admits(self, token: str | None, cookies: Iterable[str], host: str) -> bool:
        """Whether one of them is right. Raises TooManyError after too many wrong ones of `host`.

        A right cookie is taken even then, and a wrong one is not counted, for nobody guesses 256
        bits and a page left open sends it again and again: neither strangers nor that page lock the
        owner out.
        """
        if any(_same(cookie, self.cookie) for cookie in cookies):
            return True
        if token is None:
            return False
        with self._lock:
            now, wrong = self._clock(), self._wrong.get(host, deque(maxlen=MOST_WRONG))
            if len(wrong) == MOST_WRONG and now - wrong[0] < WITHIN:
                raise TooManyError
            if _same(token, self._token):
                return True
            wrong.append(now)
            self._wrong.pop(host, None)
            self._wrong[host] = wrong
            if len(self._wrong) > MOST_HOSTS:
                del self._wrong[next(iter(self._wrong))]
            return False


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogatepass"), right.encode())


def kept_token(folder: Path) -> str:
    """The token in `folder`, made at the first time; a file that its owner alone may read.

    Raises UserError where it cannot be kept so.
    """
    file = folder / TOKEN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(open_file(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as stream:
            os.fchmod(stream.fileno(), 0o600)
            token = stream.read(MOST_BYTES).decode("ascii").strip()
            if len(token) >= BYTES:
                return token
            token = secrets.token_urlsafe(BYTES)
            stream.seek(0)
            stream.truncate()
            stream.write(f"{token}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot keep the token in {file} ({getattr(error, 'strerror', error)}): make that "
            "folder writable, or delete the file"
        ) from error
    return token
