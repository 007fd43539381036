"""No number of connections blocks other viewers."""

from __future__ import annotations

import contextlib
import socket

import pytest

from .conftest import PATIENCE, WITHOUT_EXTRA, Client, Serve

pytest.importorskip("starlette", reason=WITHOUT_EXTRA)
pytest.importorskip("uvicorn", reason=WITHOUT_EXTRA)

from device.page.places import PER_ADDRESS, TOTAL, Places


class Visitor:
    """A connection without a network."""

    def __init__(self, places: Places, address: str, idle: bool = True) -> None:
        self.places, self.address, self.idle, self.gone = places, address, idle, False
        places.enter(self)

    def is_idle(self) -> bool:
        """Return what the test has set."""
        return self.idle

    def give_way(self) -> None:
        """Record the call."""
        self.gone = True


def test_an_address_that_fills_its_share_loses_its_oldest_connection() -> None:
    """The new one is accepted; a busy connection stays while there is an idle one."""
    places = Places(64, 32, 3)
    busy = Visitor(places, "10.0.0.1", idle=False)
    idle = [Visitor(places, "10.0.0.1") for _ in range(3)]
    other = Visitor(places, "10.0.0.2")
    assert [each.gone for each in (busy, *idle, other)] == [False, True, False, False, False]


def test_an_ipv6_network_counts_as_one_address() -> None:
    """A single machine has 2**64 of them."""
    places = Places(64, 32, 3)
    visitors = [Visitor(places, f"2001:db8::{number}") for number in range(5)]
    assert sum(each.gone for each in visitors) == 2
    assert len(places) == 3


def test_strangers_cannot_use_the_places_of_signed_in_viewers() -> None:
    """From any number of addresses; a connection of the most crowded address is closed."""
    places = Places(total=6, strangers=4, per_address=3)
    strangers = [Visitor(places, address) for address in ("a", "b", "b", "c", "d")]
    assert [each.gone for each in strangers] == [False, True, False, False, False]
    members = []
    for _ in range(5):
        members.append(Visitor(places, "e"))
        places.recognize(members[-1])
    assert not any(member.gone for member in members)
    assert len(places) <= 6


def test_a_new_connection_replaces_an_idle_viewer_but_never_a_busy_one() -> None:
    """A browser opens an idle connection again by itself."""
    places = Places(total=3, strangers=2, per_address=2)
    members = [Visitor(places, "a", idle=False) for _ in range(2)]
    for member in members:
        places.recognize(member)
    members.append(Visitor(places, "a"))
    places.recognize(members[-1])
    newcomer = Visitor(places, "b")
    places.recognize(newcomer)
    assert [each.gone for each in (*members, newcomer)] == [False, False, True, False]
    newcomer.idle = False
    refused = Visitor(places, "c")
    assert refused.gone
    places.leave(newcomer)
    assert not Visitor(places, "c").gone
    assert len(places) == 3


def test_many_idle_connections_from_one_address_do_not_block_others(client: Client) -> None:
    """Not even others from the same address, and long before their time limit ends."""
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE))

        idle = [connect() for _ in range(3 * TOTAL)]
        assert client.get("/").status == 200
        assert client.get("/api/state").status == 200
        for connection in idle[: -PER_ADDRESS - 2]:  # the older ones were let go
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""


def test_a_signed_in_viewer_keeps_its_streams(serve: Serve) -> None:
    """Its connections are not closed for strangers."""
    server, client = serve(sign_in=True)
    answer = client.post("/api/enter", {"key": server.link.partition("#")[2]})
    member = Client(server.port, answer.headers["set-cookie"].partition(";")[0])
    events = member.events()
    first = next(events)
    with contextlib.ExitStack() as stack:
        for _ in range(3 * TOTAL):
            stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE))
        assert member.get("/api/state").status == 200
        assert Client(server.port).get("/").status == 200
        assert next(events)["frame"] >= first["frame"]
    events.close()
