"""Sign-in to the page: a one-time link is exchanged for a cookie.

The link has its key after ``#``, which browsers never send, so it does not appear in server logs, proxies or the
Referer. The page posts it once and gets the token of a session as a cookie that scripts cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..errors import StateError, StorageError
from ..files import atomic_output

COOKIE_SECONDS = 365 * 24 * 3600
"""Lifetime of the cookie, in seconds."""

_BYTES = 32  # 256 bits
_LIMIT = 32  # maximum number of sessions; the one unused for the longest time is removed
_DAY = 24 * 3600
_IDLE_DAYS = 90  # days without a visit after which a session ends
_log = logging.getLogger("edgetl.page")


class Sessions:
    """The one-time key of the link, and the sessions opened with it.

    Only hashes of the tokens of sessions are stored, in RAM and in the file. A session ends 90 days after its last visit.

    Args:
        path: File that keeps sessions across restarts, readable only by its owner; None keeps them in RAM only.
        cookie: Name of the cookie; cookies do not depend on ports, so two pages on one host need two names.
        clock: Returns seconds since 1970.

    Attributes:
        token: For the program that started the server; valid until the server ends.

    Example:
        >>> sessions = Sessions()
        >>> token = sessions.redeem(sessions.key)
        >>> sessions.valid(token), sessions.valid("guess")
        (True, False)
    """

    def __init__(
        self, path: Path | None = None, cookie: str = "edgetl-session", clock: Callable[[], float] = time.time
    ) -> None:
        self.cookie = cookie
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._seen = _read(path, self._today()) if path is not None else {}  # hash -> day of the last visit
        self._key = secrets.token_urlsafe(_BYTES)
        self.token = secrets.token_urlsafe(_BYTES)

    @property
    def key(self) -> str:
        """The key of the valid link."""
        return self._key

    def redeem(self, key: str) -> str | None:
        """Exchange the key of the link for the token of a session, once; then the link gets a new key.

        Returns:
            The token, or None when the key is not valid.
        """
        with self._lock:
            if not hmac.compare_digest(key.encode(errors="replace"), self._key.encode()):
                return None
            token = secrets.token_urlsafe(_BYTES)
            self._key = secrets.token_urlsafe(_BYTES)
            self._seen = self._living() | {_hash(token): self._today()}
            while len(self._seen) > _LIMIT:  # among those of the same day, the first one
                del self._seen[min(self._seen, key=self._seen.__getitem__)]
            self._write()
            return token

    def valid(self, token: str) -> bool:
        """Return whether `token` belongs to a session, in time that does not depend on the token."""
        given, found = _hash(token), ""
        own = hmac.compare_digest(given, _hash(self.token))
        for known in tuple(self._living()):
            if hmac.compare_digest(given, known):
                found = known
        if found:
            self._visited(found)
        return own or bool(found)

    def _visited(self, session: str) -> None:
        today = self._today()
        with self._lock:
            # one small write per day and device; a clock that is behind, as on a Pi before it gets the time from a server,
            # changes nothing
            if session in self._seen and self._seen[session] < today:
                self._seen[session] = today
                self._write()

    def _living(self) -> dict[str, int]:
        today = self._today()
        return {known: day for known, day in tuple(self._seen.items()) if today - day <= _IDLE_DAYS}

    def _today(self) -> int:
        return int(self._clock() // _DAY)

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            with atomic_output(self._path, force=True, private=True) as temporary:
                temporary.write_text(json.dumps({"version": 2, "sessions": self._seen}), encoding="utf-8")
        except StorageError as error:  # a full disk must not lock out the user who frees space
            _log.warning(
                "sessions will end when the page stops, because they cannot be stored: %s", error.args[-1]
            )


class Guesses:
    """Count wrong keys per address, so that guessing is slow and a typing error is not punished.

    A key has 256 bits, so this only saves work; it never affects other devices.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: deque[tuple[float, str]] = deque(maxlen=1000)

    def allowed(self, address: str) -> bool:
        """Return whether `address` may try a key: fewer than ten wrong keys within a minute."""
        since = self._clock() - 60.0
        with self._lock:
            return sum(at > since and who == address for at, who in self._wrong) < 10

    def count(self, address: str) -> None:
        """Record a wrong key."""
        with self._lock:
            self._wrong.append((self._clock(), address))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _read(path: Path, today: int) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
        if isinstance(sessions, list):  # version 1 did not store when a session was used
            sessions = dict.fromkeys(sessions, today)
        if all(name.isascii() and type(day) is int for name, day in sessions.items()):
            return dict(list(sessions.items())[-_LIMIT:])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"{path} does not contain the sessions of the page: {error}; delete it and sign in again"
        ) from error
    raise StateError(f"{path} does not contain the sessions of the page; delete it and sign in again")
