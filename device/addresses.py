"""Addresses of cameras, webhooks and brokers: parsed strictly, and shown without their secrets."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Collection
from dataclasses import dataclass, field

from .errors import AddressError

SECRET_VARIABLES = (
    "EDGETL_CAMERA", "EDGETL_WEBHOOK", "EDGETL_WEBHOOK_HEADER", "EDGETL_WEBHOOK_USER", "EDGETL_WEBHOOK_PASSWORD",
    "EDGETL_MQTT", "EDGETL_MQTT_USER", "EDGETL_MQTT_PASSWORD",
)  # fmt: skip
"""Environment variables that may contain a password: kept out of unit files and of the commands of ``--on``."""

_WORD = re.compile(r"\S+")
_SCHEME = re.compile(r"[^A-Za-z]*[A-Za-z][A-Za-z0-9+.-]*:/{1,3}")
_PARAMETER = re.compile(r"([?&;#])([^=&;?#\s]*)=([^&;\s'\"]*)")
_SECRET = re.compile(r"pass|pwd|token|key|secret|auth|sig", re.IGNORECASE)
_WRITTEN = "%/:=&?~+!$,;'@()*[]"  # characters with a meaning in an address, and escapes


def redact(text: str) -> str:
    """Return `text` with the secrets of every address in it replaced by ``***``.

    Works on a single address and on a message that contains some.

    Example:
        >>> redact("rtsp://admin:s3cret@10.0.0.5/live?token=abc&channel=1 is lost")
        'rtsp://admin:***@10.0.0.5/live?token=***&channel=1 is lost'
    """
    return _PARAMETER.sub(_without_value, _WORD.sub(_without_password, text))


def _without_password(match: re.Match[str]) -> str:
    """Hide the text between the user name and the last @ of a word: a password may contain / and @ unescaped.

    A port followed by an @ in the path is hidden too, which costs a few readable characters and never a secret.
    The word PASSWORD stays, because messages use it to show the form of an address.
    """
    word = match[0]
    at, scheme = word.rfind("@"), _SCHEME.match(word)
    colon = word.find(":", scheme.end() if scheme else 0, max(at, 0))
    if colon < 0 and scheme and not scheme[0].endswith("//"):
        colon = word.find(":", 0, max(at, 0))
    if at < 0 or colon < 0 or word[colon + 1 : at] == "PASSWORD":
        return word
    return f"{word[:colon]}:***{word[at:]}"


def _without_value(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}=***" if _SECRET.search(match[2]) else match[0]


@dataclass(frozen=True)
class Address:
    """A parsed address.

    Attributes:
        scheme: Scheme in lower case.
        host: Name or IP address, without brackets.
        port: Port number, or None where the address has none.
        path: Path, percent-encoded.
        bare: The address without user, password and fragment.
        user: Decoded user name, or None.
        password: Decoded password, or None.

    Example:
        >>> address = Address.parse("mqtt://me:p%40ss@broker/shed", ("mqtt", "mqtts"))
        >>> address.host, address.user, address.password
        ('broker', 'me', 'p@ss')
        >>> "p@ss" in repr(address)
        False
    """

    scheme: str
    host: str
    port: int | None
    path: str
    bare: str = field(repr=False)
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, text: str, schemes: Collection[str]) -> Address:
        """Parse an address with one of `schemes`.

        Raises:
            AddressError: The address is malformed. The message shows no password.
        """
        if any(character.isspace() or not character.isprintable() for character in text):
            raise AddressError(
                f"an address must not contain spaces, got {_start(text)!r}...; write a space as %20"
            )
        try:
            parts = urllib.parse.urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:  # its message may quote a part of the password
            host, port, parts = None, None, urllib.parse.SplitResult("", "", "", "", "")
        if not host or parts.scheme not in schemes:
            raise AddressError(
                f"expected an address such as {next(iter(schemes))}://HOST:PORT/PATH, got {redact(text)!r};"
                " in a user name or password write : / ? # @ as %3A %2F %3F %23 %40"
            )
        path, query = (urllib.parse.quote(part, _WRITTEN) for part in (parts.path, parts.query))
        netloc = parts.netloc.rpartition("@")[2]
        bare = urllib.parse.urlunsplit((parts.scheme, netloc, path, query, ""))
        return cls(parts.scheme, host, port, path, bare, _decoded(parts.username), _decoded(parts.password))


def _start(text: str) -> str:
    scheme, colon, _ = text.partition("://")
    return f"{scheme[:20]}{colon}" if colon else ""


def _decoded(part: str | None) -> str | None:
    return None if part is None else urllib.parse.unquote(part)
