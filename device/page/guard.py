"""Checks of every request before it reaches the page.

- Host: only names of this machine, so that a foreign DNS name that points to this address is refused.
- Origin: a request that changes something must come from the page itself, or from a program that is no browser.
- Size: bodies have a maximum size and a time limit.
- Session: with `--host`, a cookie or a bearer token.

Every response gets strict headers. This is plain ASGI, because Starlette's BaseHTTPMiddleware would buffer streams.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..addresses import redact
from ..errors import AddressError
from ..printable import printable
from .bodies import V1, Refusal, accepted_body, limited
from .connections import RECOGNIZED
from .sessions import Sessions

FAILURE = "the device could not do this; its terminal shows the reason"
"""What a viewer sees after an error in edgetl."""

API, METRICS = "/api/", "/metrics"
OPEN = frozenset({"/api/enter", V1 + "token", V1 + "openapi.json"})
"""The API and the metrics need a session, except for these addresses; other addresses serve the empty page."""

_SIGN_IN = (
    "sign in with the link that `edgetl serve` printed in its terminal; a program sends the header "
    "Authorization: Bearer TOKEN"
)
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
            await self._app(scope, limited(receive, accepted_body(scope)), answer)
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
        headers, changes = Headers(scope=scope), scope["method"] not in ("GET", "HEAD")
        self._check_host(headers.get("host", ""))
        if changes:
            _check_origin(headers, needed=not scope["path"].startswith(V1))
            accepted_body(scope).check_size(headers)
        elif headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(headers, scope):
            raise Refusal(403, "the request comes from another site; open the page itself")
        private = scope["path"].startswith((API, METRICS)) and scope["path"] not in OPEN
        if private and not self._knows(headers):
            raise Refusal(401, _SIGN_IN)
        if changes:
            accepted_body(scope).check_kind(headers)
        if private and RECOGNIZED in scope:
            scope[RECOGNIZED]()

    def _knows(self, headers: Headers) -> bool:
        sessions = self._sessions
        if sessions is None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else _cookie(headers, sessions.cookie)
        return sessions.valid(given)

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


def _check_origin(headers: Headers, needed: bool) -> None:
    origin = headers.get("origin")
    if origin is None and not needed and headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return  # a program: browsers send an Origin with each request that changes something
    if origin is None:
        raise Refusal(
            403, "a request that changes something must have the Origin header of the page, got none"
        )
    scheme, _, name = origin.lower().partition("://")
    if scheme not in ("http", "https") or name != headers["host"].lower():
        raise Refusal(403, f"the request comes from {origin[:80]!r}, not from the page itself")


def _is_visit(headers: Headers, scope: Scope) -> bool:
    return scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"


def _cookie(headers: Headers, name: str) -> str:
    # parsed as browsers do: a malformed cookie of another program on this host must not hide this one
    return cookie_parser(headers.get("cookie", "")).get(name, "")


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
    if refusal.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if refusal.status in (408, 413):
        response.headers["connection"] = "close"  # the rest of the body is not read
    return response
