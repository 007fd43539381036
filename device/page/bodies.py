"""What the body of a request may be: its type, its size and the time in which it must arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

V1 = "/api/v1/"
"""Addresses for programs other than the page, see docs/http-api.md."""


class Refusal(Exception):  # noqa: N818  (a response, not an error of the server)
    """A request is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Body:
    """What the body of a request may be.

    Attributes:
        kinds: Content types.
        size: Maximum number of bytes.
        seconds: Time in which the whole body must arrive.
    """

    kinds: tuple[str, ...] = ("application/json",)
    size: int = 16 * 1024  # the largest of the page has two labels of 100 escaped characters
    seconds: float = 10.0

    def check_size(self, headers: Headers) -> None:
        """Raise `Refusal` if the header has a length above the maximum."""
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self.size:
            raise Refusal(413, f"the body must have at most {self.size} bytes, got {length[:20]}")

    def check_kind(self, headers: Headers) -> None:
        """Raise `Refusal` for another content type."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in self.kinds:
            wanted = " or ".join(filter(None, self.kinds))
            raise Refusal(415, f"the body must be {wanted}, got {kind[:80] or 'no type'!r}")


_OF_PAGE = Body()
_OF_PROGRAM = Body(("application/json", ""))  # undo and delete have no body
_PHOTO = Body(
    # the first bytes decide what a photo is, and curl --data-binary sends the type of a form
    kinds=("image/jpeg", "image/png", "image/webp", "image/bmp", "image/heic", "image/heif", "multipart/form-data",
           "application/json", "application/octet-stream", "application/x-www-form-urlencoded", ""),
    size=16 * 2**20,
    seconds=30.0,
)  # fmt: skip
_SELECTION = Body(("application/json",), size=256 * 1024)  # thousands of ids
_PHOTOS = frozenset({V1 + "predict", V1 + "samples"})


def accepted_body(scope: Scope) -> Body:
    """Return what the body of this request may be."""
    if scope["path"] in _PHOTOS:  # whatever the method, so that PUT is refused as such
        return _PHOTO
    if scope["path"] == V1 + "samples/correct":
        return _SELECTION
    return _OF_PROGRAM if scope["path"].startswith(V1) else _OF_PAGE


def limited(receive: Receive, accepted: Body) -> Callable[[], Awaitable[Message]]:
    """Return `receive` with the limits of size and time.

    Raises:
        Refusal: When called: the body is too large or too slow.
    """
    # a chunked body has no length in its header
    size, whole = 0, False
    due = asyncio.get_running_loop().time() + accepted.seconds

    async def counted() -> Message:
        nonlocal size, whole
        try:
            # after the body comes the end of the connection, which has no time limit
            async with asyncio.timeout_at(None if whole else due):
                message = await receive()
        except TimeoutError as error:
            raise Refusal(408, f"the body did not arrive within {accepted.seconds:.0f} seconds") from error
        whole = whole or not message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > accepted.size:
            raise Refusal(413, f"the body must have at most {accepted.size} bytes")
        return message

    return counted
