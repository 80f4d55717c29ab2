"""The token of a station that others on the network can reach: who has it may come in."""

import hashlib
import hmac
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from edge_sharpzo.system.errors import UserError

TOKEN = "token"  # the file's name
BYTES = 32
MOST_WRONG, WITHIN = 20, 600.0  # wrong ones, in so many seconds: then none is looked at so long
COOKIE = "edge-sharpzo"


class TooManyError(Exception):
    """Too many wrong tokens came."""


class Tokens:
    """Compares what visitors bring with the token, in constant time, and not for ever."""

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic):
        self._token, self._clock, self._lock = token, clock, Lock()
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG)
        # Not the token itself: a link that leaks from the cookie's jar would open every browser.
        self.cookie = hmac.new(token.encode(), b"cookie", hashlib.sha256).hexdigest()

    def admits(self, token: str | None, cookie: str | None) -> bool:
        """Whether one of them is right. Raises TooManyError for a wrong one after too many.

        A right cookie is taken even then: strangers cannot lock its owner out.
        """
        if cookie is not None and _same(cookie, self.cookie):
            return True
        if token is None and cookie is None:
            return False
        with self._lock:
            now = self._clock()
            if len(self._wrong) == MOST_WRONG and now - self._wrong[0] < WITHIN:
                raise TooManyError
            if token is not None and _same(token, self._token):
                return True
            self._wrong.append(now)
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
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            file.chmod(0o600)
            token = file.read_text("ascii").strip()
            if len(token) >= BYTES:
                return token
            handle = os.open(file, os.O_WRONLY | os.O_TRUNC)
        token = secrets.token_urlsafe(BYTES)
        with os.fdopen(handle, "w") as stream:
            stream.write(f"{token}\n")
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot keep the token in {file} ({error}): make that folder writable, or delete the "
            "file"
        ) from error
    return token
