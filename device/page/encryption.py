"""HTTPS for the page, on the port that also answers plain HTTP with the address to use instead."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from ..errors import EdgetlError
from .certificates import Certificate
from .connections import ASK, Connection
from .guard import host_name
from .places import Places

_EVERY = 3600.0  # seconds between two looks at the certificate
_HANDSHAKE = 0x16  # first byte of a TLS connection (RFC 8446, 5.1)
_HEAD = 8 * 1024  # maximum bytes of a plain request that are read
# bytes of a slow viewer's data that are kept; asyncio's 512 KB for TLS would be seconds of delay
_BUFFER = 64 * 1024
_END = 3.0  # seconds to end TLS
_log = logging.getLogger("edgetl.page")


class Encryption:
    """The certificate of a server, and the TLS settings with it.

    Args:
        load: Returns the certificate; called again from time to time, because it may be renewed while the server runs.
        clock: Returns seconds.

    Raises:
        CertificateError: The certificate cannot be used.
    """

    def __init__(self, load: Callable[[], Certificate], clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._clock = load, clock
        self.certificate = load()
        self._context = self.certificate.context()
        self._due = clock() + _EVERY

    def context(self) -> ssl.SSLContext:
        """Return the settings for a new connection."""
        if self._clock() >= self._due:
            self._due = self._clock() + _EVERY
            self._look()
        return self._context

    def _look(self) -> None:
        try:
            found = self._load()
            if found.der != self.certificate.der:
                found.load_into(self._context)
                self.certificate = found
                _log.warning("a new certificate is used; its SHA-256 fingerprint is %s", found.fingerprint)
        except EdgetlError as error:  # the old one is better than none
            _log.warning("the certificate cannot be renewed, so the old one stays in use: %s", error)


class Door(asyncio.Protocol):
    """A new connection until its first bytes show whether it is TLS; then a `Connection` takes its place.

    Args:
        arguments: Passed to `Connection`.
        encryption: The certificate of the server.
        places: The places of the server.
        named: Passed to `Connection`.

    Attributes:
        address: Address of the visitor.
        transport: The connection without TLS.
    """

    def __init__(self, *arguments: Any, encryption: Encryption, places: Places, **named: Any) -> None:
        self.address, self.transport = "", cast("asyncio.Transport", None)
        self._inside = partial(Connection, *arguments, places=places, **named)
        self._connections = named["server_state"].connections  # uvicorn closes these when it stops
        self._encryption, self._places = encryption, places
        self._loop = asyncio.get_running_loop()
        self._received, self._answered = b"", False
        self._inner: Connection | None = None
        self._gone = False
        self._upgrade: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first bytes."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._limit = self._loop.call_later(ASK, self.transport.abort)
        self._connections.add(self)
        self._places.enter(self)

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes; after the handshake, keep those of the first request."""
        if self._answered:
            return  # the body of a plain request
        self._received += data
        if self._upgrade is not None:
            return
        if self._received[0] == _HANDSHAKE:
            self.transport.pause_reading()
            self._upgrade = self._loop.create_task(self._encrypt())
        elif b"\r\n\r\n" in self._received or len(self._received) > _HEAD:
            self._answered = True
            self.transport.write(_answer_plain(self._received[:_HEAD]))
            self.transport.write_eof()  # what is still being sent is read and ignored, or it would reset the answer away

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place of the connection."""
        self._gone = True
        self._leave()
        if self._inner is not None:  # it took over while this call was on its way
            self._inner.connection_lost(exc)

    def give_way(self) -> None:
        """Close the connection at once, for another one."""
        self.transport.abort()

    def is_idle(self) -> bool:
        """Return whether no request is in progress: there is none yet."""
        return True

    def shutdown(self) -> None:
        """Close the connection, because the server stops."""
        self.transport.abort()

    def _leave(self) -> None:
        self._limit.cancel()
        self._connections.discard(self)
        self._places.leave(self)

    async def _encrypt(self) -> None:
        hello, self._received = self._received, b""
        starting = self._loop.create_task(
            self._loop.start_tls(
                self.transport, self, self._encryption.context(),
                server_side=True, ssl_handshake_timeout=ASK, ssl_shutdown_timeout=_END,
            )
        )  # fmt: skip
        await asyncio.sleep(0)  # now the transport has the protocol of TLS, and its start is scheduled
        self._loop.call_soon(_feed, self.transport.get_protocol(), hello)
        try:
            secure = await starting
        except OSError as error:  # also of TLS, such as a browser that refuses the certificate
            _log.debug("no TLS with %s: %s", self.address, error)
            secure = None
        self._leave()
        if secure is None or self._gone:  # the visitor has hung up, or had to
            self.transport.abort()
        else:
            self._hand_over(secure)

    def _hand_over(self, secure: asyncio.Transport) -> None:
        self._inner = self._inside()
        secure.set_write_buffer_limits(_BUFFER)
        secure.set_protocol(self._inner)
        self._inner.connection_made(secure)
        if self._received:
            self._inner.data_received(self._received)


def _feed(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    """Pass bytes to the protocol of TLS that arrived before it."""
    receiver = cast("asyncio.BufferedProtocol", protocol)
    while data:
        buffer = memoryview(receiver.get_buffer(len(data)))
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        receiver.buffer_updated(size)
        data = data[size:]


def _answer_plain(head: bytes) -> bytes:
    """Return the answer to a request without TLS: the address with https, which browsers open on their own."""
    lines = head.decode("latin-1").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    path = rest.partition(" ")[0]
    hosts = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("host:")]
    if len(hosts) != 1 or not host_name(hosts[0]) or not path.startswith("/") or not path.isascii():
        return _response("400 Bad Request", "this server uses HTTPS; open its address with https://")
    url = f"https://{hosts[0]}{path}"
    message = f"this server uses HTTPS; use {url}"
    if method not in ("GET", "HEAD"):  # a program must not send its token again unencrypted
        return _response("400 Bad Request", message)
    # temporary: browsers remember a permanent one, and the server may be started without HTTPS again
    return _response("307 Temporary Redirect", message, f"location: {url}\r\n")


def _response(status: str, message: str, headers: str = "") -> bytes:
    body = json.dumps({"error": message}).encode()
    head = (
        f"HTTP/1.1 {status}\r\n{headers}content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
