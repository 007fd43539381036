"""Who may use the page: a one-time link becomes a cookie.

The link carries its key behind ``#``, which browsers never send, so that it stands in no server log,
proxy or Referer. The page posts it once and gets a session's token as a cookie that scripts cannot read.
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
"""Seconds a browser keeps its cookie."""

_BYTES = 32  # 256 bits
_LIMIT = 32  # devices that stay signed in; the one seen longest ago leaves
_DAY = 24 * 3600
_IDLE_DAYS = 90  # without a visit, after which a session ends
_log = logging.getLogger("edgetl.page")


class Sessions:
    """The one-time key of the link, and the sessions it has opened.

    Only hashes of tokens are kept, in memory and in the file. A session ends 90 days after its last visit.

    Args:
        path: File that keeps sessions over a restart, readable by its owner alone; None: memory only.
        cookie: Name of the cookie; cookies know no ports, so two pages on one host need two names.
        clock: Gives seconds since 1970.

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

    @property
    def key(self) -> str:
        """The key of the link that works now."""
        return self._key

    def redeem(self, key: str) -> str | None:
        """Exchange the link's key for a session's token, once; the link then gets a new key.

        Returns:
            The token, or None when the key is not the one that works now.
        """
        with self._lock:
            if not hmac.compare_digest(key.encode(errors="replace"), self._key.encode()):
                return None
            token = secrets.token_urlsafe(_BYTES)
            self._key = secrets.token_urlsafe(_BYTES)
            self._seen = self._living() | {_hash(token): self._today()}
            while len(self._seen) > _LIMIT:  # of those seen on one day, the one that came first
                del self._seen[min(self._seen, key=self._seen.__getitem__)]
            self._write()
            return token

    def valid(self, token: str) -> bool:
        """Tell whether `token` belongs to a session; takes the same time whichever it is."""
        given, found = _hash(token), ""
        for known in tuple(self._living()):
            if hmac.compare_digest(given, known):
                found = known
        if found:
            self._visited(found)
        return bool(found)

    def _visited(self, session: str) -> None:
        today = self._today()
        with self._lock:
            # one small write a day and device; a clock that is behind, as a Pi's is until it has asked for the
            # time, changes nothing
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
        except StorageError as error:  # a full disk must not lock out whoever comes to clear it
            _log.warning("who is signed in will be forgotten when the page stops: %s", error.args[-1])


class Guesses:
    """Counts wrong keys by the address they come from, so that guessing is slow and told apart from a typing error.

    A key has 256 bits: what this spares is work and noise, and it never keeps out another device.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: deque[tuple[float, str]] = deque(maxlen=1000)

    def allowed(self, address: str) -> bool:
        """Tell whether `address` may try: fewer than ten wrong keys within a minute."""
        since = self._clock() - 60.0
        with self._lock:
            return sum(at > since and who == address for at, who in self._wrong) < 10

    def count(self, address: str) -> None:
        """Remember a wrong key."""
        with self._lock:
            self._wrong.append((self._clock(), address))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _read(path: Path, today: int) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
        if isinstance(sessions, list):  # version 1 did not know when a session was used
            sessions = dict.fromkeys(sessions, today)
        if all(name.isascii() and type(day) is int for name, day in sessions.items()):
            return dict(list(sessions.items())[-_LIMIT:])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"{path} does not hold the page's sessions: {error}; delete it and sign in again"
        ) from error
    raise StateError(f"{path} does not hold the page's sessions; delete it and sign in again")
