"""Who may use the page: a one-time link becomes a cookie.

The link carries its key behind ``#``, which browsers never send, so that it stands in no server log,
proxy or Referer. The page posts it once and gets a session's token as a cookie that scripts cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from pathlib import Path

from ..errors import StateError
from ..files import atomic_output

_BYTES = 32  # 256 bits
_LIMIT = 32  # devices that stay signed in; the oldest leaves


class Sessions:
    """The one-time key of the link, and the sessions it has opened.

    Only hashes of tokens are kept, in memory and in the file.

    Args:
        path: File that keeps sessions over a restart, readable by its owner alone; None: memory only.
        cookie: Name of the cookie; cookies know no ports, so two pages on one host need two names.

    Example:
        >>> sessions = Sessions()
        >>> token = sessions.redeem(sessions.key)
        >>> sessions.valid(token), sessions.valid("guess")
        (True, False)
    """

    def __init__(self, path: Path | None = None, cookie: str = "edgetl-session") -> None:
        self.cookie = cookie
        self._path = path
        self._lock = threading.Lock()
        self._hashes = _read(path) if path is not None else []
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
            self._hashes = [*self._hashes, _hash(token)][-_LIMIT:]
            self._write()
            return token

    def valid(self, token: str) -> bool:
        """Tell whether `token` belongs to a session; takes the same time whichever it is."""
        given = _hash(token)
        found = False
        for known in tuple(self._hashes):
            found |= hmac.compare_digest(given, known)
        return found

    def _write(self) -> None:
        if self._path is None:
            return
        with atomic_output(self._path, force=True) as temporary:
            temporary.chmod(0o600)
            temporary.write_text(json.dumps({"version": 1, "sessions": self._hashes}), encoding="utf-8")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _read(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))["sessions"]
        if all(isinstance(item, str) for item in hashes):
            return list(hashes)[-_LIMIT:]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"{path} does not hold the page's sessions: {error}; delete it and sign in again"
        ) from error
    raise StateError(f"{path} does not hold the page's sessions; delete it and sign in again")
