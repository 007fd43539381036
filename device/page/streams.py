"""The two streams of a viewer: pictures and events.

Both read from a slot with only the newest value, and wait for the connection of the viewer. Slow viewers receive
fewer frames, delayed by at most the content of the socket buffer, and do not affect others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from .latest import Closed, Latest

_BOUNDARY = "edgetl-frame"
_PICTURE_GAP = 1 / 15  # minimum seconds between pictures per viewer
_EVENT_GAP = 0.1
_SILENCE = 10.0  # seconds without data after which a comment is sent, so that a closed connection is noticed


def pictures(slot: Latest[bytes]) -> StreamingResponse:
    """Stream JPEGs as ``multipart/x-mixed-replace``, which browsers and most video tools support."""
    kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    return StreamingResponse(_parts(slot), media_type=kind, headers={"cache-control": "no-store"})


def events(slot: Latest[bytes]) -> StreamingResponse:
    """Stream JSON objects as server-sent events; each contains the whole state, so a viewer can miss some."""
    return StreamingResponse(
        _messages(slot),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _parts(slot: Latest[bytes]) -> AsyncIterator[bytes]:
    version = 0
    # browsers show a part when the next boundary arrives, so it is sent directly after each picture
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
