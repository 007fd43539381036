"""The HTTP interface of the page; JSON in and out."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ..errors import (
    CameraError,
    EdgetlError,
    LabelError,
    SampleNotFoundError,
    StateBusyError,
    StorageError,
)
from .guard import FAILURE, Refusal, VisibleJSON, refused
from .page import Page
from .sessions import COOKIE_SECONDS, Guesses, Sessions
from .streams import events, pictures

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("app.js", "dom.js", "teach.js", "gallery.js", "report.js")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_STATUS: tuple[tuple[type[EdgetlError], int], ...] = (
    (SampleNotFoundError, 404),
    (LabelError, 400),
    (StateBusyError, 409),
    (CameraError, 503),
    (StorageError, 507),
)
_VIEWERS = 12  # maximum number of open streams; each phone or tab has one of a kind
_SAMPLES = 600  # maximum number of samples per list
_LARGEST = 2**63 - 1  # largest integer in SQLite

T = TypeVar("T", str, int)


def build(
    page: Page, sessions: Sessions | None = None, signed_in: Callable[[], None] = lambda: None
) -> Starlette:
    """Return the ASGI application.

    Args:
        page: The page to serve.
        sessions: The sessions that may use it; None lets in everyone who reaches the server.
        signed_in: Called when the one-time link was used, so that the next one can be printed.
    """
    api = _Api(page, sessions, signed_in)
    handlers: dict[Any, Any] = {
        EdgetlError: _edgetl_error,
        Refusal: _refusal,
        HTTPException: _http_error,
        Exception: _failure,
    }
    return Starlette(routes=api.routes(), exception_handlers=handlers)


class _Api:
    def __init__(self, page: Page, sessions: Sessions | None, signed_in: Callable[[], None]) -> None:
        self._page, self._sessions, self._signed_in = page, sessions, signed_in
        self._guesses = Guesses()

    def routes(self) -> list[BaseRoute]:
        get = {
            "/api/state": self.state,
            "/api/report": self.report,
            "/api/events": self.events,
            "/api/stream.mjpg": self.pictures,
            "/api/samples": self.samples,
            "/api/samples/{id}.jpg": self.thumbnail,
            "/api/doubts": self.doubts,
            "/api/doubts/{id}.jpg": self.doubt,
            "/api/export": self.export,
        }
        post = {
            "/api/enter": self.enter,
            "/api/labels/add": self.add,
            "/api/labels/rename": self.rename,
            "/api/labels/delete": self.delete,
            "/api/teach": self.teach,
            "/api/release": self.release,
            "/api/undo": self.undo,
            "/api/samples/relabel": self.relabel,
            "/api/samples/forget": self.forget,
            "/api/doubts/answer": self.answer,
            "/api/doubts/skip": self.skip,
        }
        return [
            *(Route(path, partial(_file, *file), methods=["GET"]) for path, file in _FILES.items()),
            *(_only_get(path, endpoint) for path, endpoint in get.items()),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()),
        ]

    # reading

    async def state(self, request: Request) -> Response:
        return await _answer(self._page.state)

    async def report(self, request: Request) -> Response:
        return await _answer(self._page.lessons.report)

    async def events(self, request: Request) -> Response:
        self._refuse_crowd(self._page.events.readers)
        return events(self._page.events)

    async def pictures(self, request: Request) -> Response:
        self._refuse_crowd(self._page.loop.pictures.readers)
        await run_in_threadpool(self._page.loop.show)
        return pictures(self._page.loop.pictures)

    async def samples(self, request: Request) -> Response:
        query = request.query_params
        limit = query.get("limit", "60")
        if not 0 < _number(limit) <= _SAMPLES:
            raise Refusal(400, f"limit must be a number from 1 to {_SAMPLES}, got {limit[:20]!r}")
        return await _answer(self._page.samples, query.get("label"), _number(limit))

    async def thumbnail(self, request: Request) -> Response:
        jpeg = await run_in_threadpool(self._page.thumbnail, _number(request.path_params["id"]))
        return _jpeg(jpeg)

    async def doubts(self, request: Request) -> Response:
        return await _answer(self._page.queue)

    async def doubt(self, request: Request) -> Response:
        doubt = self._page.doubts.get(_number(request.path_params["id"]))
        if doubt is None:
            raise Refusal(404, "this frame is no longer in the queue")
        return _jpeg(doubt.jpeg)

    async def export(self, request: Request) -> Response:
        folder = tempfile.TemporaryDirectory(prefix="edgetl-")
        try:
            path = await run_in_threadpool(self._page.lessons.export, Path(folder.name))
        except BaseException:
            folder.cleanup()
            raise
        return _Download(path, folder)

    def _refuse_crowd(self, viewers: int) -> None:
        if viewers >= _VIEWERS:
            raise Refusal(503, f"{_VIEWERS} viewers are watching already; close the page on another device")

    # changing

    async def enter(self, request: Request) -> Response:
        key = (await _fields(request, key=str))["key"]
        if self._sessions is None:
            return VisibleJSON({})
        visitor = request.client.host if request.client else ""
        if not self._guesses.allowed(visitor):
            raise Refusal(
                429, "this device used too many wrong links; wait a minute, then open the right one"
            )
        token = await run_in_threadpool(self._sessions.redeem, key)
        if token is None:
            self._guesses.count(visitor)
            raise Refusal(403, "this link was used before or has expired; the terminal shows the valid one")
        self._signed_in()
        response = VisibleJSON({})
        response.set_cookie(
            self._sessions.cookie,
            token,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def add(self, request: Request) -> Response:
        body = await _fields(request, label=str)
        return await _answer(lambda: {"label": self._page.lessons.add(body["label"])})

    async def rename(self, request: Request) -> Response:
        body = await _fields(request, old=str, new=str)
        return await _answer(lambda: {"label": self._page.lessons.rename(body["old"], body["new"])})

    async def delete(self, request: Request) -> Response:
        body = await _fields(request, label=str)
        return await _answer(self._page.lessons.delete, body["label"])

    async def teach(self, request: Request) -> Response:
        body = await _fields(request, label=str, hold=str)
        return await _answer(self._page.lessons.teach, body["label"], body["hold"][:64])

    async def release(self, request: Request) -> Response:
        await _fields(request)
        return await _answer(self._page.lessons.release)

    async def undo(self, request: Request) -> Response:
        await _fields(request)
        return await _answer(self._page.lessons.undo)

    async def relabel(self, request: Request) -> Response:
        body = await _fields(request, id=int, label=str)
        return await _answer(self._page.lessons.relabel, body["id"], body["label"])

    async def forget(self, request: Request) -> Response:
        body = await _fields(request, id=int)
        return await _answer(self._page.lessons.forget, body["id"])

    async def answer(self, request: Request) -> Response:
        body = await _fields(request, id=int, label=str)
        return await _answer(self._page.lessons.answer, body["id"], body["label"])

    async def skip(self, request: Request) -> Response:
        body = await _fields(request, id=int)
        return await _answer(self._page.lessons.skip, body["id"])


async def _answer(work: Callable[..., dict[str, Any] | None], *values: Any) -> Response:
    return VisibleJSON(await run_in_threadpool(work, *values) or {})


async def _fields(request: Request, **wanted: type) -> dict[str, Any]:
    """Return the JSON object in the body, which must have exactly the given fields and types."""
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict) or set(body) != set(wanted):
        raise Refusal(400, f"the body must be an object with {', '.join(wanted) or 'no fields'}")
    for name, kind in wanted.items():
        if type(body[name]) is not kind:  # isinstance would accept a bool as int
            raise Refusal(400, f"{name} must be {'a number' if kind is int else 'text'}")
        if kind is int and not 0 <= body[name] <= _LARGEST:
            raise Refusal(404, f"there is no {name} {str(body[name])[:20]}")
    return body


def _number(text: str) -> int:
    """Return the number in a text of digits, or -1, which no record has, for anything else or too large for SQLite."""
    short = 0 < len(text) <= len(str(_LARGEST))
    number = int(text) if short and text.isascii() and text.isdecimal() else -1
    return number if number <= _LARGEST else -1


def _only_get(path: str, endpoint: Callable[..., Any]) -> Route:
    route = Route(path, endpoint, methods=["GET"])
    # Starlette adds HEAD, which would export for no one or start a stream that never ends
    route.methods = {"GET"}
    return route


class _Download(FileResponse):
    """A file that is deleted with its folder after sending, or after sending has failed."""

    def __init__(self, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        super().__init__(path, filename=path.name)
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._folder.cleanup()


@cache
def _static(name: str) -> tuple[bytes, bytes, str]:
    """Return a static file as bytes and compressed, and the entity tag of its version."""
    data = (_STATIC / name).read_bytes()
    return data, gzip.compress(data, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:16]}"'


async def _file(name: str, kind: str, request: Request) -> Response:
    data, packed, tag = _static(name)
    headers = {"cache-control": "no-cache", "etag": tag, "vary": "accept-encoding"}
    if request.headers.get("if-none-match", "").removeprefix("W/") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=kind, headers={**headers, "content-encoding": "gzip"})
    return Response(data, media_type=kind, headers=headers)


def _jpeg(data: bytes) -> Response:
    # ids are never reused, so a picture never changes
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


async def _edgetl_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    return VisibleJSON({"error": str(error)}, status)


async def _refusal(request: Request, error: Exception) -> Response:
    return refused(error if isinstance(error, Refusal) else Refusal(400, str(error)))


async def _failure(request: Request, error: Exception) -> Response:
    # an error in edgetl; Starlette raises it again, and the guard logs it
    return refused(Refusal(500, FAILURE))


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    messages = {
        404: "there is no such page",
        405: "this address does not accept this HTTP method",
    }
    return VisibleJSON({"error": messages.get(status, "the request is not valid")}, status)
