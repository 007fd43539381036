"""The places for connections: a limit per address, and places reserved for signed-in viewers.

A connection is a stranger until the guard has accepted a request from it. Strangers can use only some of the places,
and few per address. When no place is left, a new stranger replaces an older one instead of being refused. So a
program that opens connections and sends nothing does not block others, not even from its own address.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

TOTAL, STRANGERS, PER_ADDRESS = 64, 32, 16


class Guest(Protocol):
    """The part of a connection that `Places` needs."""

    address: str

    def is_idle(self) -> bool:
        """Return whether no request of this connection is in progress."""

    def give_way(self) -> None:
        """Close the connection at once."""


class Places:
    """The connections that have a place. Not thread-safe: for one event loop.

    Args:
        total: Maximum number of connections.
        strangers: Maximum number of connections without an accepted request.
        per_address: Maximum number of strangers from one address; for IPv6, from one /64 network.
    """

    def __init__(
        self, total: int = TOTAL, strangers: int = STRANGERS, per_address: int = PER_ADDRESS
    ) -> None:
        self._total, self._limit, self._per_address = total, strangers, per_address
        self._strangers: dict[Guest, str] = {}  # connection -> network, oldest first
        self._known: dict[Guest, None] = {}

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def enter(self, guest: Guest) -> None:
        """Add a new connection; when no place is left, another one is closed."""
        own = network_of(guest.address)
        others = [each for each, network in self._strangers.items() if network == own]
        if len(others) >= self._per_address:
            self._dismiss(_first_idle(others))
        elif len(self._strangers) >= self._limit:
            self._dismiss(self._of_most_crowded())
        if len(self) >= self._total:
            idle = [each for each in self._known if each.is_idle()]
            if not self._strangers and not idle:  # signed-in viewers use every place
                guest.give_way()
                return
            self._dismiss(self._of_most_crowded() if self._strangers else idle[0])
        self._strangers[guest] = own

    def recognize(self, guest: Guest) -> None:
        """Record that the guard has accepted a request from this connection."""
        if self._strangers.pop(guest, None) is not None:
            self._known[guest] = None

    def leave(self, guest: Guest) -> None:
        """Release the place of a connection that has ended."""
        self._strangers.pop(guest, None)
        self._known.pop(guest, None)

    def _of_most_crowded(self) -> Guest:
        crowded = Counter(self._strangers.values()).most_common(1)[0][0]
        return _first_idle(each for each, network in self._strangers.items() if network == crowded)

    def _dismiss(self, guest: Guest) -> None:
        self.leave(guest)
        guest.give_way()


def network_of(address: str) -> str:
    """Return the network of one user: an IPv4 address, or an IPv6 network of 64 bits.

    Example:
        >>> network_of("192.168.7.5"), network_of("::ffff:192.168.7.5"), network_of("2001:db8::5")
        ('192.168.7.5', '192.168.7.5', '2001:db8::/64')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.ip_network((int(parsed), 64), strict=False))


def _first_idle(guests: Iterable[Guest]) -> Guest:
    listed = list(guests)
    return next((guest for guest in listed if guest.is_idle()), listed[0])
