"""Send the current state to a web address by POST."""

from __future__ import annotations

import base64
import email.message
import email.utils
import http
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from ..addresses import Address, redact
from ..cameras import Notice
from ..errors import AddressError, PeripheralError
from .delivery import SECONDS, Clock, Receiver, Undelivered
from .watching import Observation

_PASSING = (408, 425, 429)  # of 4xx: Request Timeout, Too Early, Too Many Requests
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OURS = ("content-length", "host", "transfer-encoding", "connection")
_STEPS = {
    401: "check user and password: https://USER:PASSWORD@HOST/ or --webhook-header 'Authorization: ...'",
    403: "check user, password and permissions",
    404: "check the path of the address",
    405: "the address does not accept POST",
}


class Webhook(Receiver):
    """POST each change as JSON to a web address.

    When the receiver is unreachable or responds with 5xx, 408, 425 or 429, the webhook tries again until the receiver
    has the current state, after the delay in ``Retry-After``, at most five minutes. Other 4xx and redirects are not
    tried again, because the same request would get the same response.

    Args:
        url: ``http://[USER:PASSWORD@]HOST[:PORT]/PATH`` or ``https://...``. User and password may instead come from the
            environment variables EDGETL_WEBHOOK_USER and EDGETL_WEBHOOK_PASSWORD.
        headers: Further headers, ``Name: value``; ``${NAME}`` in a value is replaced by an environment variable.
        notice: Called with messages for the user.
        clock: Returns seconds.

    Raises:
        PeripheralError: The address or a header is malformed.
    """

    def __init__(
        self, url: str, headers: Sequence[str] = (), notice: Notice = print, *, clock: Clock = time.monotonic
    ) -> None:
        try:
            address = Address.parse(url, ("http", "https"))
        except AddressError as error:
            raise PeripheralError(f"the webhook's address is wrong: {error}") from None
        self._url = address.bare
        self._headers = {"Content-Type": "application/json", "User-Agent": "edgetl"}
        self._headers |= _basic(address) | dict(parse_header(header) for header in headers)
        self._opener = urllib.request.build_opener(_NoRedirect)
        port = "" if address.port is None else f":{address.port}"
        # the path is not shown: for many services it is the secret
        super().__init__(f"the webhook {address.scheme}://{address.host}{port}", notice, clock=clock)

    def deliver(self, observation: Observation) -> None:
        """Send a state by POST."""
        body = json.dumps(observation.to_dict(), ensure_ascii=False).encode()
        request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 - http or https only
        try:
            with self._opener.open(request, timeout=SECONDS):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.headers) from error
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(f"cannot be reached: {_reason(error)}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects: urllib would turn the POST into a GET without its body."""

    def redirect_request(self, *_: Any) -> None:
        """Return None, so that the redirect is not followed."""


def parse_header(text: str) -> tuple[str, str]:
    """Split ``Name: value`` and replace ``${NAME}`` by environment variables.

    Raises:
        PeripheralError: The text is not a header, names a header that edgetl sets, or a variable that is not set. The
            message never shows the value.
    """
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not _TOKEN.fullmatch(name):
        raise PeripheralError("a webhook's header is written 'Name: value', for example 'X-Device: shed'")
    if name.lower() in _OURS:
        raise PeripheralError(f"the header {name} is set by edgetl; leave it out")
    filled = re.sub(r"\$\{(\w+)\}", lambda match: _variable(name, match[1]), value.strip())
    if any(
        ord(character) < 32 or ord(character) in range(127, 160) or ord(character) > 255
        for character in filled
    ):
        raise PeripheralError(
            f"the value of the header {name} contains a line break or a character that is not allowed in HTTP headers"
        )
    return name.title(), filled


def _variable(header: str, name: str) -> str:
    if name not in os.environ:
        raise PeripheralError(f"the header {header} needs the environment variable {name}, which is not set")
    return os.environ[name]


def _basic(address: Address) -> dict[str, str]:
    user, password = address.user, address.password
    if user is None:
        user = os.environ.get("EDGETL_WEBHOOK_USER")
    if password is None:
        password = os.environ.get("EDGETL_WEBHOOK_PASSWORD")
    if user is None and password is None:
        return {}
    pair = f"{user or ''}:{password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _refusal(code: int, headers: email.message.Message) -> Undelivered:
    # the phrase of the server may be any text, and may differ with every attempt
    phrase = http.HTTPStatus(code).phrase if code in set(http.HTTPStatus) else "(unknown status)"
    if 300 <= code < 400:
        target = redact(headers.get("Location", "not given"))
        return Undelivered(
            f"responds with {code} {phrase}: use the address it redirects to, {target}", lasting=True
        )
    if code >= 500 or code in _PASSING:
        return Undelivered(f"responds with {code} {phrase}", delay=_retry_after(headers))
    step = _STEPS.get(code, "the receiver does not accept the message")
    return Undelivered(f"refuses with {code} {phrase}: {step}", lasting=True)


def _retry_after(headers: email.message.Message) -> float:
    """Return the seconds in ``Retry-After``, a number or a date; 0.0 without that header."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)
