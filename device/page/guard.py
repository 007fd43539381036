"""Checks of every request before it reaches the page.

- Host: only names of this machine, so that a foreign DNS name that points to this address is refused.
- Origin: a request that changes something must come from the page itself, or from a program that is no browser, or
  for the API from a named origin (CORS).
- Size: bodies have a maximum size and a time limit.
- Session: with `--host`, a cookie or a bearer token.

Every response gets strict headers. This is plain ASGI, because Starlette's BaseHTTPMiddleware would buffer streams.
"""

from __future__ import annotations

import http
import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..addresses import redact
from ..errors import AddressError
from ..printable import printable
from .bodies import V1, Refusal, accepted_body, limited
from .connections import RECOGNIZED
from .machine import own_names, parsed_address
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
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
# Names that browsers trust without HTTPS; on others they ignore the header below and log an error each time.
_TRUSTWORTHY = ("localhost", "127.0.0.1", "::1")
# RFC 9110, 7.2, without what RFC 3986 allows in a host and DNS does not: user names, escapes, sub-delimiters
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
# as browsers write it (RFC 6454, 6.2): no path, no user, no slash at the end
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_CORS = {
    "access-control-allow-methods": "GET, POST, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",  # seconds
}
_SHOWN = 200  # maximum number of characters from a request that are logged
_log = logging.getLogger("edgetl.page")


class Guard:
    """Wrap an ASGI application with the checks above.

    Args:
        app: The application.
        hosts: Host names of the page, besides ``localhost``, this machine's name and plain IP addresses.
        sessions: The sessions that may use the page; None lets in everyone who reaches the server.
        origins: Origins whose scripts may use the API, such as ``https://example.org``. Cookies are not accepted
            from them, so where a session is needed, they need a token.

    Raises:
        AddressError: One of `hosts` is not a host name, or one of `origins` not an origin.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        sessions: Sessions | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._hosts = (own_names() | {_allowed(host) for host in hosts}) - {""}
        self._sessions = sessions
        self._origins = {_checked_origin(origin) for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the page supports only HTTP, got {scope['type']}")
        started = False
        origin = self._named_origin(scope)

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _protect(message, scope)
                if self._origins:
                    _allow(message, origin)
            await send(message)

        try:
            self._check(scope, origin)
            if origin and scope["method"] == "OPTIONS":
                await _preflight(scope)(scope, receive, answer)
                return
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

    def _named_origin(self, scope: Scope) -> str:
        """Return the origin of a script of another site that may use the API; "" for every other request."""
        origin = Headers(scope=scope).get("origin", "").lower()
        return origin if origin in self._origins and scope["path"].startswith(V1) else ""

    def _check(self, scope: Scope, named: str) -> None:
        headers, changes = Headers(scope=scope), scope["method"] not in ("GET", "HEAD")
        self._check_host(headers.get("host", ""))
        if named and scope["method"] == "OPTIONS":
            return  # a browser asks what it may send; without a token
        if changes and named:
            accepted_body(scope).check_size(headers)
        elif changes:
            _check_origin(headers, scope["scheme"], needed=not scope["path"].startswith(V1))
            accepted_body(scope).check_size(headers)
        elif (
            not named
            and headers.get("sec-fetch-site") in ("cross-site", "same-site")
            and not _is_visit(headers, scope)
        ):
            raise Refusal(403, "the request comes from another site; open the page itself")
        private = scope["path"].startswith((API, METRICS)) and scope["path"] not in OPEN
        if private and not self._knows(headers, cookies=not named):
            raise Refusal(401, _SIGN_IN)
        if changes:
            accepted_body(scope).check_kind(headers)
        if private and RECOGNIZED in scope:
            scope[RECOGNIZED]()

    def _knows(self, headers: Headers, cookies: bool = True) -> bool:
        sessions = self._sessions
        if sessions is None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return sessions.valid(token.strip())
        return cookies and sessions.valid(_cookie(headers, sessions.cookie))

    def _check_host(self, host: str) -> None:
        name = host_name(host)
        # DNS rebinding needs a name; an address in the Host header was entered by the user
        if name in self._hosts or parsed_address(name) is not None:
            return
        if not name:
            raise Refusal(
                421, f"the Host header must be a name or address with or without a port, got {host[:80]!r}"
            )
        raise Refusal(
            421, f"the page has no host name {name[:80]!r}; to add it, start the page with --allow-host"
        )


def host_name(host: str) -> str:
    """Return the name in ``NAME``, ``NAME:PORT`` or ``[ADDRESS]:PORT``, in lower case; "" for anything else."""
    match = _HOST.fullmatch(host)
    return "" if match is None else (match["v6"] or match["name"]).rstrip(".").lower()


def _allowed(host: str) -> str:
    name = host_name(host)
    if not name:
        raise AddressError(f"--allow-host needs a host name such as pi.example, got {redact(host)!r}")
    return name


def _check_origin(headers: Headers, own: str, needed: bool) -> None:
    """Raise `Refusal` unless a request comes from the page, whose scheme is `own`, or from a program."""
    origin = headers.get("origin")
    if origin is None and not needed and headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return  # a program: browsers send an Origin with each request that changes something
    if origin is None:
        raise Refusal(
            403, "a request that changes something must have the Origin header of the page, got none"
        )
    scheme, _, name = origin.lower().partition("://")
    # without TLS here, a reverse proxy may have it
    if scheme not in ("https", own) or name != headers["host"].lower():
        raise Refusal(403, f"the request comes from {origin[:80]!r}, not from the page itself")


def _checked_origin(text: str) -> str:
    origin = text.strip().lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise AddressError(
            f"--cors needs an origin such as https://example.org or http://192.168.1.5:3000, got {redact(text)!r}"
        )
    return origin


def _allow(message: Message, origin: str) -> None:
    """Add the headers by which a browser lets a script of `origin` read the answer; none for other origins."""
    headers = MutableHeaders(scope=message)
    headers.add_vary_header("Origin")
    if origin:
        headers["access-control-allow-origin"] = origin


def _preflight(scope: Scope) -> Response:
    """Return what a script of a named origin may send (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
    headers = dict(_CORS)
    if Headers(scope=scope).get("access-control-request-private-network") == "true":
        headers["access-control-allow-private-network"] = "true"
    return Response(status_code=http.HTTPStatus.NO_CONTENT, headers=headers)


def _is_visit(headers: Headers, scope: Scope) -> bool:
    return scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"


def _cookie(headers: Headers, name: str) -> str:
    # parsed as browsers do: a malformed cookie of another program on this host must not hide this one
    return cookie_parser(headers.get("cookie", "")).get(name, "")


def _protect(message: Message, scope: Scope) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers[name] = value
    if scope["scheme"] == "https" or host_name(Headers(scope=scope).get("host", "")) in _TRUSTWORTHY:
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
