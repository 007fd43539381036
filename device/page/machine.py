"""The names and addresses of this machine, under which other machines reach it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (compared, not listened on)
"""Hosts that mean all addresses of this machine."""

_FAR = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # addresses reserved for documentation


def own_names() -> set[str]:
    """Return the host names of this machine."""
    name = socket.gethostname().lower()
    return {"localhost", name, f"{name.partition('.')[0]}.local"}


def reachable(host: str) -> str:
    """Return an address that other machines can use, also for a host that means all addresses."""
    if host not in EVERYWHERE:
        return host.strip("[]")
    return _outgoing(socket.AF_INET) or socket.gethostname()


def addresses_of_machine() -> list[str]:
    """Return the addresses of this machine that other machines can use, those of the default route first."""
    found = [_outgoing(family) for family in _FAR]
    with contextlib.suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)]
    return [name for name in dict.fromkeys(found) if parsed_address(name) and "%" not in name]


def parsed_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address; None for a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _outgoing(family: socket.AddressFamily) -> str:
    """Return the address of this machine on its default route; "" where it has none."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_FAR[family], 9))  # sends nothing; finds the outgoing address in the routing table
        return str(probe.getsockname()[0])
    return ""
