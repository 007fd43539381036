"""The two streams a viewer holds open: pictures and events.

Both read from a slot with only the newest value, and wait for the viewer's own connection: a slow viewer
gets fewer frames, late by at most what fits into the socket's buffer, and nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from .latest import Closed, Latest

_BOUNDARY = "edgetl-frame"
_PICTURE_GAP = 1 / 15  # seconds between pictures of one viewer, at least
_EVENT_GAP = 0.1
_SILENCE = 10.0  # seconds after which a sign of life is sent, so that a viewer that has gone is noticed


def pictures(slot: Latest[bytes]) -> StreamingResponse:
    """Stream JPEGs as ``multipart/x-mixed-replace``, which browsers and most video tools play."""
    kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    return StreamingResponse(_parts(slot), media_type=kind, headers={"cache-control": "no-store"})


def events(slot: Latest[bytes]) -> StreamingResponse:
    """Stream JSON objects as server-sent events; each tells the whole situation, so missing some is no loss."""
    return StreamingResponse(
        _messages(slot),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _parts(slot: Latest[bytes]) -> AsyncIterator[bytes]:
    version = 0
    # browsers show a part when the next boundary arrives; sent right behind each picture, none lags by one
    yield f"--{_BOUNDARY}\r\n".encode()
    with slot.reading():
        while True:
            try:
                found = await slot.after(version, _SILENCE)
            except Closed:
                return
            if found is None:
                continue
            version, jpeg = found
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            yield b"".join((head, jpeg, f"\r\n--{_BOUNDARY}\r\n".encode()))
            await asyncio.sleep(_PICTURE_GAP)


async def _messages(slot: Latest[bytes]) -> AsyncIterator[bytes]:
    version = 0
    yield b"retry: 1000\n\n"
    with slot.reading():
        while True:
            try:
                found = await slot.after(version, _SILENCE)
            except Closed:
                return
            if found is None:
                yield b": still here\n\n"
                continue
            version, message = found
            yield b"data: " + message + b"\n\n"
            await asyncio.sleep(_EVENT_GAP)
