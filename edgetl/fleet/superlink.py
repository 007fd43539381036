"""The process of Flower's SuperLink, with one addition: only devices may use it from other machines.

A SuperLink also has an interface to start programs in the whole fleet, on the same port and, in Flower's free edition,
without a password. `Guard` closes everything but the interface for devices, which Flower protects with the key of each
device, to other machines.

Run as ``python -m edgetl.fleet.superlink`` with the options of ``flower-superlink``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .processes import follow_parent

_DEVICES = re.compile(r"/v1/fleet/[a-z0-9-]+")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application that passes on what comes from this machine, and from others only the calls of devices."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or answer 403."""
        if scope["type"] == "lifespan" or is_allowed(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"only the devices of the fleet may do this\n"})


def is_allowed(scope: Scope) -> bool:
    """Return whether a request is a device's, or comes from this machine."""
    if scope["type"] == "http" and _DEVICES.fullmatch(scope["path"]):
        return True
    client, server = (scope.get("client") or ("", 0))[0], (scope.get("server") or ("", 0))[0]
    try:
        # a connection of this machine to its own address has the same address at both ends
        return ipaddress.ip_address(client).is_loopback or client == server
    except ValueError:
        return False


def main() -> None:
    """Run the SuperLink behind the guard."""
    import uvicorn
    from flwr.superlink.cli import flower_superlink

    run = uvicorn.run

    def run_guarded(app: Any, **options: Any) -> None:
        run(Guard(app), **options)

    uvicorn.run = run_guarded
    follow_parent()
    flower_superlink()


if __name__ == "__main__":
    main()
