"""Requests and responses that the interface of the page and the API for programs share."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..errors import SelectionError
from ..negatives import check_one
from .bodies import Refusal
from .guard import VisibleJSON

_VIEWERS = 12  # maximum number of open streams; each phone or tab has one of a kind
_SAMPLES = 600  # maximum number of samples per list
_LARGEST = 2**63 - 1  # largest integer in SQLite


async def answer(work: Callable[..., dict[str, Any] | None], *values: Any) -> Response:
    """Return the result of `work`, which runs in a thread, as JSON."""
    return VisibleJSON(await run_in_threadpool(work, *values) or {})


async def fields(request: Request, **wanted: type) -> dict[str, Any]:
    """Return the JSON object in the body, which must have exactly the given fields and types."""
    body = await _read_object(request)
    if body is None or set(body) != set(wanted):
        raise Refusal(400, f"the body must be an object with {', '.join(wanted) or 'no fields'}")
    for name, kind in wanted.items():
        _check_kind(name, body[name], kind)
        if kind is int and not 0 <= body[name] <= _LARGEST:
            raise Refusal(404, f"there is no {name} {str(body[name])[:20]}")
    return body


async def meant(request: Request, **wanted: type) -> tuple[dict[str, Any], str | None, str | None]:
    """Return the JSON object in the body, and the label and the denied label in it; neither for background.

    Args:
        request: The request; its body must have the wanted fields, and exactly one of label, not and background.
        wanted: Other fields, with their types.
    """
    body = await json_object(request)
    if body.keys() - MEANINGS.keys() != wanted.keys():
        others = "".join(f"{name} and " for name in wanted)
        raise Refusal(400, f"the body must be an object with {others}one of {', '.join(MEANINGS)}")
    check_one_sent({name: name in body for name in MEANINGS})
    for name, value in body.items():
        _check_kind(name, value, {**MEANINGS, **wanted}[name])
    check_background(body)
    return body, body.get("label"), body.get("not")


def check_one_sent(sent: Mapping[str, object], *, optional: bool = False) -> None:
    """Raise `Refusal` unless one of the alternatives was sent; see `device.negatives.check_one`."""
    try:
        check_one(sent, optional=optional)
    except SelectionError as error:
        raise Refusal(400, str(error)) from error


def check_background(body: dict[str, Any]) -> None:
    """Raise `Refusal` if ``background`` is false."""
    if body.get("background") is False:
        raise Refusal(400, "background must be true; for a label, send label or not instead")


async def _read_object(request: Request) -> dict[str, Any] | None:
    """Return the JSON object in the body; None for other JSON."""
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error
    return body if isinstance(body, dict) else None


async def json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body."""
    body = await _read_object(request)
    if body is None:
        raise Refusal(400, "the body must be an object")
    return body


MEANINGS: dict[str, type] = {"label": str, "not": str, "background": bool}
"""Fields for what a sample teaches."""

_KINDS: dict[type, str] = {int: "a number", str: "text", bool: "true or false", list: "a list"}


def _check_kind(name: str, value: object, kind: type) -> None:
    if type(value) is not kind:  # isinstance would accept a bool as int
        raise Refusal(400, f"{name} must be {_KINDS[kind]}")


def number(text: str) -> int:
    """Return the number in a text of digits, or -1, which no record has, for anything else or too large for SQLite."""
    short = 0 < len(text) <= len(str(_LARGEST))
    parsed = int(text) if short and text.isascii() and text.isdecimal() else -1
    return parsed if parsed <= _LARGEST else -1


def only_get(path: str, endpoint: Callable[..., Any]) -> Route:
    """Return a route that accepts only GET."""
    route = Route(path, endpoint, methods=["GET"])
    # Starlette adds HEAD, which would export for no one or start a stream that never ends
    route.methods = {"GET"}
    return route


class Download(FileResponse):
    """A file that is deleted with its folder after sending, or after sending has failed."""

    def __init__(self, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        super().__init__(path, filename=path.name)
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, then delete it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._folder.cleanup()


def jpeg(data: bytes) -> Response:
    """Return a picture that browsers may cache."""
    # ids are never reused, so a picture never changes
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


def limit_of(request: Request) -> int:
    """Return the number of samples to list, from the query.

    Raises:
        Refusal: It is not a number from 1 to 600.
    """
    limit = request.query_params.get("limit", "60")
    if not 0 < number(limit) <= _SAMPLES:
        raise Refusal(400, f"limit must be a number from 1 to {_SAMPLES}, got {limit[:20]!r}")
    return number(limit)


def before_of(request: Request) -> int | None:
    """Return the id below which samples are listed, from the query; None for all.

    Raises:
        Refusal: It is not the id of a sample.
    """
    before = request.query_params.get("before")
    if before is None:
        return None
    if number(before) < 0:
        raise Refusal(400, f"before must be the id of a sample, got {before[:20]!r}")
    return number(before)


def flag(text: str) -> bool:
    """Return whether a parameter such as ``background`` or ``forecast`` is set.

    Raises:
        Refusal: It is neither true nor false.
    """
    if text not in ("true", "false"):
        raise Refusal(
            400, f"background, excluded, forecast and all_scores must be true or false, got {text[:20]!r}"
        )
    return text == "true"


def kind_wanted(request: Request) -> tuple[str | None, str | None, bool]:
    """Return the label, the denied label and whether background is wanted, from the query of a list of samples.

    Raises:
        Refusal: More than one of them is wanted.
    """
    query = request.query_params
    kinds = query.get("label"), query.get("not"), flag(query.get("background", "false"))
    check_one_sent(dict(zip(MEANINGS, kinds, strict=True)), optional=True)
    return kinds


def wants_forecast(request: Request) -> bool:
    """Return whether the query asks for a forecast."""
    return flag(request.query_params.get("forecast", "false"))


def refuse_crowd(viewers: int) -> None:
    """Raise `Refusal` if there are too many open streams of one kind already."""
    if viewers >= _VIEWERS:
        raise Refusal(503, f"{_VIEWERS} viewers are watching already; close the page on another device")


async def download(export: Callable[[Path], Path]) -> Response:
    """Return the file that `export` writes into a temporary folder."""
    folder = tempfile.TemporaryDirectory(prefix="edgetl-")
    try:
        path = await run_in_threadpool(export, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    return Download(path, folder)
