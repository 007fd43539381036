"""The web server around the page."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from ..cameras import Camera
from ..errors import EdgetlError
from ..learner.learner import Learner
from .api import build
from .connections import Connection
from .encryption import Door, Encryption
from .guard import Guard
from .machine import parsed_address, reachable
from .page import Page
from .places import TOTAL, Places
from .regions import Chooser, Named
from .sessions import Sessions

_SEND_BUFFER = 96 * 1024
"""Bytes that the kernel buffers per viewer: a few pictures, so that a slow connection has little delay."""

_GRACE = 3  # seconds for streams to end when the server stops


class PageServer:
    """Serve the page of one learner and one camera.

    On loopback every user of this machine can use the page; other addresses need a session (see `link`).

    Args:
        learner: The open learner; the caller closes it afterwards.
        open_camera: Opens the camera; called again when it was lost. None: there is no camera.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        sign_in: Require a session on loopback too, for a machine with several users.
        allow_hosts: Further host names of the page.
        cors: Origins of other sites whose scripts may use the HTTP API, such as ``https://example.org``.
        sessions_file: File that keeps sessions across restarts; None keeps them in RAM only.
        fps: Maximum number of frames per second.
        pages: Serve these pages, of several cameras or regions, in place of one of `learner` and `open_camera`; each has a
            name.
        signed_in: Called when the one-time link was used.
        encryption: The certificate for HTTPS; plain HTTP is then answered with a redirection. None: plain HTTP.

    Raises:
        EdgetlError: The address cannot be listened on.
    """

    def __init__(
        self,
        learner: Learner,
        open_camera: Callable[[], Camera] | None,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        sign_in: bool = False,
        allow_hosts: Iterable[str] = (),
        cors: Iterable[str] = (),
        sessions_file: Path | None = None,
        fps: float = 15.0,
        pages: Sequence[Page] = (),
        signed_in: Callable[[PageServer], None] | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        self.encryption = encryption
        self._socket = _listen(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        free = is_loopback(host) and not sign_in
        try:
            self.sessions = None if free else Sessions(sessions_file, self._cookie())
            self.pages = tuple(pages) or (Page(learner, open_camera, fps=fps),)
            self.page = self.pages[0]
            apps = {
                page.region: build(
                    page, self.sessions, lambda: signed_in(self) if signed_in else None, self.pages
                )
                for page in self.pages
            }
            guard = Guard(Chooser(apps), hosts=allow_hosts, sessions=self.sessions, origins=cors)
        except EdgetlError:
            self._socket.close()
            raise
        self._server = _Server(_config(Named(guard), encryption), self._stop_pages)
        self._thread: threading.Thread | None = None

    def _cookie(self) -> str:
        # a browser lets no page without HTTPS replace a cookie of one with it, so the two have different names
        return f"edgetl-{self.port}" if self.encryption is None else f"__Host-edgetl-{self.port}"

    def _start_pages(self) -> None:
        for page in self.pages:
            page.start()

    def _stop_pages(self) -> None:
        for page in self.pages:
            page.stop()

    @property
    def url(self) -> str:
        """Address of the page on the network."""
        if self.encryption is None:
            return f"http://{_in_url(reachable(self.host))}:{self.port}/"
        return f"https://{_in_url(self.encryption.certificate.best_name(reachable(self.host)))}:{self.port}/"

    @property
    def link(self) -> str:
        """Address that signs one browser in, once; the same as `url` where no session is needed."""
        return self.url if self.sessions is None else f"{self.url}#{self.sessions.key}"

    @property
    def token(self) -> str | None:
        """Token for the program that started the server; None where no session is needed."""
        return None if self.sessions is None else self.sessions.token

    def listen(self) -> None:
        """Accept connections; they wait until `run` or `start` serves them."""
        self._socket.listen(TOTAL)

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        self.listen()
        self._start_pages()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def start(self) -> None:
        """Serve in a thread and return at once; connections wait until the thread is ready."""
        self.listen()
        self._start_pages()
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="edgetl-page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving, end all streams and close the camera; the learner stays open."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=2 * _GRACE + 10)
        self._stop_pages()
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PageServer {self.url}>"


class _Server(uvicorn.Server):
    """A server that ends the streams before shutdown, because uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, before_shutdown: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_shutdown = before_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_shutdown()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # a `Door` too
            transport = connection.transport
            if transport is not None:  # the viewer does not read, so its data would never be sent
                transport.abort()
        await asyncio.sleep(0)  # lets them close


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    address = parsed_address(host.strip("[]"))
    return host == "localhost" or (address is not None and address.is_loopback)


def _config(app: Named, encryption: Encryption | None) -> uvicorn.Config:
    places = Places()
    protocol: Callable[..., asyncio.Protocol] = partial(Connection, places=places)
    if encryption is not None:
        protocol = partial(Door, places=places, encryption=encryption)
    for name in ("uvicorn.error", "python_multipart"):  # the guard logs what matters
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http=protocol,  # type: ignore[arg-type]  # has the signature of the class
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=None,  # `Places` limits connections, and reserves some for signed-in viewers
        h11_max_incomplete_event_size=16 * 1024,
        timeout_graceful_shutdown=_GRACE,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sets TCP_NODELAY only where the protocol is named; without it, an answer on a connection that stays
        # open waits 40 ms for the client to acknowledge its header
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise EdgetlError(
            f"the address {host!r} does not exist: {error.strerror}; try --host 0.0.0.0"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)  # connections inherit it
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise EdgetlError(_why_not(error, host, port)) from error
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    reasons = {
        errno.EADDRINUSE: "another program uses this port; stop it or choose another --port",
        errno.EACCES: "ports below 1024 need root; choose another --port",
        errno.EADDRNOTAVAIL: "this machine does not have that address; --host 0.0.0.0 uses all of its addresses",
    }
    return f"cannot listen on {host} port {port}: {reasons.get(error.errno or 0, error.strerror)}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
