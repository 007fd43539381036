"""The HTTP interface of the page; JSON in and out."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import (
    CameraError,
    EdgetlError,
    LabelError,
    SampleNotFoundError,
    StateBusyError,
    StorageError,
)
from .answers import (
    answer,
    before_of,
    download,
    fields,
    flag,
    jpeg,
    kind_wanted,
    limit_of,
    number,
    only_get,
    refuse_crowd,
    wants_forecast,
)
from .bodies import V1, Refusal
from .guard import FAILURE, METRICS, VisibleJSON, refused
from .metrics import CONTENT_TYPE, text_of
from .page import Page
from .programs import program_routes, status_of
from .regions import address_of
from .sessions import COOKIE_SECONDS, Guesses, Sessions
from .streams import events, pictures

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = (
    "app.js",
    "dom.js",
    "teach.js",
    "order.js",
    "gallery.js",
    "select.js",
    "report.js",
    "phone.js",
    "lang.js",
)
_LANGUAGES = ("en", "de", "zh")
_ICONS = ("icon-192.png", "icon-512.png", "icon-maskable-512.png", "icon-apple-180.png")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in _SCRIPTS},
    **{f"/lang/{code}.json": (f"lang/{code}.json", "application/json") for code in _LANGUAGES},
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/app.webmanifest": ("app.webmanifest", "application/manifest+json"),
    **{f"/{name}": (name, "image/png") for name in _ICONS},
}
_STATUS: tuple[tuple[type[EdgetlError], int], ...] = (
    (SampleNotFoundError, 404),
    (LabelError, 400),
    (StateBusyError, 409),
    (CameraError, 503),
    (StorageError, 507),
)


def build(
    page: Page,
    sessions: Sessions | None = None,
    signed_in: Callable[[], None] = lambda: None,
    pages: Sequence[Page] = (),
) -> Starlette:
    """Return the ASGI application.

    Args:
        page: The page to serve.
        sessions: The sessions that may use it; None lets in everyone who reaches the server.
        signed_in: Called when the one-time link was used, so that the next one can be printed.
        pages: All pages of the server, where there are several.
    """
    api = _Api(page, sessions, signed_in, pages or (page,))
    handlers: dict[Any, Any] = {
        EdgetlError: _edgetl_error,
        Refusal: _refusal,
        HTTPException: _http_error,
        Exception: _failure,
    }
    return Starlette(routes=api.routes(), exception_handlers=handlers)


class _Api:
    def __init__(
        self, page: Page, sessions: Sessions | None, signed_in: Callable[[], None], pages: Sequence[Page]
    ) -> None:
        self._page, self._sessions, self._signed_in, self._pages = page, sessions, signed_in, pages
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
            METRICS: self.metrics,
        }
        post = {
            "/api/enter": self.enter,
            "/api/labels/add": self.add,
            "/api/labels/rename": self.rename,
            "/api/labels/delete": self.delete,
            "/api/teach": self.teach,
            "/api/teach/not": self.teach_not,
            "/api/teach/background": self.teach_background,
            "/api/release": self.release,
            "/api/undo": self.undo,
            "/api/samples/forget": self.forget,
        }
        return [
            *(Route(path, partial(_file, *file), methods=["GET"]) for path, file in _FILES.items()),
            *(only_get(path, endpoint) for path, endpoint in get.items()),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()),
            Route(V1 + "token", self.token, methods=["POST"]),
            *program_routes(self._page),
        ]

    # reading

    async def state(self, request: Request) -> Response:
        regions = [
            {"name": page.region, "url": address_of(page.region)} for page in self._pages if page.region
        ]
        return await answer(lambda: self._page.state() | {"region": self._page.region, "regions": regions})

    async def report(self, request: Request) -> Response:
        return await answer(self._page.lessons.report, wants_forecast(request))

    async def events(self, request: Request) -> Response:
        refuse_crowd(self._page.events.readers)
        return events(self._page.events)

    async def pictures(self, request: Request) -> Response:
        refuse_crowd(self._page.loop.pictures.readers)
        await run_in_threadpool(self._page.loop.show)
        return pictures(self._page.loop.pictures)

    async def samples(self, request: Request) -> Response:
        if "mislabeled" in request.query_params:
            return await answer(self._page.suspects)
        label, not_label, background = kind_wanted(request)
        excluded = flag(request.query_params.get("excluded", "false"))
        limit, before = limit_of(request), before_of(request)
        return await answer(self._page.samples, label, limit, before, not_label, background, excluded)

    async def thumbnail(self, request: Request) -> Response:
        picture = await run_in_threadpool(self._page.thumbnail, number(request.path_params["id"]))
        return jpeg(picture)

    async def doubts(self, request: Request) -> Response:
        return await answer(self._page.queue)

    async def doubt(self, request: Request) -> Response:
        return jpeg(await run_in_threadpool(self._page.doubt, number(request.path_params["id"])))

    async def export(self, request: Request) -> Response:
        return await download(self._page.lessons.export)

    async def metrics(self, request: Request) -> Response:
        def measured() -> str:
            found = [metric for page in self._pages for metric in page.metrics()]
            return text_of([*found, *self._page.machine_metrics()])

        text = await run_in_threadpool(measured)
        return Response(text.encode(), headers={"content-type": CONTENT_TYPE})

    # changing

    async def enter(self, request: Request) -> Response:
        token = await self._redeemed(request)
        if self._sessions is None or token is None:
            return VisibleJSON({})
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

    async def token(self, request: Request) -> Response:
        return VisibleJSON({"token": await self._redeemed(request)})

    async def _redeemed(self, request: Request) -> str | None:
        """Exchange the key in the body for the token of a session; None where no session is needed."""
        key = (await fields(request, key=str))["key"]
        if self._sessions is None:
            return None
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
        return token

    async def add(self, request: Request) -> Response:
        body = await fields(request, label=str)
        return await answer(lambda: {"label": self._page.lessons.add(body["label"])})

    async def rename(self, request: Request) -> Response:
        body = await fields(request, old=str, new=str)
        return await answer(lambda: {"label": self._page.lessons.rename(body["old"], body["new"])})

    async def delete(self, request: Request) -> Response:
        body = await fields(request, label=str)
        return await answer(self._page.lessons.delete, body["label"])

    async def teach(self, request: Request) -> Response:
        body = await fields(request, label=str, hold=str)
        return await answer(self._page.lessons.teach, body["label"], body["hold"][:64])

    async def teach_not(self, request: Request) -> Response:
        body = await fields(request, label=str, hold=str)
        return await answer(self._page.lessons.deny, body["label"], body["hold"][:64])

    async def teach_background(self, request: Request) -> Response:
        body = await fields(request, hold=str)
        return await answer(self._page.lessons.deny, None, body["hold"][:64])

    async def release(self, request: Request) -> Response:
        await fields(request)
        return await answer(self._page.lessons.release)

    async def undo(self, request: Request) -> Response:
        await fields(request)
        return await answer(self._page.lessons.undo)

    async def forget(self, request: Request) -> Response:
        body = await fields(request, id=int)
        return await answer(self._page.lessons.forget, body["id"])


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
    if "gzip" in request.headers.get("accept-encoding", "") and len(packed) < len(data):
        return Response(packed, media_type=kind, headers={**headers, "content-encoding": "gzip"})
    return Response(data, media_type=kind, headers=headers)


async def _edgetl_error(request: Request, error: Exception) -> Response:
    if request.url.path.startswith(V1):
        return VisibleJSON({"error": str(error)}, status_of(error))
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
    headers = error.headers if isinstance(error, HTTPException) else None  # which methods are allowed
    return VisibleJSON({"error": messages.get(status, "the request is not valid")}, status, headers)
