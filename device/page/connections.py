"""Close connections that neither send a request nor read, so that they cannot block others.

A sleeping phone, or a program that opens connections and sends nothing, would occupy one of the places of the
server, forever if its system keeps the connection alive.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .places import Places

RECOGNIZED = "edgetl.recognized"
"""Key in the ASGI scope of a function to call when the guard has accepted a request."""

ASK = 10.0
"""Seconds to send the header of a request."""

_READ = 30.0  # seconds without reading waiting data; even a slow viewer reads a picture in less


class Connection(H11Protocol):
    """The connection of one viewer, with time limits.

    Args:
        arguments: Passed to the class of uvicorn.
        places: The places of the server.
        named: Passed to the class of uvicorn.

    Attributes:
        address: Address of the viewer.
    """

    def __init__(self, *arguments: Any, places: Places, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.address = ""
        self._places = places
        self.app = _introduced(self.app, partial(places.recognize, self))

    _asking: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start to wait for a request."""
        super().connection_made(transport)
        self._wait_for_request()
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._places.enter(self)

    def data_received(self, data: bytes) -> None:
        """Process bytes; a part of a request header does not extend the wait for the rest."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
        elif self.is_idle() and self._asking is None:
            self._wait_for_request()

    def pause_writing(self) -> None:
        """Start the time limit for a viewer that does not read."""
        super().pause_writing()
        self._reading = self.loop.call_later(_READ, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that time limit: the viewer reads again."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place of the connection."""
        self._places.leave(self)
        self._stop_waiting()
        super().connection_lost(exc)  # calls resume_writing

    def give_way(self) -> None:
        """Close the connection at once, for another one."""
        self.transport.abort()

    def is_idle(self) -> bool:
        """Return whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_request(self) -> None:
        self._asking = self.loop.call_later(ASK, self._give_up)

    def _stop_waiting(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _give_up(self) -> None:
        self._asking = None
        if self.is_idle():
            self.transport.abort()


def _introduced(app: ASGIApp, recognize: Any) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope[RECOGNIZED] = recognize
        await app(scope, receive, send)

    return call
