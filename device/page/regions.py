"""Several cameras or regions on one server: each has a page below ``/region/NAME/``, and the first also below ``/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import Refusal
from .guard import OPEN, refused

PREFIX = "/region/"
_KEY = "edgetl.region"


class Named:
    """Move the name of a region from the path of a request to its scope, before the guard checks the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            name, slash, rest = scope["path"][len(PREFIX) :].partition("/")
            if slash:
                scope = {**scope, "path": "/" + rest, "raw_path": ("/" + rest).encode(), _KEY: unquote(name)}
        await self._app(scope, receive, send)


class Chooser:
    """Pass a request to the application of its region.

    Args:
        apps: The applications by the names of the regions; the first one also gets requests without a region, and those that
            need no session.
    """

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = dict(apps)
        self._first = next(iter(self._apps.values()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        name = scope.get(_KEY)
        app = self._first if name is None or scope["path"] in OPEN else self._apps.get(name)
        if app is None:
            names = ", ".join(self._apps)
            app = refused(Refusal(404, f"there is no region {str(name)[:50]!r}; regions are: {names}"))
        await app(scope, receive, send)


def prefix_of(scope: Mapping[str, Any]) -> str:
    """Return the start of the addresses of a request's region: ``/region/NAME``, or "" for the first."""
    name = scope.get(_KEY)
    return "" if name is None else f"{PREFIX}{name}"


def address_of(name: str) -> str:
    """Return the address of the page of a region."""
    return f"{PREFIX}{name}/"
