"""Checks of every request before it reaches the page.

- Host: only names of this machine, so that a foreign DNS name that points to this address is refused.
- Origin: a request that changes something must come from the page itself.
- Size: bodies have a maximum size and a time limit.
- Session: with `--host`, a cookie.

Every response gets strict headers. This is plain ASGI, because Starlette's BaseHTTPMiddleware would buffer streams.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..addresses import redact
from ..errors import AddressError
from ..printable import printable
from .connections import RECOGNIZED
from .sessions import Sessions

MAX_BODY = 16 * 1024
"""Maximum number of bytes in the body of a request; the largest has two labels of 100 escaped characters."""

FAILURE = "the device could not do this; its terminal shows the reason"
"""What a viewer sees after an error in edgetl."""

_BODY_WAIT = 10.0  # seconds in which the whole body must arrive

API = "/api/"
ENTRANCE = "/api/enter"
"""The API needs a session, except for this address; other addresses serve the empty page."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
# Names that browsers trust without HTTPS; on others they ignore the header below and log an error each time.
_TRUSTWORTHY = ("localhost", "127.0.0.1", "::1")
# RFC 9110, 7.2, without what RFC 3986 allows in a host and DNS does not: user names, escapes, sub-delimiters
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
_SHOWN = 200  # maximum number of characters from a request that are logged
_log = logging.getLogger("edgetl.page")


class Refusal(Exception):  # noqa: N818  (a response, not an error of the server)
    """A request is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Wrap an ASGI application with the checks above.

    Args:
        app: The application.
        hosts: Host names of the page, besides ``localhost``, this machine's name and plain IP addresses.
        sessions: The sessions that may use the page; None lets in everyone who reaches the server.

    Raises:
        AddressError: One of `hosts` is not a host name.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] = (), sessions: Sessions | None = None) -> None:
        self._app = app
        self._hosts = (own_names() | {_allowed(host) for host in hosts}) - {""}
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the page supports only HTTP, got {scope['type']}")
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _protect(message, scope)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, _limited(receive), answer)
        except ClientDisconnect:
            pass
        except Refusal as refusal:
            if not started:  # otherwise the viewer of a stream sent too much, and the stream ends
                await refused(refusal)(scope, receive, answer)
        except Exception as error:
            # A traceback is for a bug report, so it is logged as debug output. The path comes from outside: unescaped, it
            # could forge log lines or control the terminal, and the error may contain it too.
            where = f"{scope['method']} {scope['path'][:_SHOWN]!r}"
            _log.error("%s failed: %s", where, redact(repr(error))[:_SHOWN])
            _log.debug("the traceback", exc_info=True)
            if not started:
                await refused(Refusal(500, FAILURE))(scope, receive, answer)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers.get("host", ""))
        if scope["method"] not in ("GET", "HEAD"):
            _check_origin(headers)
            _check_body(headers)
        elif headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(headers, scope):
            raise Refusal(403, "the request comes from another site; open the page itself")
        private = scope["path"].startswith(API) and scope["path"] != ENTRANCE
        if private and not self._knows(headers):
            raise Refusal(401, "sign in with the link that `edgetl serve` printed in its terminal")
        if private and RECOGNIZED in scope:
            scope[RECOGNIZED]()

    def _knows(self, headers: Headers) -> bool:
        sessions = self._sessions
        return sessions is None or sessions.valid(_cookie(headers, sessions.cookie))

    def _check_host(self, host: str) -> None:
        name = _name_of(host)
        if name in self._hosts or _is_address(name):
            return
        if not name:
            raise Refusal(
                421, f"the Host header must be a name or address with or without a port, got {host[:80]!r}"
            )
        raise Refusal(
            421, f"the page has no host name {name[:80]!r}; to add it, start the page with --allow-host"
        )


def own_names() -> set[str]:
    """Return the host names of this machine."""
    name = socket.gethostname().lower()
    return {"localhost", name, f"{name.partition('.')[0]}.local"}


def _name_of(host: str) -> str:
    """Return the name in ``NAME``, ``NAME:PORT`` or ``[ADDRESS]:PORT``, in lower case; "" for anything else."""
    match = _HOST.fullmatch(host)
    return "" if match is None else (match["v6"] or match["name"]).rstrip(".").lower()


def _allowed(host: str) -> str:
    name = _name_of(host)
    if not name:
        raise AddressError(f"--allow-host needs a host name such as pi.example, got {redact(host)!r}")
    return name


def _is_address(name: str) -> bool:
    # DNS rebinding needs a name; an address in the Host header was entered by the user
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_origin(headers: Headers) -> None:
    origin = headers.get("origin")
    if origin is None:
        raise Refusal(
            403, "a request that changes something must have the Origin header of the page, got none"
        )
    scheme, _, name = origin.lower().partition("://")
    if scheme not in ("http", "https") or name != headers["host"].lower():
        raise Refusal(403, f"the request comes from {origin[:80]!r}, not from the page itself")


def _check_body(headers: Headers) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the body must be application/json, got {kind[:80] or 'no type'!r}")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise Refusal(413, f"the body must have at most {MAX_BODY} bytes, got {length[:20]}")


def _is_visit(headers: Headers, scope: Scope) -> bool:
    return scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"


def _cookie(headers: Headers, name: str) -> str:
    # parsed as browsers do: a malformed cookie of another program on this host must not hide this one
    return cookie_parser(headers.get("cookie", "")).get(name, "")


def _limited(receive: Receive) -> Callable[[], Awaitable[Message]]:
    # a chunked body has no length in its header
    size, whole = 0, False
    due = asyncio.get_running_loop().time() + _BODY_WAIT

    async def counted() -> Message:
        nonlocal size, whole
        try:
            # after the body comes the end of the connection, which has no time limit
            async with asyncio.timeout_at(None if whole else due):
                message = await receive()
        except TimeoutError as error:
            raise Refusal(408, f"the body did not arrive within {_BODY_WAIT:.0f} seconds") from error
        whole = whole or not message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise Refusal(413, f"the body must have at most {MAX_BODY} bytes")
        return message

    return counted


def _protect(message: Message, scope: Scope) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers[name] = value
    if _name_of(Headers(scope=scope).get("host", "")) in _TRUSTWORTHY:
        headers["cross-origin-opener-policy"] = "same-origin"
    headers.setdefault("cache-control", "no-store")


class VisibleJSON(JSONResponse):
    """JSON in which control and bidirectional characters are escaped, so that terminals can show it."""

    def render(self, content: Any) -> bytes:
        """Return the bytes; the escapes are those of JSON, so programs read the original text."""
        return printable(json.dumps(content, ensure_ascii=False, allow_nan=False)).encode()


def refused(refusal: Refusal) -> JSONResponse:
    """Return the response that explains why a request is refused."""
    response = VisibleJSON({"error": str(refusal)}, refusal.status)
    if refusal.status in (408, 413):
        response.headers["connection"] = "close"  # the rest of the body is not read
    return response
